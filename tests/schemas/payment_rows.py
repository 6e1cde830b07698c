"""A good payment row, and the validator's verdict on variations of it."""

from collections.abc import Mapping
from typing import Any

from schemas.outcomes import Code
from schemas.payments import PaymentBatch, PaymentContext, PaymentValidator

S3 = PaymentContext("s3")


def row(**changes: Any) -> dict[str, Any]:
    """A valid row of the profile s3; a change to None leaves the field out."""
    cells = {
        "ID": "UC45678",
        "TIMESTAMP": "2021-05-16T14:16:01",
        "PAYMENT_AMOUNT": "5000",
        "PAYMENT_CURRENCY": "Naira",
        "TRANSACTION_TYPE": "INSTALLMENT_PAYMENT",
        "CUSTOMER_ID": "45987",
        "METER_ID": "45987",
        "CUSTOMER_NAME": "John Doe",
        "CUSTOMER_PHONE": "+2344567890",
        **changes,
    }
    return {name: cell for name, cell in cells.items() if cell is not None}


def verdict(*rows: Mapping[str, Any], context: PaymentContext = S3) -> PaymentBatch:
    """The batch's verdict, all rows under one context."""
    return PaymentValidator().validate(rows, [context] * len(rows))


def faults(cells: Mapping[str, Any], context: PaymentContext = S3) -> dict[str, Code]:
    """Field → code of the faults of one row."""
    errors = verdict(cells, context=context).errors.get(0, [])
    return {error.field: error.code for error in errors}


def stored(cells: Mapping[str, Any], context: PaymentContext = S3) -> dict[str, Any]:
    """Columns of one good row."""
    batch = verdict(cells, context=context)
    assert not batch.errors, batch.errors
    return {name: column[0] for name, column in batch.columns.items()}
