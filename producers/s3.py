"""A dataset's place in a bucket: list, read, copy, delete, with our own errors and no surprises."""

import re
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache, partial
from typing import Any, Final, TypeVar

import boto3
from botocore.client import Config

from producers.addresses import PUBLIC_ONLY, Hosts
from producers.contracts import S3Location
from producers.errors import SourceChanged, SourceForbidden
from producers.guarded_http import guard
from producers.s3_errors import told
from producers.s3_reader import ObjectReader
from producers.s3_versions import covered, history

MARK: Final = "sunledger-file"
"""Metadata of a moved object: id of the file's record, by which a repeated move knows its own copy."""
MAX_COPY_BYTES: Final = 5 * 1024**3
"""What stores copy at once (Amazon S3 API reference, CopyObject)."""
_NULL: Final = "null"
_MAKING: Final = threading.Lock()
_MD5: Final = re.compile(r"[0-9a-f]{32}").fullmatch
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class S3Object:
    """One version of an object.

    Attributes:
        version_id: None in a bucket without versions; `null` for an earlier version from before it had any.
        version: what tells it from others under the same key: the version id, else ETag and time.
        mark: see `MARK`.
        md5: of its bytes in hex, where the store tells it.
    """

    key: str
    etag: str
    size: int
    modified: datetime
    version_id: str | None
    mark: str | None = None
    md5: str | None = None

    @property
    def version(self) -> str:
        """Version id, else ETag and modification time."""
        if self.version_id and self.version_id != _NULL:
            return self.version_id
        return f"{self.etag.strip(chr(34))}-{self.modified.astimezone(UTC):%Y%m%dT%H%M%SZ}"


class Bucket:
    """A bucket and prefix opened with a dataset's key, at a host that may be connected to. Calls block.

    Every one may raise `SourceUnavailable` (repeat), `SourceForbidden` (an operator's matter) and,
    where it concerns one object, `SourceChanged`. Before every request `check` is called; what it raises
    prevents the request.
    """

    def __init__(
        self, location: S3Location, hosts: Hosts = PUBLIC_ONLY, check: Callable[[], None] = lambda: None
    ) -> None:
        self._check = check
        self.name = location.bucket
        self.prefix = location.prefix.strip("/") + "/" if location.prefix.strip("/") else ""
        self._s3 = _client(location)
        guard(self._s3, hosts)

    def source_ref(self, found: S3Object) -> str:
        """`s3://bucket/key@version`."""
        return f"s3://{self.name}/{found.key}@{found.version}"

    def key_of(self, source_ref: str) -> str:
        """The key that a `source_ref` names."""
        return source_ref.removeprefix(f"s3://{self.name}/").rpartition("@")[0]

    def list(self) -> Iterator[str]:
        """Keys directly under the prefix, page by page; sub-folders are not entered."""
        where = {"Bucket": self.name, "Prefix": self.prefix, "Delimiter": "/"}
        while True:
            page = self._call(partial(self._s3.list_objects_v2, **where))
            yield from (entry["Key"] for entry in page.get("Contents", ()))
            if not page.get("IsTruncated"):
                return
            where["ContinuationToken"] = page["NextContinuationToken"]

    def find(self, source_ref: str) -> S3Object | None:
        """The object version that a `source_ref` names; None if it is no longer there."""
        key, version = self.key_of(source_ref), source_ref.rpartition("@")[2]
        newest = self.head(key)
        if newest is None or newest.version == version:
            return newest
        return self.head(key, version) if newest.version_id else None

    def head(self, key: str, version_id: str | None = None) -> S3Object | None:
        """An object, the newest version unless one is named; None if there is none."""
        arguments = {"VersionId": version_id} if version_id else {}
        try:
            found = self._call(partial(self._s3.head_object, Bucket=self.name, Key=key, **arguments))
        except SourceChanged:
            return None
        except SourceForbidden:
            # Whoever may list under a prefix only is told 403, not 404, of a key that is not there.
            if version_id or self._is_listed(key):
                raise
            return None
        version_id = found.get("VersionId")
        return S3Object(
            key,
            found["ETag"],
            found["ContentLength"],
            found["LastModified"],
            version_id if version_id != _NULL else None,
            found.get("Metadata", {}).get(MARK),
            _md5(found),
        )

    def _is_listed(self, key: str) -> bool:
        page = self._call(partial(self._s3.list_objects_v2, Bucket=self.name, Prefix=key, MaxKeys=1))
        return any(entry["Key"] == key for entry in page.get("Contents", ()))

    def open(self, found: S3Object) -> ObjectReader:
        """The object's bytes, as long as it is that version."""
        return ObjectReader(lambda offset: self._get(found, offset), found.size, found.md5)

    def _get(self, found: S3Object, offset: int) -> Any:
        arguments = {"Range": f"bytes={offset}-"} if offset else {}
        answer = self._call(
            lambda: self._s3.get_object(
                Bucket=self.name, Key=found.key, IfMatch=found.etag, **_version(found), **arguments
            )
        )
        expected = found.size - offset
        left = answer.get("ContentLength", expected)
        if answer["ETag"] != found.etag or left != expected:
            raise SourceChanged(f"another object, or part of it: {left} bytes are left, expected {expected}")
        return answer["Body"]

    def copy(self, found: S3Object, destination: str, mark: str) -> None:
        """Copy that version to another key, marked; the caller has seen that the key is free."""
        self._call(
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

    def earlier(self, found: S3Object) -> Iterator[S3Object]:
        """Versions of its key that would come back, newest first, were that version deleted.

        There are none in a bucket without versions.
        """
        if found.version_id:
            versions, deleted = history(self._call, self._s3, self.name, found.key)
            for entry in covered(versions, deleted, found.version_id, found.modified):
                yield S3Object(
                    found.key, entry["ETag"], entry["Size"], entry["LastModified"], entry["VersionId"]
                )

    def delete(self, found: S3Object) -> None:
        """Delete that version, and only it: in a bucket with versions the one before comes back.

        Raises:
            SourceChanged: the object is another one by now, or gone.
        """
        if found.version_id:
            self._call(lambda: self._s3.delete_object(Bucket=self.name, Key=found.key, **_version(found)))
            return
        # Not every store knows conditional deletes, so it is looked at once more in any case.
        now = self.head(found.key)
        if now is None or now.version != found.version:
            raise SourceChanged("the object was replaced or removed")
        self._call(lambda: self._s3.delete_object(Bucket=self.name, Key=found.key, IfMatch=found.etag))

    def put(self, key: str, body: bytes, content_type: str) -> None:
        """Write a small object of ours."""
        self._call(
            lambda: self._s3.put_object(Bucket=self.name, Key=key, Body=body, ContentType=content_type)
        )

    def close(self) -> None:
        """Give the connections back."""
        self._s3.close()

    def _call(self, call: Callable[[], Result]) -> Result:
        """The call's result, its errors told in our words."""
        self._check()
        return told(call)


def _client(location: S3Location) -> Any:
    """A client for a dataset's bucket. Pollers are threads, and boto3's sessions are not made for several."""
    with _MAKING:
        return _session().client(
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


@cache
def _session() -> Any:
    """One session for all: it remembers the service's description, which takes long to read."""
    return boto3.session.Session()


def _md5(head: Mapping[str, Any]) -> str | None:
    """The MD5 that an ETag is: not after an upload in parts (`-`), nor under a key of KMS or the customer.

    Source: Amazon S3 API reference, data type Object, field ETag.
    """
    etag = head["ETag"].strip('"').lower()
    own_key = "SSECustomerAlgorithm" in head or str(head.get("ServerSideEncryption", "")).startswith(
        "aws:kms"
    )
    return etag if _MD5(etag) and not own_key else None


def _version(found: S3Object) -> dict[str, str]:
    return {"VersionId": found.version_id} if found.version_id else {}
