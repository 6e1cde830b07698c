"""The three ways to name rows: by ID, by file and line, by topic, partition and offset."""

import re
from dataclasses import dataclass

_VERSION = re.compile(r"@[^@/]*$")


@dataclass(frozen=True, slots=True)
class Named:
    """What a question about rows says; None for what it leaves open.

    Attributes:
        source: a `source_ref`, or one without its `@version`, or a bare file name.
        exact: `source` is a whole `source_ref`.
    """

    record_id: str | None = None
    source: str | None = None
    line: int | None = None
    topic: str | None = None
    partition: int | None = None
    offset: int | None = None
    organization_id: str | None = None
    dataset_id: str | None = None
    exact: bool = False

    @property
    def place(self) -> bool:
        """Whether one place in a topic is named."""
        return None not in (self.topic, self.partition, self.offset)

    @property
    def rows(self) -> bool:
        """Whether single rows are named, so that each deserves an explanation."""
        return self.place or self.record_id is not None or None not in (self.source, self.line)

    def stands_for(self, source_ref: str) -> bool:
        """Whether `source` names this `source_ref`; the same rule as `sinks.why.sources_named`."""
        if self.source is None or not source_ref or self.exact:
            return bool(source_ref) and self.source == source_ref
        plain = _VERSION.sub("", source_ref)
        if self.source in (source_ref, plain):
            return True
        tail = f"/{self.source}"
        return "/" not in self.source and (source_ref.endswith(tail) or plain.endswith(tail))
