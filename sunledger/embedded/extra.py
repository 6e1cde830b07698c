"""Parts of our own beside the backing ones: command line, environment, the URL that says it is ready."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

from sunledger.embedded.errors import NotReady
from sunledger.embedded.part import Command

_MOST_BYTES = 64 * 1024
_MOST_CHARS = 300


@dataclass(frozen=True)
class ExtraPart:
    """One process of ours. Without `ready_url` it counts as ready as soon as it runs.

    `env` is added to the supervisor's environment; secrets belong there, never in `argv`.
    """

    name: str
    argv: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)
    ready_url: str | None = None
    after: Sequence[str] = ("kafka", "clickhouse", "redis", "s3")
    start_timeout_s: float = 90.0
    cwd: str | None = None

    def prepare(self) -> None:
        """Nothing to do."""

    def command(self) -> Command:
        """The command line as given."""
        return Command(self.argv, self.env, Path(self.cwd) if self.cwd else None)

    @property
    def base_url(self) -> str | None:
        """Where it is asked for its health and metrics; None when it cannot be asked."""
        if self.ready_url is None:
            return None
        found = urlsplit(self.ready_url)
        return f"{found.scheme}://{found.netloc}"

    def probe(self) -> None:
        """GET `ready_url`; anything but 2xx raises, `NotReady` when the answer says why."""
        if self.ready_url is not None:
            # A proxy from the environment must never see a loopback request.
            opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
            try:
                with opener.open(self.ready_url, timeout=2):
                    pass
            except urllib.error.HTTPError as error:
                with error:
                    raise NotReady(_said(error)) from None

    def as_dict(self) -> dict[str, Any]:
        """A JSON object, read back by `from_dict`."""
        return {**asdict(self), "argv": list(self.argv), "after": list(self.after), "env": dict(self.env)}

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Self:
        """The part written by `as_dict`."""
        return cls(**value)


def _said(error: urllib.error.HTTPError) -> str:
    """What an answer gives as the reason, in one line: the `detail` of JSON, else the status alone."""
    try:
        answer = json.loads(error.read(_MOST_BYTES))
    except (OSError, ValueError):
        answer = None
    detail = answer.get("detail") if isinstance(answer, dict) else None
    if not isinstance(detail, str) or not detail.strip():
        return f"answers {error.code}"
    line = " ".join(detail.split())
    return line if len(line) <= _MOST_CHARS else f"{line[: _MOST_CHARS - 1]}…"
