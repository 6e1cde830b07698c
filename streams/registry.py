"""The registry as the worker knows it: tables filled from the compacted topics."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from threading import Lock
from typing import Any

from schemas.conflicts import DEFAULT_RULE
from schemas.fields import PROFILES
from schemas.payments import PaymentContext
from schemas.topics import RegistryKind
from streams.metrics import REGISTRY_OBJECTS


@dataclass(frozen=True, slots=True)
class Dataset:
    """What the streams need of a dataset."""

    id: str
    organization_id: str
    project_ids: frozenset[str]
    programme_id: str
    target: str
    id_namespace: str
    conflict_rule: Mapping[str, Any]
    context: PaymentContext


@dataclass(frozen=True, slots=True)
class Device:
    """What the streams need of a device; `onboarded_ms` is UTC milliseconds or None."""

    id: str
    organization_id: str
    external_id: str
    onboarded_ms: int | None


@dataclass(frozen=True, slots=True)
class Connection:
    """What the hint of a match needs of a connection; validity in UTC milliseconds, None is open."""

    id: str
    project_id: str
    valid_from_ms: int | None
    valid_to_ms: int | None

    def valid_at(self, moment_ms: int) -> bool:
        """Whether the connection is in force at a moment; the end is exclusive."""
        after_start = self.valid_from_ms is None or moment_ms >= self.valid_from_ms
        return after_start and (self.valid_to_ms is None or moment_ms < self.valid_to_ms)


class Registry:
    """Newest version of every object; lower or equal versions are dropped. Safe between threads."""

    def __init__(self) -> None:
        self._objects: dict[tuple[str, str], dict[str, Any]] = {}
        self._devices: dict[tuple[str, str], Device] = {}
        self._connections: dict[tuple[str, str], dict[str, Connection]] = {}
        self._datasets: dict[str, Dataset] = {}
        self._projects: dict[str, frozenset[str]] = {}
        self._organizations: set[str] = set()
        self._lock = Lock()

    def apply(self, kind: RegistryKind, value: dict[str, Any]) -> bool:
        """Take in one message of a registry topic; False when it is not newer than what is known.

        Raises:
            KeyError, TypeError, ValueError, AttributeError, OverflowError: it is none of ours; what is
                known stays as it is.
        """
        if type(value["version"]) is not int:
            raise TypeError("a version is an integer")
        with self._lock:
            known = self._objects.get((kind, value["id"]))
            if known is not None and known["version"] >= value["version"]:
                return False
            getattr(self, f"_apply_{kind}")(value, known)
            self._objects[kind, value["id"]] = value
        if known is None:
            REGISTRY_OBJECTS.labels(kind).inc()
        return True

    def _apply_organizations(self, value: dict[str, Any], known: dict[str, Any] | None) -> None:
        self._organizations.add(value["id"])

    def _apply_projects(self, value: dict[str, Any], known: dict[str, Any] | None) -> None:
        self._projects[value["id"]] = frozenset(value.get("programme_ids") or ())

    def _apply_devices(self, value: dict[str, Any], known: dict[str, Any] | None) -> None:
        device = Device(
            value["id"], value["organization_id"], value["external_id"], _ms(value.get("onboarded_at"))
        )
        key = device.organization_id, device.external_id
        hash(key)
        if known is not None:
            old = known["organization_id"], known["external_id"]
            bearer = self._devices.get(old)
            if bearer is not None and bearer.id == device.id:  # the name may be another's by now
                del self._devices[old]
        if not value.get("archived"):
            self._devices[key] = device

    def _apply_connections(self, value: dict[str, Any], known: dict[str, Any] | None) -> None:
        connection = Connection(
            value["id"], value["project_id"], _ms(value.get("valid_from")), _ms(value.get("valid_to"))
        )
        key = value["organization_id"], value["external_id"].strip()
        hash((key, connection.project_id))
        if known is not None:
            place = self._connections.get((known["organization_id"], known["external_id"].strip()), {})
            place.pop(known["id"], None)
        if not value.get("archived"):
            self._connections.setdefault(key, {})[connection.id] = connection

    def _apply_datasets(self, value: dict[str, Any], known: dict[str, Any] | None) -> None:
        rule = value.get("conflict_rule")
        self._datasets[value["id"]] = Dataset(
            id=value["id"],
            organization_id=value["organization_id"],
            project_ids=frozenset(value.get("project_ids") or ()),
            programme_id=value.get("programme_id") or "",
            target=value.get("target") or "project",
            id_namespace=value.get("id_namespace") or "",
            conflict_rule=DEFAULT_RULE if rule is None else _rule(rule),
            context=_context(value),
        )

    def has_organization(self, organization_id: str) -> bool:
        """Whether the organisation was ever registered."""
        return organization_id in self._organizations

    def dataset(self, organization_id: str, dataset_id: str) -> Dataset | None:
        """A dataset of this organisation; another organisation's is unknown."""
        found = self._datasets.get(dataset_id)
        return found if found is not None and found.organization_id == organization_id else None

    def device(self, organization_id: str, external_id: str) -> Device | None:
        """The organisation's device of this external id, unless archived."""
        return self._devices.get((organization_id, external_id))

    def match(
        self, organization_id: str, dataset: Dataset | None, names: tuple[str, ...], moment_ms: int
    ) -> tuple[str, str]:
        """Connection id and result (`matched`, `ambiguous`, `unmatched`) by the first name that finds any.

        A hint at write time: the views compute the match that counts.
        """
        for name in names:
            place = self._connections.get((organization_id, name)) if name else None
            found = [
                c for c in (place or {}).values() if self._in_scope(c, dataset) and c.valid_at(moment_ms)
            ]
            if found:
                return (found[0].id, "matched") if len(found) == 1 else ("", "ambiguous")
        return "", "unmatched"

    def _in_scope(self, connection: Connection, dataset: Dataset | None) -> bool:
        if dataset is None:
            return True
        if dataset.target == "programme":
            return dataset.programme_id in self._projects.get(connection.project_id, ())
        return connection.project_id in dataset.project_ids


def _rule(value: Mapping[str, Any]) -> Mapping[str, Any]:
    """A conflict rule: lists by name."""
    if not isinstance(value, Mapping) or not all(isinstance(names, list) for names in value.values()):
        raise TypeError("a conflict rule holds lists")
    return value


def _context(value: Mapping[str, Any]) -> PaymentContext:
    profile, currency = value.get("profile") or "api", value.get("default_currency")
    if profile not in PROFILES or not isinstance(currency, str | None):
        raise ValueError("unknown profile or currency")
    return PaymentContext(profile, currency, frozenset(value.get("extra_required") or ()))


def _ms(text: str | None) -> int | None:
    return None if not text else int(datetime.fromisoformat(text).timestamp() * 1000)
