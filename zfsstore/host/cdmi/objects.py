"""Data objects by plain HTTP: PUT, GET with ranges and conditions, HEAD, DELETE."""

from __future__ import annotations

import re
from typing import Final

import falcon

from modules.errors import InvalidArgument, NotSupported, ObjectNotFound
from zfsstore.host.cdmi.containers import CHILDREN_PARAMETERS
from zfsstore.host.conditions import (
    ReadOutcome,
    is_range_current,
    read_outcome,
    write_conditions,
)
from zfsstore.host.downloads import SMALL_BYTES, body_of, read_small
from zfsstore.host.errors import RangeNotSatisfiable
from zfsstore.host.exchange import Exchange
from zfsstore.host.http import (
    format_http_date,
    parse_range,
    query_parameters,
    refuse_snapshot,
    snapshot_parameter,
)
from zfsstore.host.namespace.records import Version
from zfsstore.host.objects import ObjectService

DEFAULT_TYPE: Final = "application/octet-stream"

_CONTENT_TYPE: Final = re.compile(r"[\x20-\x7e]{1,255}")


class Objects:
    """Translates requests for data objects to the object service."""

    def __init__(self, objects: ObjectService) -> None:
        self._objects = objects

    def handle(self, exchange: Exchange, bucket: str, key: str) -> None:
        """Answer a request for one data object."""
        exchange.dispatch(
            {
                "GET": lambda: self._get(exchange, bucket, key),
                "PUT": lambda: self._put(exchange, bucket, key),
                "DELETE": lambda: self._delete(exchange, bucket, key),
            }
        )

    def _put(self, exchange: Exchange, bucket: str, key: str) -> None:
        refuse_snapshot(exchange.query)
        if exchange.environ.get("HTTP_CONTENT_RANGE"):
            raise InvalidArgument(
                "an object is written as a whole",
                field="Content-Range",
                hint="send all of it, without Content-Range",
            )
        result = self._objects.put_object(
            exchange.identity.tenant,
            bucket,
            key,
            exchange.upload,
            content_length=exchange.upload.content_length,
            content_type=_content_type(exchange),
            conditions=write_conditions(
                exchange.environ, lambda: self._find(exchange, bucket, key)
            ),
        )
        exchange.response.set_header("ETag", f'"{result.version.etag}"')
        exchange.answer_done(created=result.created)

    def _delete(self, exchange: Exchange, bucket: str, key: str) -> None:
        refuse_snapshot(exchange.query)
        self._objects.delete_object(
            exchange.identity.tenant,
            bucket,
            key,
            conditions=write_conditions(
                exchange.environ, lambda: self._find(exchange, bucket, key)
            ),
        )
        exchange.answer_done()

    def _find(self, exchange: Exchange, bucket: str, key: str) -> Version | None:
        try:
            return self._objects.head_object(exchange.identity.tenant, bucket, key)
        except ObjectNotFound:
            return None

    def _get(self, exchange: Exchange, bucket: str, key: str) -> None:
        tenant = exchange.identity.tenant
        snapshot = query_parameters(exchange.query, CHILDREN_PARAMETERS).get("snapshot")
        try:
            if exchange.method == "HEAD":
                version = self._objects.head_object(tenant, bucket, key, snapshot=snapshot)
                _answer_head(exchange, version)
                return
            version, stream = self._objects.open_object(tenant, bucket, key, snapshot=snapshot)
        except ObjectNotFound:
            container = f"{key}/"
            if not self._objects.container_exists(tenant, bucket, container, snapshot=snapshot):
                raise
            exchange.redirect_to_container()
            return
        is_handed_over = False
        try:
            if not _answer_headers(exchange, version):
                return
            offset, length = _requested_range(exchange, version)
            is_handed_over = True
            if length <= SMALL_BYTES:
                exchange.response.data = read_small(stream, offset, length)
            else:
                exchange.response.set_header("Content-Length", str(length))
                exchange.response.stream = body_of(
                    exchange.environ,
                    stream,
                    offset=offset,
                    length=length,
                    size_bytes=version.size_bytes,
                )
        finally:
            if not is_handed_over:
                stream.close()


def _answer_head(exchange: Exchange, version: Version) -> None:
    if _answer_headers(exchange, version):
        exchange.response.set_header("Content-Length", str(version.size_bytes))


def _answer_headers(exchange: Exchange, version: Version) -> bool:
    """Set the headers of an object; False when the answer is 304, without a body."""
    snapshot_parameter(exchange.query)  # an object has no other
    response = exchange.response
    outcome = read_outcome(exchange.environ, version)
    response.set_header("ETag", f'"{version.etag}"')
    response.set_header("Last-Modified", format_http_date(version.modified_at))
    response.set_header("Accept-Ranges", "bytes")
    if outcome is ReadOutcome.NOT_MODIFIED:
        response.status = falcon.HTTP_304
        return False
    response.content_type = version.content_type or DEFAULT_TYPE
    # A stored page must not act as its reader, who may be an administrator, on this server.
    response.set_header("X-Content-Type-Options", "nosniff")
    response.set_header("Content-Security-Policy", "sandbox")
    return True


def _requested_range(exchange: Exchange, version: Version) -> tuple[int, int]:
    """Return offset and length to send, and set status and headers for a part."""
    size = version.size_bytes
    part = parse_range(exchange.environ.get("HTTP_RANGE"), size)
    if part is None or not is_range_current(exchange.environ, version):
        return 0, size
    offset, length = part
    if length == 0:
        raise RangeNotSatisfiable(size)
    exchange.response.status = falcon.HTTP_206
    exchange.response.set_header("Content-Range", f"bytes {offset}-{offset + length - 1}/{size}")
    return offset, length


def _content_type(exchange: Exchange) -> str:
    text = (exchange.environ.get("CONTENT_TYPE") or DEFAULT_TYPE).strip()
    if not _CONTENT_TYPE.fullmatch(text):
        raise InvalidArgument("must be up to 255 printable ASCII characters", field="Content-Type")
    if text.lower().startswith("application/cdmi-"):
        raise NotSupported(
            "this server takes the value of an object itself, not a CDMI document",
            capability="cdmi_dataobjects",
            hint="send the bytes with their own Content-Type",
        )
    return text
