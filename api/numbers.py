"""Exact numbers in answers: as text, because readers of JSON make binary floats of numbers."""

from decimal import Decimal


def decimal_text(value: Decimal) -> str:
    """All digits of a decimal, without an exponent and the zeros that its column adds.

    Not by `normalize`, which rounds to the 28 digits of the context.
    """
    text = f"{value:f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text == "-0" else text
