"""The verification of a connection as it was known at a moment in the past."""

from datetime import UTC, datetime
from typing import Final

from api.deps import Running
from api.errors import Invalid
from api.ledger.schemas import Verification
from api.models import Connection
from sinks.as_known import connection_as_known, verification_as_known

FIELD: Final = "as_known_at"


def as_known(app: Running, connection: Connection, at: datetime) -> Verification:
    """What was known of a connection at `at`; without evidence when it was not known then, or archived.

    Raises:
        Invalid: the moment is not over yet, so that the answer could still change.
        StoreAway: ClickHouse does not answer.
    """
    now = datetime.now(UTC)
    if at > now:
        # both are moments of the caller's question and of our clock, nobody's data
        detail = f"{at.isoformat()} lies in the future; expected a moment up to now, {now.isoformat()}."
        raise Invalid.field(FIELD, "in_future", detail)
    asked = connection.organization_id, connection.id, at
    row = app.store.ask(verification_as_known, *asked)
    if row is not None:
        return Verification.model_validate({**row, FIELD: at})
    then = app.store.ask(connection_as_known, *asked) or {"project_id": "", "external_id": ""}
    return Verification(
        organization_id=connection.organization_id, connection_id=connection.id, as_known_at=at, **then
    )
