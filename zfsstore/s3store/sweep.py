"""Comparing what is in the bucket with what is needed; unfinished uploads."""

from __future__ import annotations

import email.utils
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import Any, Final

from modules.errors import IntegrityError, InvalidArgument, NotFound, StorageError
from modules.extensions import SweepReport
from zfsstore.s3store.client import Clients
from zfsstore.s3store.config import S3Config
from zfsstore.s3store.failures import RAISED, storage_error, translated
from zfsstore.s3store.layout import (
    QUARANTINE,
    Area,
    ModuleData,
    content_bytes,
    parse_module_data,
)
from zfsstore.s3store.listing import Stored, list_objects
from zfsstore.s3store.live import LiveObjects
from zfsstore.s3store.reader import ObjectReader

COPY_PART_BYTES: Final = 1024**3
"""Larger objects are copied in parts of this size; one request copies 5 GiB at most."""

_UPLOAD_ID: Final = re.compile(r"[!-~]{1,1024}")
_LEAVES: Final = tuple(f"{number:02x}" for number in range(256))


class Sweep:
    """One sweep of a volume; see SupportsSweep.sweep."""

    def __init__(
        self, clients: Clients, config: S3Config, area: Area, older_than: timedelta, dry_run: bool
    ) -> None:
        if older_than < timedelta(0):
            raise InvalidArgument("must not be negative", field="older_than")
        self._clients = clients
        self._config = config
        self._area = area
        self._dry_run = dry_run
        self._oldest_kept = self._service_time() - older_than
        self._found = _Findings()
        stamp = f"{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}"
        self._quarantine = f"{config.prefix}{QUARANTINE}{stamp}/"

    def run(self, live: Iterable[str]) -> SweepReport:
        """Compare what is listed with *live*, then look for uploads that nobody finished."""
        with LiveObjects() as known:
            for module_data in live:
                known.add(parse_module_data(module_data))
            self._compare(known)
        self._sweep_uploads()
        found = self._found
        return SweepReport(
            scanned=found.scanned,
            unreferenced=tuple(sorted(found.unreferenced)),
            unreferenced_bytes=found.unreferenced_bytes,
            quarantined=not self._dry_run,
            too_young=found.too_young,
            missing=tuple(sorted(found.missing)),
        )

    def _compare(self, known: LiveObjects) -> None:
        leaves = iter(_LEAVES)
        listing = list_objects(self._clients, self._config, self._area)
        for leaf, group in groupby(listing, key=lambda stored: stored.object_id[:2]):
            for empty in iter(leaves.__next__, leaf):
                self._found.missing += map(str, known.of_leaf(empty).values())
            live = known.of_leaf(leaf)
            for stored in group:
                self._found.scanned += 1
                data = live.pop(stored.object_id, None)
                if data is None:
                    self._judge(stored)
                elif data.stored_bytes != stored.size:
                    self._found.missing.append(str(data))  # something is there, but not that
            self._found.missing += map(str, live.values())
        for empty in leaves:
            self._found.missing += map(str, known.of_leaf(empty).values())

    def _judge(self, stored: Stored) -> None:
        if stored.modified > self._oldest_kept:
            self._found.too_young += 1
            return
        with suppress(NotFound):  # deleted just now
            name = self._name(stored)
            if not self._dry_run:
                self._move_aside(stored)
            self._found.unreferenced.append(name)
            self._found.unreferenced_bytes += stored.size

    def _name(self, stored: Stored) -> str:
        """Return the module_data of an object nobody knows; its id, if it is not whole."""
        size = content_bytes(stored.size)
        data = ModuleData(stored.object_id, size, b"")
        if data.stored_bytes != stored.size:
            return stored.object_id
        length = data.table_bytes or size
        key = self._area.key(stored.object_id)
        reader = ObjectReader(self._clients, self._config, key, data, stored.object_id)
        try:
            return str(ModuleData(stored.object_id, size, reader.root(length)))
        except IntegrityError:
            return stored.object_id

    def _move_aside(self, stored: Stored) -> None:
        """Copy an object within the service, then delete it; a kill in between leaves both."""
        key = self._area.key(stored.object_id)
        rest = key.removeprefix(self._config.prefix)
        source = {"Bucket": self._config.bucket, "Key": key}
        target = {"Bucket": self._config.bucket, "Key": f"{self._quarantine}{rest}"}
        client = self._clients.get()
        with translated(operation="quarantine object of", subject=self._area.label):
            if stored.size <= COPY_PART_BYTES:
                client.copy_object(**target, CopySource=source)
            else:
                _copy_parts(client, source, target, stored.size)
            client.delete_object(**source)

    def _sweep_uploads(self) -> None:
        """Abort, unless it is a dry run, uploads that got no part for long enough."""
        for key, upload_id, initiated in self._uploads():
            self._found.scanned += 1
            newest, size = self._parts(key, upload_id, initiated)
            if newest > self._oldest_kept:
                self._found.too_young += 1
                continue
            if not self._dry_run and not self._abort(key, upload_id):
                continue
            object_id = self._area.object_id(key)
            self._found.unreferenced.append(f"upload/{object_id}/{upload_id}")
            self._found.unreferenced_bytes += size

    def _abort(self, key: str, upload_id: str) -> bool:
        """Abort an upload; False if it was finished or aborted just now."""
        client = self._clients.get()
        with translated(operation="abort upload of", subject=self._area.label):
            try:
                client.abort_multipart_upload(
                    Bucket=self._config.bucket, Key=key, UploadId=upload_id
                )
            except client.exceptions.NoSuchUpload:
                return False
        return True

    def _uploads(self) -> Iterator[tuple[str, str, datetime]]:
        """Yield key, id and beginning of each upload that is not complete."""
        arguments: dict[str, Any] = {"Bucket": self._config.bucket, "Prefix": self._area.objects}
        while True:
            with translated(operation="list uploads of", subject=self._area.label):
                answer = self._clients.get().list_multipart_uploads(**arguments)
            for entry in answer.get("Uploads", ()):
                key, upload_id = entry["Key"], entry["UploadId"]
                if self._area.object_id(key) and _UPLOAD_ID.fullmatch(upload_id):
                    yield key, upload_id, entry["Initiated"]
            if not answer.get("IsTruncated"):
                return
            arguments["KeyMarker"] = answer["NextKeyMarker"]
            arguments["UploadIdMarker"] = answer["NextUploadIdMarker"]

    def _parts(self, key: str, upload_id: str, initiated: datetime) -> tuple[datetime, int]:
        """Return when an upload's newest part came, and how many bytes it has."""
        newest, size = initiated, 0
        arguments = {"Bucket": self._config.bucket, "Key": key, "UploadId": upload_id}
        client = self._clients.get()
        try:
            for page in client.get_paginator("list_parts").paginate(**arguments):
                for part in page.get("Parts", ()):
                    newest = max(newest, part["LastModified"])
                    size += part["Size"]
        except RAISED as error:
            if isinstance(error, client.exceptions.NoSuchUpload):
                return datetime.now(UTC) + timedelta(days=1), 0  # finished just now
            raise storage_error(
                error, operation="list parts of", subject=self._area.label
            ) from error
        return newest, size

    def _service_time(self) -> datetime:
        """Return the service's own time, which it also gives objects; else ours."""
        with translated(operation="look at bucket of", subject=self._area.label):
            answer = self._clients.get().list_objects_v2(
                Bucket=self._config.bucket, Prefix=self._area.objects, MaxKeys=1
            )
        date = answer["ResponseMetadata"].get("HTTPHeaders", {}).get("date", "")
        with suppress(ValueError, TypeError):
            parsed = email.utils.parsedate_to_datetime(date)
            zone = parsed.tzinfo or UTC
            return parsed.replace(microsecond=999_999, tzinfo=zone)  # it says whole seconds
        return datetime.now(UTC)


@dataclass(slots=True)
class _Findings:
    scanned: int = 0
    unreferenced: list[str] = field(default_factory=list)
    unreferenced_bytes: int = 0
    too_young: int = 0
    missing: list[str] = field(default_factory=list)


def _copy_parts(client: Any, source: dict[str, str], target: dict[str, str], size: int) -> None:
    """Copy a large object within the service, as a multipart upload."""
    upload = client.create_multipart_upload(**target)["UploadId"]
    try:
        parts = []
        for number, start in enumerate(range(0, size, COPY_PART_BYTES), 1):
            end = min(start + COPY_PART_BYTES, size) - 1
            answer = client.upload_part_copy(
                **target,
                UploadId=upload,
                PartNumber=number,
                CopySource=source,
                CopySourceRange=f"bytes={start}-{end}",
            )
            parts.append({"PartNumber": number, "ETag": answer["CopyPartResult"]["ETag"]})
        client.complete_multipart_upload(
            **target, UploadId=upload, MultipartUpload={"Parts": parts}
        )
    except BaseException:
        with suppress(*RAISED, StorageError):
            client.abort_multipart_upload(**target, UploadId=upload)
        raise
