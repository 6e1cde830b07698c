"""The one table of payment fields, and the profiles that say which of them are required.

Field names are the CSV headers of the seed `payments-s3`; the seeds `payments-file-upload` and
`payments-google-sheet` differ in details, which the aliases and the profiles hold as data.
"""

from dataclasses import dataclass
from typing import Final, Literal

Kind = Literal[
    "id",
    "text",
    "note",
    "phone",
    "decimal",
    "timestamp",
    "currency",
    "type",
    "count",
    "latitude",
    "longitude",
]
"""How a cell is read: `id` is a text of at most 256 characters, `note` a text that may span lines."""

MAX_CELL: Final = 4096
"""Longest cell, in characters."""
MAX_ID: Final = 256
"""Longest id, in characters."""
CUSTOM: Final = "custom"
"""Key of a row under which unknown columns travel."""
FILE_NAME: Final = "ELECTRICITY_PAYMENT.csv"
"""The one name a payments file has (seeds payments-s3 and payments-file-upload)."""


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a payment.

    Attributes:
        name: canonical name, the header in the S3 document.
        kind: how its cell is read.
        summary: meaning, form and unit, for the generated documents.
        aliases: other headers that mean the same field.
        personal: stored only as a pseudonym.
        content: takes part in the content hash and in the comparison of versions. Personal fields do
            not, because a new pseudonym key must not make conflicts; NOTES is the exception.
        column: name of the column; the lower-case name unless it would collide with lineage.
        example: a good value, that of the seed where it has one; for templates and documents.
    """

    name: str
    kind: Kind
    summary: str
    aliases: tuple[str, ...] = ()
    personal: bool = False
    content: bool = True
    column: str = ""
    example: str = ""

    def __post_init__(self) -> None:
        """Derive the column's name."""
        object.__setattr__(self, "column", self.column or self.name.lower())


FIELDS: Final[tuple[Field, ...]] = (
    Field(
        "ID",
        "id",
        "Unique id of the payment within its organisation and id namespace.",
        example="UC45678",
    ),
    Field(
        "TIMESTAMP",
        "timestamp",
        "When the payment was made, ISO 8601; UTC unless it has an offset.",
        example="2021-05-16T14:16:01",
    ),
    Field(
        "PAYMENT_AMOUNT",
        "decimal",
        "Amount paid, in PAYMENT_CURRENCY; a reversal may be negative.",
        example="5000",
    ),
    Field(
        "PAYMENT_CURRENCY",
        "currency",
        "ISO 4217 code, or the currency's name as people write it.",
        example="Naira",
    ),
    Field("TRANSACTION_TYPE", "type", "What kind of transaction it is.", example="INSTALLMENT_PAYMENT"),
    Field(
        "TRANSACTION_CHARGES",
        "decimal",
        "Charges of the transaction, in PAYMENT_CURRENCY.",
        aliases=("TRANSACTION CHARGES",),
        example="1000",
    ),
    Field(
        "REFERENCE_ID",
        "id",
        "Reference of the payment; a reversal has that of what it reverses.",
        example="REF-1001",
    ),
    Field("CUSTOMER_ID", "id", "Id of the customer in the sender's system.", example="45987"),
    Field(
        "METER_ID",
        "id",
        "Serial number of the device; equals external_id of a connection.",
        example="45987",
    ),
    Field(
        "EXTERNAL_ID",
        "id",
        "In file uploads the serial number beside METER_ID.",
        aliases=("external_id",),
        example="SN-45987",
    ),
    Field(
        "CUSTOMER_NAME",
        "note",
        "Name of the payer.",
        aliases=("CUSTOMER NAME",),
        personal=True,
        content=False,
        example="John Doe",
    ),
    Field(
        "CUSTOMER_PHONE",
        "phone",
        "Telephone of the user of the device.",
        personal=True,
        content=False,
        example="+2344567890",
    ),
    Field(
        "CUSTOMER_CATEGORY",
        "text",
        "Public, Prepaid, Residential, Commercial, Business, …",
        example="Residential",
    ),
    Field("FINANCING_ID", "id", "Id at the financing provider or programme.", example="FIN-ASSET-4567"),
    Field(
        "AGENT_ID",
        "text",
        "Agent or company that took the payment.",
        personal=True,
        content=False,
        example="Name of the agent",
    ),
    Field("LATITUDE", "latitude", "Latitude of the device, decimal degrees (WGS 84).", example="1.3"),
    Field("LONGITUDE", "longitude", "Longitude of the device, decimal degrees (WGS 84).", example="30.14"),
    Field(
        "UTILITY_ID",
        "id",
        "Id of the utility, or serial number of the inverter system.",
        example="UTIL-01",
    ),
    Field(
        "FAILED_BATTERY_CAPACITY_COUNT",
        "count",
        "How often batteries failed to reach capacity.",
        example="0",
    ),
    Field("ACCOUNT_TYPE", "text", "Type of customer or account.", example="Prepaid"),
    Field("STATUS", "text", "Assigned, processed, reversed, pending, error, MANUAL, …", example="processed"),
    Field("NOTES", "note", "Free notes of the sender.", personal=True, example="First instalment"),
    Field("LOCATION", "note", "Place of the device in words.", personal=True, content=False, example="Kano"),
    Field(
        "PAYMENT_SOURCE",
        "text",
        "Where the payment came from, as the sender names it.",
        example="Mobile money",
    ),
    Field(
        "SOURCE",
        "text",
        "Type of payment in file uploads.",
        aliases=("Source",),
        column="source_field",
        example="Mobile money",
    ),
)

BY_NAME: Final = {field.name: field for field in FIELDS}
NAMES: Final = frozenset(BY_NAME)
ALIASES: Final = {alias: field.name for field in FIELDS for alias in field.aliases}
"""Other headers and the canonical name they stand for."""
PERSONAL: Final = tuple(field.name for field in FIELDS if field.personal)
EXAMPLES: Final = {field.name: field.example for field in FIELDS}
"""A row that every profile accepts."""
CONTENT: Final = tuple(field.name for field in FIELDS if field.content)

_S3: Final = frozenset(
    {
        "ID",
        "TIMESTAMP",
        "PAYMENT_AMOUNT",
        "PAYMENT_CURRENCY",
        "TRANSACTION_TYPE",
        "CUSTOMER_ID",
        "METER_ID",
        "CUSTOMER_NAME",
        "CUSTOMER_PHONE",
    }
)

PROFILES: Final[dict[str, frozenset[str]]] = {
    "s3": _S3,
    "api": _S3,
    "sheet": _S3 - {"CUSTOMER_PHONE"},
    "upload": _S3 - {"CUSTOMER_PHONE", "TRANSACTION_TYPE", "PAYMENT_CURRENCY"},
    "pull": _S3 - {"CUSTOMER_PHONE", "CUSTOMER_NAME"},
}
"""Required fields of each profile; `api` serves the API and direct publishers.

PAYMENT_CURRENCY is required in `upload` too, unless the dataset has a default (`PaymentContext.required`).
"""

SOURCE_PROFILES: Final[dict[str, str]] = {
    "s3": "s3",
    "sheet": "sheet",
    "upload": "upload",
    "pull": "pull",
    "api": "api",
    "topic": "api",
}
"""Profile of a dataset's rows by its source."""

DEFAULT_CURRENCY_PROFILES: Final = frozenset({"upload"})
"""Profiles whose rows may leave PAYMENT_CURRENCY out and get the dataset's default currency."""
