"""The versions of one key, as a bucket with versions lists them."""

from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Any

Version = dict[str, Any]
"""Amazon S3 API reference, data type ObjectVersion."""


def history(
    call: Callable[[Callable[[], Any]], Any], s3: Any, bucket: str, key: str
) -> tuple[list[Version], list[datetime]]:
    """All versions of exactly that key, newest first, and when it was deleted (delete markers).

    `call` makes a request and raises our errors.
    """
    versions: list[Version] = []
    deleted: list[datetime] = []
    where = {"Bucket": bucket, "Prefix": key}
    while True:
        page = call(partial(s3.list_object_versions, **where))
        versions += [entry for entry in page.get("Versions", ()) if entry["Key"] == key]
        markers = page.get("DeleteMarkers", ())
        deleted += [entry["LastModified"] for entry in markers if entry["Key"] == key]
        # Keys come in order: behind this one there are only longer ones.
        if not page.get("IsTruncated") or page["NextKeyMarker"] != key:
            return versions, deleted
        where |= {"KeyMarker": key, "VersionIdMarker": page["NextVersionIdMarker"]}


def covered(
    versions: list[Version], deleted: list[datetime], version_id: str, modified: datetime
) -> list[Version]:
    """The versions that would come back, one after the other, if that one and they were deleted.

    Newest first. What was deleted before it ends them: it hides the rest.
    """
    at = [version["VersionId"] for version in versions]
    below = versions[at.index(version_id) + 1 :] if version_id in at else []
    hidden = max((time for time in deleted if time <= modified), default=None)
    return [version for version in below if hidden is None or version["LastModified"] >= hidden]
