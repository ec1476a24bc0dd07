"""S3Storage: each object of ours is one object in a bucket of an S3 service."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from datetime import timedelta
from typing import Any, Final

from modules import StorageModule
from modules.context import Context, content_length
from modules.errors import ConfigurationError, InvalidArgument, NotSupported, StorageError
from modules.extensions import SweepReport
from modules.streams import ReadStream, SupportsRead
from zfsstore.s3store import layout
from zfsstore.s3store.config import S3Config, parse_config

try:
    from botocore.exceptions import ClientError

    from zfsstore.s3store import failures
    from zfsstore.s3store.client import Clients
    from zfsstore.s3store.listing import list_objects
    from zfsstore.s3store.reader import ObjectReader, S3ObjectStream
    from zfsstore.s3store.sweep import Sweep
    from zfsstore.s3store.writer import store

    _HAS_BOTO3 = True
except ModuleNotFoundError as error:
    if error.name not in ("boto3", "botocore", "urllib3"):
        raise
    _HAS_BOTO3 = False

_logger: Final = logging.getLogger(__name__)
_ARGUMENTS: Final = tuple(argument.name for argument in fields(S3Config))
_CAPABILITIES: Final = {
    "cdmi_read_value": "true",
    "cdmi_read_value_range": "true",
    "cdmi_delete_dataobject": "true",
}


@dataclass(frozen=True, slots=True)
class Usage:
    """What a volume holds in the bucket."""

    objects: int
    bytes: int


class S3Storage(StorageModule):
    """Keeps objects in a bucket of Amazon S3, Ceph, MinIO, SeaweedFS or any other S3 service.

    Tenants and buckets of the context are a part of the key. A put is durable when the service
    says so. Reads fetch ranges, and give no byte that is not what was put. There are no volumes,
    so no snapshots. No request is made before the first object is used.

    Args:
        bucket: an existing bucket.
        prefix: what all our keys begin with; nobody else may write below it.
        endpoint_url: of the service; AWS when None.
        region: the bucket's.
        credentials: an object of one of the forms in docs/s3.md; boto3 looks for some when None.
        part_size_bytes: larger objects are sent in parts; one part is in memory for each put.
        max_part_size_bytes: of very large objects.
        read_ahead_bytes: at most so many are fetched at once.
        max_attempts: for each request.
        connect_timeout_s: for each attempt.
        read_timeout_s: how long the service may say nothing.
        max_connections: how many are kept open in each process.
        checksum: what the service checks on arrival: sha256, crc32 or md5.
        addressing: of the bucket: path, virtual (its name is part of the host's) or auto.
        ca_file: certificates to trust, in PEM, instead of those of boto3.
    """

    def __init__(
        self,
        *,
        bucket: str | None = None,
        prefix: str | None = None,
        endpoint_url: str | None = None,
        region: str | None = None,
        credentials: Mapping[str, str] | None = None,
        part_size_bytes: int | None = None,
        max_part_size_bytes: int | None = None,
        read_ahead_bytes: int | None = None,
        max_attempts: int | None = None,
        connect_timeout_s: float | None = None,
        read_timeout_s: float | None = None,
        max_connections: int | None = None,
        checksum: str | None = None,
        addressing: str | None = None,
        ca_file: str | None = None,
    ) -> None:
        given = locals()
        self._config = parse_config({name: given[name] for name in _ARGUMENTS})
        if not _HAS_BOTO3:
            raise ConfigurationError(
                "boto3 is not installed",
                operation="use S3 service",
                hint="pip install 'zfsstore[s3]'",
            )
        self._clients = Clients(self._config)

    def available(self, context: Context, module_data: str) -> bool:
        """Return True when the object is in the bucket, with its length; asks for no byte of it.

        False, and a warning in the log, when the service cannot be asked.
        """
        try:
            data = layout.parse_module_data(module_data)
            key = self._area(context).key(data.object_id)
            answer = self._clients.get().head_object(Bucket=self._config.bucket, Key=key)
        except ClientError as error:
            if not failures.is_absent(error):
                self._warn(error)
            return False
        except failures.RAISED as error:
            self._warn(error)
            return False
        except StorageError as error:
            if not isinstance(error, InvalidArgument | NotSupported):
                _logger.warning("%s", error)
            return False
        return bool(answer.get("ContentLength") == data.stored_bytes)

    def put(self, context: Context, stream: SupportsRead) -> str:
        """Store *stream*; returns when the service has acknowledged all of it.

        Raises:
            InvalidArgument: it is larger than max_part_size_bytes allows.
        """
        layout.require_live(context)
        area = self._area(context)
        object_id = layout.new_object_id()
        return str(
            store(
                self._clients,
                self._config,
                area.key(object_id),
                object_id,
                stream,
                expected_bytes=content_length(context),
                subject=area.label,
            )
        )

    def get_read_stream(self, context: Context, module_data: str) -> ReadStream:
        """Return a stream of the object; one request proves that it is there."""
        data = layout.parse_module_data(module_data)
        key = self._area(context).key(data.object_id)
        reader = ObjectReader(self._clients, self._config, key, data, module_data)
        ahead = self._config.read_ahead_bytes // layout.BLOCK_BYTES
        return S3ObjectStream(reader, data.size, reader.open(), ahead)

    def delete(self, context: Context, module_data: str) -> None:
        """Remove the object. In a bucket with versions the service keeps the old one."""
        data = layout.parse_module_data(module_data)
        layout.require_live(context)
        key = self._area(context).key(data.object_id)
        try:
            self._clients.get().delete_object(Bucket=self._config.bucket, Key=key)
        except failures.RAISED as error:
            if isinstance(error, ClientError) and failures.is_absent(error):
                return
            raise failures.storage_error(
                error, operation="delete object", subject=module_data
            ) from error

    def statistics(self, context: Context) -> dict[str, Any]:
        """Return a capacity of zeros: no S3 service tells it. ``usage`` counts, on demand."""
        return {"capacity": {"total": 0, "free": 0, "used": 0}, "is_capacity_known": False}

    def capabilities(self, context: Context) -> Mapping[str, Any]:
        """Return what every S3 service offers."""
        return dict(_CAPABILITIES)

    def usage(self, context: Context) -> Usage:
        """Count the objects of the context's volume, and their bytes, by listing all of them.

        A tenant's buckets are volumes of their own. A request for each thousand objects.
        """
        count = total = 0
        for stored in list_objects(self._clients, self._config, self._area(context)):
            count += 1
            total += stored.size
        return Usage(count, total)

    def sweep(
        self, context: Context, live: Iterable[str], *, older_than: timedelta, dry_run: bool = True
    ) -> SweepReport:
        """Find what is not *live*; unless *dry_run* move it below ``q/`` and abort old uploads.

        An upload's age is that of its newest part. Ages are by the service's clock.
        """
        layout.require_live(context)
        sweep = Sweep(self._clients, self._config, self._area(context), older_than, dry_run)
        return sweep.run(live)

    def _area(self, context: Context) -> layout.Area:
        return layout.area_of(context, self._config.prefix)

    def _warn(self, error: Exception) -> None:
        _logger.warning(
            "%s", failures.storage_error(error, operation="look for object in", subject="S3")
        )
