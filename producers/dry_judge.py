"""Duplicates and conflicts among rows that are only looked at, decided as `streams.payments_decide` does.

What a row is to its identity, and what the conflict rule says, is decided by `schemas.versions` in both.
"""

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from producers.dry_memory import Memory, Seen
from producers.dry_rows import ValidRows
from schemas.content import differences
from schemas.versions import Identity, Sight, Version


class Past(Protocol):
    """What was judged before the file: nothing, or what the ledger holds."""

    def contents(self, rows: ValidRows) -> Mapping[int, Collection[int]]:
        """Every content judged so far of those identities of the rows that are known."""
        ...

    def identities(self, wanted: Collection[int]) -> Mapping[int, Identity]:
        """These identities with the fields of all their versions, and the latest decisions."""
        ...


@dataclass(frozen=True, slots=True)
class Finding:
    """A row that is not the first one of its identity.

    Attributes:
        first_line: of a duplicate: where the same content came first; of a conflict: the identity's first
            version. None when that is not in this file.
        stored: columns of the identity's first version, of a conflict with one that was stored before.
        differing: of a conflict: fields that both supplied and that differ from that first version.
        decision: of a conflict: what the dataset's rule decides by itself; None leaves it to people.
    """

    line: int
    sight: Sight
    first_line: int | None = None
    stored: Mapping[str, Any] | None = None
    differing: tuple[str, ...] = ()
    decision: str | None = None


class Judge:
    """Judges the good rows of one file after those before them. Belongs to one thread at a time."""

    def __init__(self, rule: Mapping[str, Any], past: Past | None = None) -> None:
        """`rule` is the dataset's conflict rule; without a `past` only the file itself is looked at."""
        self._rule = rule
        self._past = past
        self._memory = Memory()

    def close(self) -> None:
        """Forget the file."""
        self._memory.close()

    def judge(self, rows: ValidRows) -> list[Finding]:
        """The rows of a batch that are not the first of their identity, in order."""
        seen = self._memory.seen(rows.identities)
        stored = self._past.contents(rows) if self._past else {}
        often = Counter(rows.identities)
        special = [
            at
            for at, identity in enumerate(rows.identities)
            if often[identity] > 1 or identity in seen or identity in stored
        ]
        known = self._known(rows, special, seen, stored)
        lines = {(i, one.content): one.line for i, ones in seen.items() for one in ones}
        new, spellings, findings = set(range(len(rows))).difference(special), set(), []
        for at in special:
            finding = self._row(rows, at, known[rows.identities[at]], lines)
            if finding.sight is not Sight.KNOWN:
                new.add(at)
                lines[rows.identities[at], rows.content[at]] = finding.line
            if finding.sight is Sight.SPELLING:
                spellings.add(at)
            if finding.sight is not Sight.FIRST:
                findings.append(finding)
        self._memory.add(rows, sorted(new), spellings)
        return findings

    def _known(
        self,
        rows: ValidRows,
        special: Collection[int],
        seen: Mapping[int, list[Seen]],
        stored: Mapping[int, Collection[int]],
    ) -> dict[int, Identity]:
        """What is known of the identities of these rows; fields are loaded only where contents differ."""
        contents = {
            identity: {one.content for one in seen.get(identity, ())} | set(stored.get(identity, ()))
            for identity in {rows.identities[at] for at in special}
        }
        differ = {
            identity
            for at in special
            if contents[identity := rows.identities[at]] and rows.content[at] not in contents[identity]
        }
        known = {
            identity: Identity([Version(content, 0) for content in found], set(), None)
            for identity, found in contents.items()
            if identity not in differ
        }
        return known | self._loaded(differ, seen)

    def _loaded(self, wanted: Collection[int], seen: Mapping[int, list[Seen]]) -> dict[int, Identity]:
        """Identities with the fields of their versions, those stored before first."""
        if not wanted:
            return {}
        past = self._past.identities(wanted) if self._past else {}
        versions, decisions = self._memory.versions(wanted), self._memory.decisions(wanted)
        loaded = {}
        for identity in wanted:
            before = past.get(identity) or Identity([], set(), None)
            spellings = {one.content for one in seen.get(identity, ()) if one.spelling}
            loaded[identity] = Identity(
                [*before.versions, *versions.get(identity, ())],
                before.aliases | spellings,
                decisions.get(identity) or before.decision,
            )
        return loaded

    def _row(
        self, rows: ValidRows, at: int, known: Identity, lines: Mapping[tuple[int, int], int]
    ) -> Finding:
        """What one row is; the identity knows it from then on."""
        line, content, identity = rows.lines[at], rows.content[at], rows.identities[at]
        fields = rows.fields(at)
        sight = known.sight(content, lambda: fields)
        finding = Finding(line, sight)
        if sight is Sight.KNOWN:
            finding = Finding(line, sight, lines.get((identity, content)))
        elif sight is Sight.SPELLING:
            same = next(v for v in known.versions if not differences(v.fields or {}, fields))
            finding = Finding(line, sight, lines.get((identity, same.content)))
        elif sight is Sight.FURTHER:
            finding = self._conflict(line, identity, content, fields, known, lines)
        known.learn(sight, Version(content, line, fields))
        return finding

    def _conflict(
        self,
        line: int,
        identity: int,
        content: int,
        fields: Mapping[str, Any],
        known: Identity,
        lines: Mapping[tuple[int, int], int],
    ) -> Finding:
        first = known.versions[0]
        first_fields = first.fields or {}
        first_line = lines.get((identity, first.content))
        ruling = known.rule(self._rule, content, fields)
        if ruling is not None:
            known.decide(ruling, 0)
            if known.decision is not None:
                self._memory.decide(identity, known.decision)
        return Finding(
            line,
            Sight.FURTHER,
            first_line,
            first_fields if first_line is None else None,
            tuple(differences(first_fields, fields)),
            ruling.decision if ruling else None,
        )
