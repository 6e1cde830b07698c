"""What a dry run asks: which contents are known, and which connections its ids would find.

Values always go as parameters. Everything here may raise the driver's exceptions.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from clickhouse_connect.driver.client import Client

from sinks.chunks import AT_ONCE, chunks, text_chunks

_FOLDED: Final = "replaceRegexpOne(lowerUTF8(replaceRegexpAll({name}, '\\\\s', '')), '^0+', '')"
"""An id without case, spaces and leading zeros, as in the view `match_hints` (ddl/0016)."""


def judged_contents(client: Client, homes: Mapping[int, int]) -> dict[int, set[int]]:
    """Every content judged so far of the payments among these that are known.

    Args:
        homes: identity → home of its record key.
    """
    found: dict[int, set[int]] = {}
    for wanted in chunks(sorted(homes), AT_ONCE // 2):
        rows = client.query(
            "SELECT identity, content_hash FROM payment_keys WHERE home IN {homes:Array(UInt16)}"
            " AND identity IN {identities:Array(UInt64)} GROUP BY identity, content_hash",
            parameters={"homes": sorted({homes[one] for one in wanted}), "identities": wanted},
        ).result_rows
        for identity, content in rows:
            found.setdefault(int(identity), set()).add(int(content))
    return found


def connections_like(client: Client, organization_id: str, names: Iterable[str]) -> list[dict[str, Any]]:
    """Connections in use whose external id equals one of these names, or differs in case, spaces or zeros.

    Columns: `sent` (the name), `equal` (after trimming the external id), `id`, `project_id`,
    `external_id`, `valid_from` and `valid_to` in milliseconds (None is open).
    """
    found: list[dict[str, Any]] = []
    for wanted in text_chunks(sorted(set(names))):
        rows = client.query(
            "SELECT sent, trimBoth(external_id) = sent AS equal, c.id AS id, project_id, external_id,"
            " toUnixTimestamp64Milli(valid_from) AS valid_from, toUnixTimestamp64Milli(valid_to) AS valid_to"
            f" FROM (SELECT arrayJoin({{names:Array(String)}}) AS sent,"
            f" {_FOLDED.format(name='sent')} AS folded) AS s"
            f" INNER JOIN (SELECT *, {_FOLDED.format(name='external_id')} AS folded FROM connections"
            " WHERE organization_id = {organization:String} AND NOT archived"
            " AND trimBoth(external_id) != '') AS c"
            " ON c.folded = s.folded WHERE equal OR s.folded != '' ORDER BY sent, id",
            parameters={"names": wanted, "organization": organization_id},
        )
        found += list(rows.named_results())
    return found
