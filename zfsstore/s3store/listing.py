"""Listing a volume's objects."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from modules.errors import SubstrateError
from zfsstore.s3store.client import Clients
from zfsstore.s3store.config import S3Config
from zfsstore.s3store.failures import translated
from zfsstore.s3store.layout import Area


@dataclass(frozen=True, slots=True)
class Stored:
    """An object in the bucket, as a listing shows it."""

    object_id: str
    size: int
    modified: datetime


def list_objects(clients: Clients, config: S3Config, area: Area) -> Iterator[Stored]:
    """Yield the objects of a volume in the order of their ids; what is not ours is left out.

    Raises:
        SubstrateError: the service lists keys in another order, or a page again.
    """
    last = ""
    arguments: dict[str, Any] = {"Bucket": config.bucket, "Prefix": area.objects}
    while True:
        with translated(operation="list objects of", subject=area.label):
            answer = clients.get().list_objects_v2(**arguments)
        for entry in answer.get("Contents", ()):
            object_id = area.object_id(entry["Key"])
            if object_id is not None:
                if object_id <= last:
                    raise _disordered(area)
                last = object_id
                yield Stored(object_id, entry["Size"], entry["LastModified"])
        if not answer.get("IsTruncated"):
            return
        arguments["ContinuationToken"] = answer["NextContinuationToken"]


def _disordered(area: Area) -> SubstrateError:
    return SubstrateError(
        "the S3 service does not list keys in the order of their names",
        operation="list objects of",
        subject=area.label,
        hint="use a bucket of another kind: directory buckets of AWS list in no order",
    )
