"""The registry as the worker knows it: tables filled from the compacted topics."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from threading import Lock
from typing import Any

from schemas.matching import Connection, match
from schemas.payments import PaymentContext
from schemas.registry import (
    ConnectionMessage,
    DatasetMessage,
    DeviceMessage,
    OrganizationMessage,
    ProjectMessage,
    RegistryMessage,
)
from schemas.topics import RegistryKind
from streams.metrics import REGISTRY_OBJECTS


@dataclass(frozen=True, slots=True)
class Dataset:
    """What the streams need of a dataset."""

    id: str
    version: int
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


class Registry:
    """Newest version of every object; lower or equal versions are dropped. Safe between threads."""

    def __init__(self) -> None:
        self._objects: dict[tuple[str, str], RegistryMessage] = {}
        self._devices: dict[tuple[str, str], Device] = {}
        self._connections: dict[tuple[str, str], dict[str, Connection]] = {}
        self._datasets: dict[str, Dataset] = {}
        self._projects: dict[str, frozenset[str]] = {}
        self._organizations: set[str] = set()
        self._lock = Lock()

    def apply(self, kind: RegistryKind, message: RegistryMessage) -> bool:
        """Take in one message of a registry topic; False when it is not newer than what is known."""
        with self._lock:
            known = self._objects.get((kind, message.id))
            if known is not None and known.version >= message.version:
                return False
            if known is not None:
                self._forget(known)
            self._take(message)
            self._objects[kind, message.id] = message
        if known is None:
            REGISTRY_OBJECTS.labels(kind).inc()
        return True

    def _forget(self, known: RegistryMessage) -> None:
        """Free the names that an older version bore."""
        match known:
            case DeviceMessage():
                name = known.organization_id, known.external_id
                bearer = self._devices.get(name)
                if bearer is not None and bearer.id == known.id:  # the name may be another's by now
                    del self._devices[name]
            case ConnectionMessage():
                self._connections.get((known.organization_id, known.external_id), {}).pop(known.id, None)

    def _take(self, message: RegistryMessage) -> None:
        match message:
            case OrganizationMessage():
                self._organizations.add(message.id)
            case ProjectMessage():
                self._projects[message.id] = frozenset(message.programme_ids)
            case DeviceMessage() if not message.archived:
                device = Device(
                    message.id, message.organization_id, message.external_id, _ms(message.onboarded_at)
                )
                self._devices[device.organization_id, device.external_id] = device
            case ConnectionMessage() if not message.archived:
                connection = Connection(
                    message.id, message.project_id, _ms(message.valid_from), _ms(message.valid_to)
                )
                place = self._connections.setdefault((message.organization_id, message.external_id), {})
                place[connection.id] = connection
            case DatasetMessage():
                self._datasets[message.id] = _dataset(message)

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
        return match(
            names,
            lambda name: self._connections.get((organization_id, name), {}).values(),
            lambda connection: self._in_scope(connection, dataset),
            moment_ms,
        )

    def _in_scope(self, connection: Connection, dataset: Dataset | None) -> bool:
        if dataset is None:
            return True
        if dataset.target == "programme":
            return dataset.programme_id in self._projects.get(connection.project_id, ())
        return connection.project_id in dataset.project_ids


def _dataset(message: DatasetMessage) -> Dataset:
    return Dataset(
        id=message.id,
        version=message.version,
        organization_id=message.organization_id,
        project_ids=frozenset(message.project_ids),
        programme_id=message.programme_id or "",
        target=message.target,
        id_namespace=message.id_namespace,
        conflict_rule=message.conflict_rule.model_dump(),
        context=PaymentContext(message.profile, message.default_currency, frozenset(message.required_fields)),
    )


def _ms(moment: datetime | None) -> int | None:
    return None if moment is None else int(moment.timestamp() * 1000)
