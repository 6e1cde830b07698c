"""A dataset's place in a bucket: list, read, copy, delete, with our own errors and no surprises."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache, partial
from typing import Any, Final, TypeVar

import boto3
from botocore.client import Config
from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError
from urllib3.exceptions import HTTPError

from producers.addresses import PUBLIC_ONLY, AddressRefused, Hosts
from producers.contracts import S3Location
from producers.errors import SourceChanged, SourceError, SourceForbidden, SourceUnavailable
from producers.guarded_http import guard

MARK: Final = "sunledger-file"
"""Metadata of a moved object: id of the file's record, by which a repeated move knows its own copy."""
_CHANGED: Final = {"404", "NoSuchKey", "NotFound", "412", "PreconditionFailed", "NoSuchVersion"}
_FORBIDDEN: Final = {
    "403",
    "AccessDenied",
    "AllAccessDisabled",
    "Forbidden",
    "InvalidAccessKeyId",
    "InvalidBucketName",
    "NoSuchBucket",
    "PermanentRedirect",
    "SignatureDoesNotMatch",
}
_READ_ATTEMPTS: Final = 5
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class S3Object:
    """One version of an object.

    Attributes:
        version_id: None in a bucket without versions.
        version: what tells it from others under the same key: the version id, else ETag and time.
    """

    key: str
    etag: str
    size: int
    modified: datetime
    version_id: str | None
    mark: str | None = None

    @property
    def version(self) -> str:
        """Version id, else ETag and modification time."""
        if self.version_id:
            return self.version_id
        return f"{self.etag.strip(chr(34))}-{self.modified.astimezone(UTC):%Y%m%dT%H%M%SZ}"


class Bucket:
    """A bucket and prefix opened with a dataset's key, at a host that may be connected to. Calls block.

    Every one may raise `SourceUnavailable` (repeat), `SourceForbidden` (an operator's matter) and,
    where it concerns one object, `SourceChanged`.
    """

    def __init__(self, location: S3Location, hosts: Hosts = PUBLIC_ONLY) -> None:
        self.name = location.bucket
        self.prefix = location.prefix.strip("/") + "/" if location.prefix.strip("/") else ""
        self._s3: Any = _session().client(
            "s3",
            endpoint_url=location.endpoint_url,
            region_name=location.region,
            aws_access_key_id=location.access_key,
            aws_secret_access_key=location.secret_key,
            config=Config(
                connect_timeout=5,
                read_timeout=30,
                retries={"mode": "standard", "max_attempts": 3},
                proxies={},  # see guarded_http
                s3={"addressing_style": "path" if location.endpoint_url else "auto"},
                # Stores other than AWS know neither of the checksums that newer clients add.
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
            ),
        )
        guard(self._s3, hosts)

    def source_ref(self, found: S3Object) -> str:
        """`s3://bucket/key@version`."""
        return f"s3://{self.name}/{found.key}@{found.version}"

    def list(self) -> Iterator[str]:
        """Keys directly under the prefix, page by page; sub-folders are not entered."""
        where = {"Bucket": self.name, "Prefix": self.prefix, "Delimiter": "/"}
        while True:
            page = _call(partial(self._s3.list_objects_v2, **where))
            yield from (entry["Key"] for entry in page.get("Contents", ()))
            if not page.get("IsTruncated"):
                return
            where["ContinuationToken"] = page["NextContinuationToken"]

    def find(self, source_ref: str) -> S3Object | None:
        """The object version that a `source_ref` names; None if it is no longer there."""
        key, _, version = source_ref.removeprefix(f"s3://{self.name}/").rpartition("@")
        newest = self.head(key)
        if newest is None or newest.version == version:
            return newest
        return self.head(key, version) if newest.version_id else None

    def head(self, key: str, version_id: str | None = None) -> S3Object | None:
        """An object, the newest version unless one is named; None if there is none."""
        arguments = {"VersionId": version_id} if version_id else {}
        try:
            found = _call(partial(self._s3.head_object, Bucket=self.name, Key=key, **arguments))
        except SourceChanged:
            return None
        version_id = found.get("VersionId")
        return S3Object(
            key,
            found["ETag"],
            found["ContentLength"],
            found["LastModified"],
            version_id if version_id != "null" else None,
            found.get("Metadata", {}).get(MARK),
        )

    def open(self, found: S3Object) -> "ObjectReader":
        """The object's bytes, as long as it is that version."""
        return ObjectReader(lambda offset: self._get(found, offset), found.size)

    def _get(self, found: S3Object, offset: int) -> Any:
        arguments = {"Range": f"bytes={offset}-"} if offset else {}
        answer = _call(
            lambda: self._s3.get_object(
                Bucket=self.name, Key=found.key, IfMatch=found.etag, **_version(found), **arguments
            )
        )
        return answer["Body"]

    def copy(self, found: S3Object, destination: str, mark: str) -> None:
        """Copy that version to another key, marked; the caller has seen that the key is free."""
        _call(
            lambda: self._s3.copy_object(
                Bucket=self.name,
                Key=destination,
                CopySource={"Bucket": self.name, "Key": found.key, **_version(found)},
                CopySourceIfMatch=found.etag,
                MetadataDirective="REPLACE",
                ContentType="text/csv",
                Metadata={MARK: mark},
            )
        )

    def delete(self, found: S3Object) -> None:
        """Delete that version, and only it.

        Raises:
            SourceChanged: the object is another one by now, or gone.
        """
        if found.version_id:
            _call(lambda: self._s3.delete_object(Bucket=self.name, Key=found.key, **_version(found)))
            return
        # Not every store knows conditional deletes, so it is looked at once more in any case.
        now = self.head(found.key)
        if now is None or now.version != found.version:
            raise SourceChanged("the object was replaced or removed")
        _call(lambda: self._s3.delete_object(Bucket=self.name, Key=found.key, IfMatch=found.etag))

    def put(self, key: str, body: bytes, content_type: str) -> None:
        """Write a small object of ours."""
        _call(lambda: self._s3.put_object(Bucket=self.name, Key=key, Body=body, ContentType=content_type))

    def close(self) -> None:
        """Give the connections back."""
        self._s3.close()


@cache
def _session() -> Any:
    """One session for all: it remembers the service's description, which takes long to read."""
    return boto3.session.Session()


def _version(found: S3Object) -> dict[str, str]:
    return {"VersionId": found.version_id} if found.version_id else {}


class ObjectReader:
    """Reads an object from beginning to end; a broken connection goes on where it broke."""

    def __init__(self, open_at: Callable[[int], Any], total: int) -> None:
        self._open_at = open_at
        self._total = total
        self._offset = 0
        self._failures = 0
        self._body: Any = None

    def read(self, size: int, /) -> bytes:
        """At most `size` bytes; empty at the end.

        Raises:
            SourceChanged: the object is another one by now.
            SourceUnavailable: the connection broke too often.
        """
        while self._offset < self._total:
            try:
                if self._body is None:
                    self._body = self._open_at(self._offset)
                data: bytes = self._body.read(size)
            except (BotoCoreError, HTTPError, OSError) as error:
                self._body = None
                self._failures += 1
                if self._failures >= _READ_ATTEMPTS:
                    raise SourceUnavailable(f"reading broke off: {type(error).__name__}") from None
                continue
            self._offset += len(data)
            return data
        return b""

    def close(self) -> None:
        """Drop the connection."""
        if self._body is not None:
            self._body.close()


def _call(call: Callable[[], Result]) -> Result:
    """The call's result, its errors told in our words (theirs may hold keys and addresses)."""
    try:
        return call()
    except ClientError as error:
        raise _translated(str(error.response.get("Error", {}).get("Code", ""))) from None
    except (BotoCoreError, HTTPError, OSError) as error:
        refused = error.kwargs.get("error") if isinstance(error, HTTPClientError) else None
        if isinstance(refused, AddressRefused):
            raise SourceForbidden(f"the endpoint may not be connected to: {refused}") from None
        raise SourceUnavailable(f"no answer: {type(error).__name__}") from None


def _translated(code: str) -> SourceError:
    if code in _FORBIDDEN:
        return SourceForbidden(f"the store refuses: {code}")
    if code in _CHANGED:
        return SourceChanged(f"the object was replaced or removed: {code}")
    return SourceUnavailable(f"the store answers {code}")
