"""Everything a request can fail with, and how it is told: RFC 9457 problem details.

    ApiError
    ├── BadRequest 400            MalformedBody, BadCursor, BadEncoding
    ├── Unauthorized 401          BadCredentials, BadToken
    ├── Forbidden 403             WrongDevice, WrongOrganization
    ├── NotFound 404
    ├── MethodNotAllowed 405
    ├── Conflict 409              AlreadyExists, Archived, PlaceTaken, VersionsChanged, DecisionIdTaken,
    │                             DecisionsChanged, NothingToUndo
    ├── BodyTooLarge 413          UploadTooLarge
    ├── UnsupportedMediaType 415
    ├── Invalid 422
    ├── TooManyRequests 429       retryable
    ├── InternalError 500
    └── Unavailable 503           retryable: BrokerAway, TokenStateUnknown, StoreAway, DecidersBusy

A detail names fields and rules, never a value that was sent: values may be personal data.
"""

from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any, ClassVar

from pydantic import BaseModel, Field


class FieldProblem(BaseModel):
    """One fault of a request: where it is, its code, and what is expected there."""

    field: str = Field(description="Path of the field, parts joined by dots.")
    code: str = Field(description="Machine-readable kind of the fault.")
    detail: str = Field(description="What is expected; never what was sent.")


class Problem(BaseModel):
    """RFC 9457 problem details, sent as `application/problem+json`."""

    type: str = Field(description="Identifies the kind of problem, stable for clients.")
    title: str = Field(description="The kind of problem in words.")
    status: int = Field(description="The HTTP status.")
    detail: str = Field(description="What to do about this one.")
    request_id: str = Field(description="The X-Request-ID under which the logs know this request.")
    errors: list[FieldProblem] = Field(default=[], description="Faults of single fields.")


class ApiError(Exception):
    """A failure that has an HTTP answer.

    Attributes:
        status: HTTP status.
        code: last part of the problem type.
        headers: headers that belong to the answer.
        errors: faults of single fields.
    """

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal_error"
    default: ClassVar[str] = "Something went wrong on our side; the request id is in the logs."

    def __init__(
        self,
        detail: str | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        errors: Iterable[FieldProblem] = (),
    ) -> None:
        self.detail = detail or self.default
        self.headers = dict(headers or {})
        self.errors = list(errors)
        super().__init__(self.detail)

    def problem(self, request_id: str) -> dict[str, Any]:
        """The problem object of this error."""
        return Problem(
            type=f"urn:sunledger:problem:{self.code}",
            title=HTTPStatus(self.status).phrase,
            status=self.status,
            detail=self.detail,
            request_id=request_id,
            errors=self.errors,
        ).model_dump()


class BadRequest(ApiError):
    """The request cannot be read."""

    status = 400
    code = "bad_request"
    default = "The request cannot be read."


class MalformedBody(BadRequest):
    """The body is not UTF-8 JSON of a sane depth."""

    code = "malformed_body"
    default = "The body must be one JSON value in UTF-8."


class BadEncoding(BadRequest):
    """The body does not decompress."""

    code = "bad_encoding"
    default = "The body is not a complete gzip stream."


class BadCursor(BadRequest):
    """The cursor did not come from us."""

    code = "bad_cursor"
    default = "Pass the value of `next` from the previous page, unchanged."


class Unauthorized(ApiError):
    """Nobody, or nobody we know, is asking."""

    status = 401
    code = "unauthorized"
    default = "Send a valid bearer token."

    def __init__(self, detail: str | None = None) -> None:
        super().__init__(detail, headers={"WWW-Authenticate": "Bearer"})


class BadCredentials(Unauthorized):
    """E-mail and password do not belong together; which of them is wrong stays unsaid."""

    code = "bad_credentials"
    default = "E-mail or password is wrong."


class BadToken(Unauthorized):
    """The token is forged, expired, revoked or meant for something else."""

    code = "bad_token"
    default = "The token is not valid; ask for a new one."


class Forbidden(ApiError):
    """The asker is known and may not."""

    status = 403
    code = "forbidden"
    default = "This credential may not do that."


class WrongDevice(Forbidden):
    """The path names another device than the token's."""

    code = "wrong_device"
    default = "The external id in the path is not that of the token's device."


class WrongOrganization(Forbidden):
    """The request names another organisation than the token's."""

    code = "wrong_organization"
    default = "The organisation asked for is not that of the token."


class NotFound(ApiError):
    """There is no such thing."""

    status = 404
    code = "not_found"
    default = "There is nothing under this address."


class MethodNotAllowed(ApiError):
    """The address exists, the method does not."""

    status = 405
    code = "method_not_allowed"
    default = "This address does not take that method; see the Allow header."


class Conflict(ApiError):
    """The request contradicts what is there."""

    status = 409
    code = "conflict"
    default = "The request contradicts the current state."


class AlreadyExists(Conflict):
    """A name that must be unique is taken."""

    code = "already_exists"

    def __init__(self, field: str, within: str) -> None:
        detail = f"`{field}` must be unique within its {within}, archived ones included."
        super().__init__(detail, errors=[FieldProblem(field=field, code="already_exists", detail=detail)])


class Archived(Conflict):
    """The object, or what it belongs to, is archived."""

    code = "archived"
    default = "This is archived; restore it first."


class PlaceTaken(Conflict):
    """Another dataset, perhaps of another organisation, reads the same bucket and prefix."""

    code = "place_taken"
    default = "Another dataset reads this bucket and prefix: archive that one, or use another prefix."


class VersionsChanged(Conflict):
    """A version arrived after the decider looked."""

    code = "versions_changed"
    default = "The versions are not those in `known`; look at the case again."


class DecisionIdTaken(Conflict):
    """Another decision about the case has this id."""

    code = "decision_id_taken"
    default = "Another decision about this case has that `decision_id`; choose a new one."


class DecisionsChanged(Conflict):
    """A decision was made after the decider looked."""

    code = "decisions_changed"

    def __init__(self, latest_decision_id: str) -> None:
        latest = f"`{latest_decision_id}`" if latest_decision_id else "none"
        detail = f"The latest decision is not `latest_decision_id` but {latest}; look at the case again."
        fault = FieldProblem(field="latest_decision_id", code=self.code, detail=latest_decision_id)
        super().__init__(detail, errors=[fault])


class NothingToUndo(Conflict):
    """No decision about the case is in force."""

    code = "nothing_to_undo"
    default = "No decision about this case is in force."


class BodyTooLarge(ApiError):
    """The body, packed or unpacked, is over the limit."""

    status = 413
    code = "body_too_large"
    default = "The body is too large; send several smaller ones."


class UploadTooLarge(BodyTooLarge):
    """An uploaded file is over its limit."""

    def __init__(self, max_bytes: int) -> None:
        super().__init__(f"The file is too large: at most {max_bytes} bytes; send it in several parts.")


class UnsupportedMediaType(ApiError):
    """A content type or encoding that is not read here."""

    status = 415
    code = "unsupported_media_type"
    default = "Send application/json, plain or with Content-Encoding gzip."


class Invalid(ApiError):
    """Well-formed, but fields break their rules."""

    status = 422
    code = "invalid"
    default = "Some fields break their rules; see `errors`."

    @classmethod
    def field(cls, field: str, code: str, detail: str) -> "Invalid":
        """The error for one field."""
        return cls(errors=[FieldProblem(field=field, code=code, detail=detail)])


class TooManyRequests(ApiError):
    """The rate limit is reached."""

    status = 429
    code = "too_many_requests"
    default = "Too many requests; wait as long as Retry-After says."


class InternalError(ApiError):
    """A fault of ours."""


class Unavailable(ApiError):
    """A part we depend on does not answer; the same request works later."""

    status = 503
    code = "unavailable"
    default = "A part of the system does not answer; send the same request again later."

    def __init__(self, detail: str | None = None, *, retry_after_s: int = 5) -> None:
        super().__init__(detail, headers={"Retry-After": str(retry_after_s)})


class BrokerAway(Unavailable):
    """The broker did not acknowledge in time; some rows may still arrive, re-sending is safe."""

    code = "broker_away"
    default = "Not stored for certain; send the same request again, known rows count once."


class TokenStateUnknown(Unavailable):
    """Nobody can say now whether this token is revoked."""

    code = "token_state_unknown"
    default = "The state of this token cannot be checked now; try again."


class StoreAway(Unavailable):
    """ClickHouse or SQL does not answer."""

    code = "store_away"
    default = "The store does not answer; try again."


class DecidersBusy(Unavailable):
    """Others decide about cases of the organisation; decisions are made one after the other."""

    code = "deciders_busy"
    default = "Others are deciding about cases of this organisation; try again."


def responses(*errors: type[ApiError]) -> dict[int | str, dict[str, Any]]:
    """The OpenAPI answers of an endpoint that can fail so; 422 and 500 are always among them."""
    answers: dict[int | str, dict[str, Any]] = {}
    always: list[type[ApiError]] = [BadRequest, BodyTooLarge, UnsupportedMediaType, Invalid, InternalError]
    for error in [*errors, *always]:
        answers.setdefault(
            error.status,
            {
                "description": HTTPStatus(error.status).phrase,
                "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
            },
        )
    return answers
