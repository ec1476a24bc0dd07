"""What the namespace returns: frozen records, decoded from rows once."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import IntEnum
from typing import Any, Final

from zfsstore.host.errors import PreconditionFailed

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Kind(IntEnum):
    """What a version is; the numbers are stored."""

    OBJECT = 0
    CONTAINER = 1
    DELETE_MARKER = 2


@dataclass(frozen=True, slots=True)
class Blob:
    """What one put into a storage module gave: shared by every version that refers to it."""

    module: str
    module_data: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Extent:
    """*length* bytes of *blob* from *offset*: a piece of an object's value."""

    blob: Blob
    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class Version:
    """One version of one key.

    Attributes:
        key: text; a container's ends in "/".
        version_id: 32 hexadecimal digits; within a key, newer ones sort first.
        object_id: 16 bytes, unique in the bucket; stays when the object is replaced.
        etag: without quotes; the version_id unless a front end gave another.
        metadata: the user's, as JSON values.
        extents: the value, in order; only filled where one object was asked for, not in listings.
    """

    key: str
    version_id: str
    object_id: bytes
    kind: Kind
    size_bytes: int
    etag: str
    content_type: str | None
    metadata: Mapping[str, Any]
    created_at: datetime
    modified_at: datetime
    extents: tuple[Extent, ...] = ()

    @property
    def is_container(self) -> bool:
        return self.kind is Kind.CONTAINER


@dataclass(frozen=True, slots=True)
class CommonPrefix:
    """All keys that go on with this prefix, delimiter included, rolled up into one."""

    key: str


@dataclass(frozen=True, slots=True)
class Page:
    """A part of a listing, in byte order of the keys.

    Attributes:
        next_after: pass it as *after* to get what follows; None when nothing does.
    """

    items: tuple[Version | CommonPrefix, ...]
    next_after: str | None = None

    @property
    def versions(self) -> tuple[Version, ...]:
        return tuple(item for item in self.items if isinstance(item, Version))

    @property
    def prefixes(self) -> tuple[str, ...]:
        return tuple(item.key for item in self.items if isinstance(item, CommonPrefix))


@dataclass(frozen=True, slots=True)
class Conditions:
    """What must hold of a key's present object for a change to happen.

    ETags without quotes; "*" stands for any object at all. Weak ones (``W/...``) match nothing,
    as strong comparison demands.

    Source: RFC 9110 §13.1.1 and §13.1.2.
    """

    if_match: tuple[str, ...] | None = None
    if_none_match: tuple[str, ...] | None = None

    def check(self, etag: str | None, *, operation: str, subject: str) -> None:
        """Compare with the present object's *etag*, None when there is no object.

        Raises:
            PreconditionFailed: the caller's view of the object is out of date.
        """
        if self.if_match is not None and not _matches(self.if_match, etag):
            present = f"its ETag is {etag}" if etag else "there is no such object"
            raise PreconditionFailed(
                f"{present}, which If-Match does not name", operation=operation, subject=subject
            )
        if self.if_none_match is not None and _matches(self.if_none_match, etag):
            raise PreconditionFailed(
                f"its ETag is {etag}, which If-None-Match excludes",
                operation=operation,
                subject=subject,
            )


UNCONDITIONAL: Final = Conditions()


@dataclass(frozen=True, slots=True)
class Draft:
    """A version to be: what a put gives to the index.

    Attributes:
        extents: pieces of blobs that are not in the index yet, one row each.
        etag: None makes it the version_id.
        modified_at: None makes it the time of the change.
    """

    kind: Kind = Kind.OBJECT
    extents: Sequence[Extent] = ()
    content_type: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    etag: str | None = None
    modified_at: datetime | None = None

    @property
    def size_bytes(self) -> int:
        return sum(extent.length for extent in self.extents)


@dataclass(frozen=True, slots=True)
class PendingDelete:
    """A blob that no version needs any more, and that its module has yet to delete."""

    id: int
    module: str
    module_data: str


@dataclass(frozen=True, slots=True)
class PutOutcome:
    """What a committed put did; *released* is to be deleted from its modules."""

    version: Version
    created: bool
    released: tuple[PendingDelete, ...] = ()


@dataclass(frozen=True, slots=True)
class BucketInfo:
    """The index's own row about its bucket.

    Attributes:
        object_id: 16 bytes, the bucket's own.
        key_count: objects and explicit containers that can be listed.
        size_bytes: sum of the sizes of all versions.
        is_deleting: it is being deleted: nothing can be written.
    """

    id: int
    tenant: str
    name: str
    object_id: bytes
    created_at: datetime
    quota_bytes: int | None
    key_count: int
    size_bytes: int
    is_deleting: bool


def parse_time(microseconds: int) -> datetime:
    """Return a stored time, in microseconds since 1970, as an aware datetime."""
    # A float has 53 bits, a microsecond of this century needs 51: nothing is lost.
    return datetime.fromtimestamp(microseconds / 1_000_000, UTC)


def format_time(moment: datetime) -> int:
    """Return an aware datetime as it is stored, in microseconds since 1970."""
    return (moment - _EPOCH) // timedelta(microseconds=1)


def format_metadata(metadata: Mapping[str, Any]) -> str | None:
    """Return metadata as it is stored: compact JSON, None when empty."""
    if not metadata:
        return None
    return json.dumps(dict(metadata), ensure_ascii=False, separators=(",", ":"))


def parse_metadata(text: str | None) -> Mapping[str, Any]:
    """Return stored metadata."""
    if not text:
        return {}
    value: Mapping[str, Any] = json.loads(text)
    return value


def parse_version(row: Sequence[Any], extents: tuple[Extent, ...] = ()) -> Version:
    """Decode the columns of statements.VERSION_COLUMNS."""
    _, key, version_id, object_id, kind, size, etag, content_type, metadata, created, modified = (
        row[:11]
    )
    identifier = version_id.hex()
    return Version(
        key=key.decode(),
        version_id=identifier,
        object_id=bytes(object_id),
        kind=Kind(kind),
        size_bytes=size,
        etag=etag or identifier,
        content_type=content_type,
        metadata=parse_metadata(metadata),
        created_at=parse_time(created),
        modified_at=parse_time(modified),
        extents=extents,
    )


def _matches(etags: tuple[str, ...], etag: str | None) -> bool:
    return etag is not None and ("*" in etags or etag in etags)
