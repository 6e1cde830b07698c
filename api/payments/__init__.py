"""Payments by JSON: one request of many rows, with an organisation's token."""
