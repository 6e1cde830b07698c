"""What a login sends and gets."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr


class LoginIn(BaseModel):
    """E-mail and password."""

    model_config = ConfigDict(extra="forbid")

    email: str = Field(max_length=320)
    password: SecretStr = Field(max_length=1000)


class LoginOut(BaseModel):
    """A bearer token."""

    access_token: str
    token_type: Literal["bearer"] = "bearer"  # noqa: S105 - RFC 6750's name of the type, no secret
    expires_in: int = Field(description="Lifetime in seconds.")
