"""What can go wrong on the way into the topics.

```
ProducerError
├── PublishError                 the broker's side
│   ├── BrokerUnavailable        retryable: no acknowledgement in time
│   ├── PublisherFull            retryable: more waits for the broker than may wait
│   └── RecordTooLarge           never: the record exceeds what a topic takes
├── DatasetPaused                somebody, or the brake, paused it while it was read
├── TopicMisconfigured           an operator's matter
├── PartitionsRefused            an operator's matter: the group is not stopped, or the topic not drained
├── BrokerRefuses                an operator's matter: wrong credentials, or too few rights
├── FileRefused                  a file-level error: no row of it is published
└── SourceError                  the bucket's side
    ├── SourceUnavailable        retryable: no answer, or too many requests
    ├── SourceForbidden          an operator's matter: the key opens nothing
    └── SourceChanged            the object is not the one that was listed
```
"""

from collections.abc import Sequence
from typing import NamedTuple

from schemas.outcomes import Code


class ProducerError(Exception):
    """Anything a producer tells its caller."""


class PublishError(ProducerError):
    """A record was not acknowledged."""


class BrokerUnavailable(PublishError):
    """The broker did not acknowledge in time. Sending again is safe and needed."""


class PublisherFull(PublishError):
    """The buffer for unacknowledged records is full; nothing was sent. Try again later."""


class RecordTooLarge(PublishError):
    """The record exceeds the largest size of a record; sending again is of no use."""


class DatasetPaused(ProducerError):
    """The dataset was paused while a file of it was published; the file goes on when it is active."""

    def __init__(self) -> None:
        super().__init__("paused while a file was published; the file goes on when the dataset is active")


class TopicMisconfigured(ProducerError):
    """A topic exists with settings that would lose or misread records."""


class PartitionsRefused(ProducerError):
    """Partitions cannot be added now, or not so many; the text says what was found and what is expected."""


class BrokerRefuses(ProducerError):
    """The broker does not take the credentials, or does not let their user do what he must."""


class FileRefused(ProducerError):
    """A file-level error. The text explains it to the file's owner and holds nothing personal.

    Attributes:
        code: reason code, for reports and metrics.
        faults: what is wrong one by one, of a header with several faults.
        line: physical line on which the header stands that is at fault; 0 for a fault of the whole file.
    """

    def __init__(self, code: Code, detail: str, faults: "Sequence[HeaderFault]" = (), line: int = 0) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.faults = tuple(faults)
        self.line = line

    def on_line(self, line: int) -> "FileRefused":
        """The same of a header that stands on this line; its text says so."""
        return FileRefused(self.code, f"line {line}: {self.detail}", self.faults, line)


class HeaderFault(NamedTuple):
    """One fault of a header.

    Attributes:
        field: the field that is missing, misspelt or claimed twice; empty for none of them.
    """

    field: str
    detail: str


class SourceError(ProducerError):
    """The place rows come from did not give what it was asked for."""


class SourceUnavailable(SourceError):
    """No answer, or asked to slow down. Asking again is right."""


class SourceForbidden(SourceError):
    """The credentials do not open the bucket, there is no such bucket, or its host is out of bounds."""


class SourceChanged(SourceError):
    """The object was replaced or removed since it was listed."""
