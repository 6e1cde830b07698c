"""What goes wrong with uploads: told to the client at once, or kept with the upload.

ApiError
├── NoRoom 507               the disk of this process is full; retryable
├── Incomplete 400           the body stopped coming, or ended before its last boundary
├── NotMultipart 415
└── FileTooLarge 413
SourceError (producers)
├── SpoolLost                the file is gone from the spool, or damaged: it has to be sent again
└── Cancelled                somebody cancelled the upload while it was published
"""

from api.errors import ApiError, BadRequest, UnsupportedMediaType
from producers.errors import SourceError


class NoRoom(ApiError):
    """The file does not fit on the disk now."""

    status = 507
    code = "no_room"
    default = "There is no room for the file now; nothing of it was kept. Send it again later."

    def __init__(self) -> None:
        super().__init__(headers={"Retry-After": "60"})


class Incomplete(BadRequest):
    """The body ended, or stopped coming, before its end."""

    code = "incomplete_body"
    default = "The body ended before its last boundary; nothing of it was kept. Send it again."


class NotMultipart(UnsupportedMediaType):
    """Another content type than that of a form with a file."""

    default = "Send multipart/form-data with a boundary, without Content-Encoding, and the part `file`."


class SpoolLost(SourceError):
    """The file cannot be read back."""


class Cancelled(SourceError):
    """The upload was cancelled while it was published."""
