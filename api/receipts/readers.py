"""Who may read receipts: an admin those of all organisations, an organisation's system its own."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Response
from starlette.concurrency import run_in_threadpool

from api.auth.service import current_admin
from api.deps import App, BearerToken
from api.errors import BadToken, WrongOrganization
from api.jwts import ORGANIZATIONS


@dataclass(frozen=True, slots=True)
class Reader:
    """Somebody who reads receipts.

    Attributes:
        organization_id: whose receipts there are for him; None for an admin, who reads all.
    """

    organization_id: str | None

    def may_see(self, organization_id: str | None) -> bool:
        """Whether a receipt of this organisation is there for him; None: it is not known yet whose it is."""
        return self.organization_id in (None, organization_id)

    def narrowed(self, wanted: str | None) -> str | None:
        """Whose receipts he is told: of the organisation he asks for, which is his own unless he is an admin.

        Raises:
            WrongOrganization: he asks for another's, be there such a one or not.
        """
        if wanted is not None and not self.may_see(wanted):
            raise WrongOrganization
        return self.organization_id if wanted is None else wanted


async def reader(app: App, token: BearerToken, response: Response) -> Reader:
    """Dependency: who is asking. Systems have as many questions a minute as they have requests with payments.

    Raises:
        BadToken: the token is neither a user's nor an organisation's, or not in force.
        TokenStateUnknown: an organisation's, and nobody can say now whether it was revoked.
        TooManyRequests: the organisation has asked too often.
    """
    try:
        claims = app.signer.verify(ORGANIZATIONS, token)
    except BadToken:
        await run_in_threadpool(current_admin, app.db, app.signer, token)
        return Reader(None)
    await app.tokens.check(claims)
    window = await app.rates.hit("receipts", claims.subject)
    response.headers.update(window.headers())
    return Reader(claims.subject)


IsReader = Annotated[Reader, Depends(reader)]
