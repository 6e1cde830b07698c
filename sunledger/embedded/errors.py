"""What can go wrong with the embedded stack.

EmbeddedError
├── ChecksumMismatch   a downloaded artifact is not the locked one
├── DownloadFailed     an artifact could not be fetched at all
├── NotReady           a part answers that it is not ready, and why
├── PartFailed         a part ended, or did not answer in time
└── StackBusy          another process already runs this data directory
"""

from __future__ import annotations


class EmbeddedError(Exception):
    """Base of every error of the embedded stack; the text is fit to be shown to a person."""


class ChecksumMismatch(EmbeddedError):
    """A jar differs from the lock file; the file has been deleted."""

    def __init__(self, coordinate: str, expected: str, found: str) -> None:
        super().__init__(
            f"checksum of {coordinate} does not match the lock: expected sha256 {expected}, found {found}; "
            "the file was deleted, run the command again to fetch it anew"
        )
        self.coordinate = coordinate
        self.expected = expected
        self.found = found


class DownloadFailed(EmbeddedError):
    """An artifact could not be fetched after several attempts."""


class NotReady(EmbeddedError):
    """A part runs and says itself that it is not ready; the text is its reason, in one line."""


class PartFailed(EmbeddedError):
    """A part of the stack ended or never answered; `reason` holds the last lines of its log."""

    def __init__(self, part: str, reason: str) -> None:
        super().__init__(f"{part}: {reason}")
        self.part = part
        self.reason = reason


class StackBusy(EmbeddedError):
    """Another process holds the lock of the data directory."""
