"""Which organisation, dataset and device a row names, and what is wrong when there is none."""

from collections.abc import Callable, Sequence

from schemas.outcomes import Code, reason
from streams.registry import Device, Registry
from streams.rows import Row

CatchUp = Callable[[], None]


class Resolver:
    """Checks rows against the registry; before a name is called unknown, the registry is read to its end.

    Args:
        registry: what the worker knows.
        catch_up: reads the registry topics to their present end; blocks, repeats until it has.
    """

    def __init__(self, registry: Registry, catch_up: CatchUp) -> None:
        self.registry = registry
        self._catch_up = catch_up

    def check(self, rows: Sequence[Row]) -> None:
        """Add a reason to each row whose organisation or dataset is unknown; note the dataset's version.

        A row of a dataset that changed since is a row of an unknown version: the change may be the mend.
        """
        unknown = [row for row in rows if not row.reasons and self._missing(row)]
        if unknown or self._behind(rows):
            self._catch_up()
        for row in unknown:
            if (code := self._missing(row)) is not None:
                row.reasons.append(reason(*code))
        for row in rows:
            if row.dataset_id:
                dataset = self.registry.dataset(row.organization_id, row.dataset_id)
                row.dataset_version = dataset.version if dataset else 0

    def _behind(self, rows: Sequence[Row]) -> bool:
        """Whether a producer knew a newer version of a dataset than we do."""
        newest: dict[tuple[str, str], int] = {}
        for row in rows:
            if row.dataset_version:
                key = row.organization_id, row.dataset_id
                newest[key] = max(newest.get(key, 0), row.dataset_version)
        known = {key: self.registry.dataset(*key) for key in newest}
        return any(dataset and dataset.version < newest[key] for key, dataset in known.items())

    def devices(self, rows: Sequence[Row]) -> list[Device | None]:
        """The device of each row, None and a reason where there is none."""
        self.check(rows)
        found = [None if row.reasons else self._device(row) for row in rows]
        if all(device or row.reasons for device, row in zip(found, rows, strict=True)):
            return found
        self._catch_up()
        for index, row in enumerate(rows):
            if found[index] is None and not row.reasons:
                found[index] = self._device(row)
                if found[index] is None:
                    row.reasons.append(self._no_device(row))
        return found

    def _missing(self, row: Row) -> tuple[Code, str] | None:
        if not row.organization_id:
            return Code.MISSING, "organization_id"
        if not self.registry.has_organization(row.organization_id):
            return Code.UNKNOWN_ORGANIZATION, "organization_id"
        if row.dataset_id and self.registry.dataset(row.organization_id, row.dataset_id) is None:
            return Code.UNKNOWN_DATASET, "dataset_id"
        return None

    def _device(self, row: Row) -> Device | None:
        name = (row.value or {}).get("device_external_id")
        return self.registry.device(row.organization_id, name.strip()) if isinstance(name, str) else None

    def _no_device(self, row: Row) -> str:
        name = (row.value or {}).get("device_external_id")
        if name is None:
            return reason(Code.MISSING, "device_external_id")
        code = Code.UNKNOWN_DEVICE if isinstance(name, str) else Code.WRONG_TYPE
        return reason(code, "device_external_id")
