"""Refused rows over HTTP: list, count, export, open, correct, replay, discard."""
