"""What clients send and get for the source of a dataset: where it is, and what opens it."""

from datetime import UTC, date, datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, Field, SecretStr, StringConstraints
from pydantic_core import PydanticCustomError

from api.fields import Clean, Label
from api.registry.schemas import Input
from producers.pull import fault_of_key
from schemas.registry import Day

Source = Literal["s3", "sheet", "pull", "upload", "api", "topic"]
Secret = Annotated[SecretStr, Field(min_length=1, max_length=500)]
Address = Annotated[str, StringConstraints(pattern=r"^https?://", max_length=500), Clean]


def _no_steps(prefix: str) -> str:
    """A prefix is no path: a store over a folder would leave the bucket by `..`."""
    if any(part in (".", "..") for part in prefix.replace("\\", "/").split("/")):
        raise PydanticCustomError("steps_in_prefix", "Expected no part `.` or `..` between slashes.")
    return prefix


def _no_moved_files(prefix: str) -> str:
    """Where another dataset's files are moved to, a dataset would take them up again."""
    if {"Processed", "Error"} & set(prefix.split("/")):
        text = "Expected no part `Processed` or `Error`: files that were dealt with are moved there."
        raise PydanticCustomError("moved_files_in_prefix", text)
    return prefix


class Place(Input):
    """Where a source is. Secrets are sealed, the rest is kept as it is."""

    def location(self) -> dict[str, Any]:
        """What is kept in the open, as JSON."""
        return self.model_dump(mode="json", exclude=set(self.secret()))

    def secret(self) -> dict[str, str]:
        """What is kept sealed."""
        found = {name: getattr(self, name) for name in type(self).model_fields}
        return {
            name: value.get_secret_value() for name, value in found.items() if isinstance(value, SecretStr)
        }

    def address(self) -> str | None:
        """The URL that producers will connect to, if the client names one."""
        return None


class S3In(Place):
    """Where the files are, and the key that opens the bucket."""

    bucket: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=255), Clean]
    prefix: Annotated[
        str,
        StringConstraints(max_length=900),
        Clean,
        AfterValidator(_no_steps),
        AfterValidator(_no_moved_files),
    ] = ""
    endpoint_url: Address | None = None
    region: Label = "us-east-1"
    access_key: Secret
    secret_key: Secret

    def address(self) -> str | None:
        """The store's endpoint, if it is not AWS."""
        return self.endpoint_url


class S3Out(BaseModel):
    """Where the files are; the keys are not told."""

    bucket: str
    prefix: str
    endpoint_url: str | None
    region: str


class SheetIn(Place):
    """A Google Sheet, shared with the installation's service account."""

    spreadsheet_id: Annotated[
        str,
        StringConstraints(strip_whitespace=True, pattern=r"^[A-Za-z0-9_-]{10,200}$"),
        Field(description="The part of the sheet's address between `/d/` and the next slash."),
    ]
    ranges: list[Label] = Field(
        [], max_length=50, description="In A1 notation; none reads every visible sheet."
    )


class SheetOut(BaseModel):
    """A Google Sheet."""

    spreadsheet_id: str
    ranges: list[str]


def _can_be_sent(key: SecretStr) -> SecretStr:
    """A key that no request could carry would fail in every run."""
    if found := fault_of_key(key.get_secret_value()):
        text = "Found {found}, expected printable ASCII characters without spaces."
        raise PydanticCustomError("key_cannot_be_sent", text, {"found": found})
    return key


def _has_begun(day: date) -> date:
    """A day that is to come has no payments: a run would ask for nothing, and say that all is well."""
    today = datetime.now(UTC).date()
    if day > today:
        text = "Found {found}, a day to come; expected {today} (UTC) or an earlier day."
        raise PydanticCustomError("day_to_come", text, {"found": str(day), "today": str(today)})
    return day


class PullIn(Place):
    """An Odyssey-standard pull API."""

    url: Annotated[Address, Field(description="Address of its payments, without FROM and TO.")]
    key: Annotated[
        Secret,
        AfterValidator(_can_be_sent),
        Field(description="The bearer key.", json_schema_extra={"pattern": "^[!-~]+$"}),
    ]
    since: Annotated[
        Day,
        AfterValidator(_has_begun),
        Field(description="First day (UTC) whose payments are asked for, today or earlier."),
    ]

    def address(self) -> str | None:
        """The API itself."""
        return self.url


class PullOut(BaseModel):
    """An Odyssey-standard pull API; its key is not told."""

    url: str
    since: date


class UploadIn(Place):
    """What uploads to the dataset may look like."""

    any_file_name: bool = Field(
        False, description="Whether a file may have another name than `ELECTRICITY_PAYMENT.csv`."
    )


class UploadOut(BaseModel):
    """What uploads to the dataset may look like."""

    any_file_name: bool
