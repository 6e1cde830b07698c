"""Stores of our own: one that refuses, as Amazon S3 words it, and one whose bucket has versions."""

import hashlib
import itertools
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape


@contextmanager
def refusing_store(code: str, status: int, times: int | None = None) -> Iterator[tuple[str, list[str]]]:
    """Its address, and the requests it got.

    Args:
        code: of the error, as in its XML.
        status: of the answers.
        times: how often it refuses; afterwards every listing is empty.
    """
    seen: list[str] = []

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append(self.path)
            refuses = times is None or len(seen) <= times
            body = (
                f"<Error><Code>{code}</Code><Message>key AKIASECRET of Jane Doe</Message></Error>"
                if refuses
                else "<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>"
            ).encode()
            self.send_response(status if refuses else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        do_HEAD = do_GET  # noqa: N815 - the name that http.server looks for

        def log_message(self, *_: object) -> None:
            """Nothing on the tests' output."""

    with _served(Answers) as url:
        yield url, seen


@contextmanager
def _served(answers: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """The address at which they are given."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), answers)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


@dataclass(frozen=True)
class Version:
    """One version of an object; a delete marker has no body.

    Attributes:
        size: what is told of it, where it is not that of the body.
    """

    id: str
    body: bytes | None
    mark: str = ""
    size: int = -1
    at: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def etag(self) -> str:
        """Its MD5, as after an upload in one piece."""
        return f'"{hashlib.md5(self.body or b"", usedforsecurity=False).hexdigest()}"'


class VersionedStore:
    """A bucket with versions, in memory: a deleted version brings back the one before it.

    Written after the Amazon S3 user guide, "Retaining multiple versions of objects with S3 Versioning".

    Attributes:
        refuses: code of an error for (method, key); a copy is a `COPY` of its source.
    """

    def __init__(self, url: str = "") -> None:
        self.url, self.access_key, self.secret_key = url, "key", "secret"
        self.refuses: dict[tuple[str, str], str] = {}
        self._versions: dict[str, list[Version]] = {}
        self._numbers = itertools.count(1)
        self.lock = threading.Lock()

    def put(self, key: str, body: bytes | None, mark: str = "", size: int = -1) -> str:
        """Write an object, or a delete marker; its version id."""
        made = Version(f"v{next(self._numbers)}", body, mark, size)
        self._versions.setdefault(key, []).append(made)
        return made.id

    def ids(self, key: str) -> list[str]:
        """Ids of all versions of a key, oldest first."""
        return [version.id for version in self._versions.get(key, [])]

    def keys(self, prefix: str = "") -> list[str]:
        """Keys that a listing shows."""
        return [key for key in sorted(self._versions) if key.startswith(prefix) and self.current(key)]

    def current(self, key: str, version_id: str | None = None) -> Version | None:
        """What is found under a key."""
        found = [one for one in self._versions.get(key, []) if version_id in (None, one.id)]
        return found[-1] if found and found[-1].body is not None else None

    def delete(self, key: str, version_id: str | None) -> None:
        """A version, or with none named a marker on top of them all."""
        if version_id is None:
            self.put(key, None)
        self._versions[key] = [one for one in self._versions.get(key, []) if one.id != version_id]

    def listed(self, prefix: str, delimiter: str) -> str:
        """Answer of ListObjectsV2."""
        keys = [key for key in self.keys(prefix) if not delimiter or delimiter not in key[len(prefix) :]]
        entries = "".join(f"<Contents><Key>{escape(key)}</Key></Contents>" for key in keys)
        return f"<ListBucketResult><IsTruncated>false</IsTruncated>{entries}</ListBucketResult>"

    def history(self, prefix: str, after: tuple[str, str] | None) -> str:
        """Answer of ListObjectVersions, two versions a page."""
        all_of_them = [
            (key, one)
            for key in sorted(self._versions)
            if key.startswith(prefix)
            for one in reversed(self._versions[key])
        ]
        begin = 1 + [(key, one.id) for key, one in all_of_them].index(after) if after else 0
        page, more = all_of_them[begin : begin + 2], len(all_of_them) > begin + 2
        entries = ""
        for key, one in page:
            kind = "DeleteMarker" if one.body is None else "Version"
            entries += (
                f"<{kind}><Key>{escape(key)}</Key><VersionId>{one.id}</VersionId><ETag>{one.etag}</ETag>"
                f"<Size>{len(one.body or b'')}</Size><LastModified>{one.at:%Y-%m-%dT%H:%M:%S.000Z}"
                f"</LastModified></{kind}>"
            )
        if more:
            key, one = page[-1]
            entries += (
                f"<NextKeyMarker>{escape(key)}</NextKeyMarker>"
                f"<NextVersionIdMarker>{one.id}</NextVersionIdMarker>"
            )
        told = str(more).lower()
        return f"<ListVersionsResult><IsTruncated>{told}</IsTruncated>{entries}</ListVersionsResult>"


@contextmanager
def versioned_store() -> Iterator[VersionedStore]:
    """Such a store, answering; every bucket is the same one."""
    store = VersionedStore()

    class Answers(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            with store.lock:
                self._answer()

        do_HEAD = do_PUT = do_DELETE = do_GET  # noqa: N815 - the names that http.server looks for

        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            path = urlsplit(self.path)
            key = unquote(path.path.lstrip("/").partition("/")[2])
            asked = {name: found[0] for name, found in parse_qs(path.query, keep_blank_values=True).items()}
            copied = unquote(self.headers.get("x-amz-copy-source", "")).partition("/")[2]
            refused = store.refuses.get(("COPY", copied.partition("?")[0]) if copied else (self.command, key))
            if refused:
                return self._say(403, f"<Error><Code>{refused}</Code></Error>")
            if len(key.encode()) > 1024:
                return self._say(400, "<Error><Code>KeyTooLongError</Code></Error>")
            if self.command == "DELETE":
                store.delete(key, asked.get("versionId"))
                return self._say(204)
            if self.command == "PUT":
                return self._put(key, copied, body)
            if not key and "versions" in asked:
                after = (asked["key-marker"], asked["version-id-marker"]) if "key-marker" in asked else None
                return self._say(200, store.history(asked["prefix"], after))
            if not key:
                return self._say(200, store.listed(asked["prefix"], asked.get("delimiter", "")))
            found = store.current(key, asked.get("versionId"))
            if found is None or found.body is None:
                return self._say(404, "<Error><Code>NoSuchKey</Code></Error>")
            return self._say(200, found.body, found)

        def _put(self, key: str, copied: str, body: bytes) -> None:
            mark = self.headers.get("x-amz-meta-sunledger-file", "")
            if not copied:
                store.put(key, body, mark)
                return self._say(200)
            source, _, version = copied.partition("?versionId=")
            found = store.current(source, version or None)
            if found is None:
                return self._say(404, "<Error><Code>NoSuchVersion</Code></Error>")
            store.put(key, found.body, mark)
            return self._say(200, f"<CopyObjectResult><ETag>{found.etag}</ETag></CopyObjectResult>")

        def _say(self, status: int, body: str | bytes = b"", found: Version | None = None) -> None:
            sent = body.encode() if isinstance(body, str) else body
            size = len(sent)
            self.send_response(status)
            if found:
                size = found.size if found.size >= 0 else size
                self.send_header("ETag", found.etag)
                self.send_header("x-amz-version-id", found.id)
                self.send_header("x-amz-meta-sunledger-file", found.mark)
                self.send_header("Last-Modified", format_datetime(found.at, usegmt=True))
            self.send_header("Content-Length", str(size))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(sent)

        def log_message(self, *_: object) -> None:
            """Nothing on the tests' output."""

    with _served(Answers) as url:
        store.url = url
        yield store
