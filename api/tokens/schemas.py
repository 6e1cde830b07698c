"""What a new token is answered with, and how a list of tokens looks."""

from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field, field_serializer

from api.db import iso_ms


class TokenOut(BaseModel):
    """A new token; its text is shown this once and kept nowhere."""

    token: str
    jti: str = Field(description="Names the token, for revoking it.")
    expires_at: datetime

    @field_serializer("expires_at")
    def _iso(self, moment: datetime) -> str:
        return iso_ms(moment)


class TokenListed(BaseModel):
    """A token as the record knows it, without its text."""

    model_config = ConfigDict(from_attributes=True)

    jti: str
    issued_at: datetime
    expires_at: datetime
    revoked_at: datetime | None = Field(description="Null while it is in force.")

    @field_serializer("issued_at", "expires_at", "revoked_at")
    def _iso(self, moment: datetime | None) -> str | None:
        return iso_ms(moment) if moment else None


class TokenList(BaseModel):
    """All tokens that a subject ever got, oldest first."""

    items: list[TokenListed]
