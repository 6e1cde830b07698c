"""What was known at a moment: the verification of a connection, and the connection itself.

A moment is settled once every insert that had begun by then has ended (`client.INSERT_LIMIT_S`): from then on
the answers about it stay the same, whatever comes later. May raise the driver's exceptions.
"""

from datetime import UTC, datetime
from typing import Any, Final

from clickhouse_connect.driver.client import Client

_VERIFICATION: Final = (
    "organization_id, project_id, connection_id, external_id, verified, payments, first_payment,"
    " last_payment, totals, totals_by_type, net_totals, energy_wh, device_id"
)
_WHOSE: Final = "organization_id = {organization_id:String}"


def verification_as_known(
    client: Client, organization_id: str, connection_id: str, at: datetime
) -> dict[str, Any] | None:
    """The row of a connection in `verification` as it was known at `at` (aware).

    None when the connection was not known then, or archived.
    """
    return _one(
        client,
        f"SELECT {_VERIFICATION} FROM verification_as_known(at = {{at:String}})"
        f" WHERE {_WHOSE} AND connection_id = {{id:String}}",
        organization_id,
        connection_id,
        at,
    )


def connection_as_known(
    client: Client, organization_id: str, connection_id: str, at: datetime
) -> dict[str, Any] | None:
    """`project_id` and `external_id` of a connection as known at `at` (aware); None: not known then."""
    return _one(
        client,
        "SELECT project_id, external_id FROM connections_as_known(at = {at:String})"
        f" WHERE {_WHOSE} AND id = {{id:String}}",
        organization_id,
        connection_id,
        at,
    )


def _one(
    client: Client, sql: str, organization_id: str, connection_id: str, at: datetime
) -> dict[str, Any] | None:
    # as text: the driver would send a datetime without its milliseconds
    moment = at.astimezone(UTC).isoformat(sep=" ", timespec="milliseconds").removesuffix("+00:00")
    found = client.query(
        sql, parameters={"organization_id": organization_id, "id": connection_id, "at": moment}
    )
    return next(iter(found.named_results()), None)
