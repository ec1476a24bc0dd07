"""The first record of a stream of ``zfs send``: what it is, before any command takes it.

Source: OpenZFS, include/sys/zfs_ioctl.h (struct drr_begin, dmu_replay_record).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from modules.errors import InvalidArgument
from zfsstore.zfs.errors import InvalidStream
from zfsstore.zfs.transfer import SupportsRead

_RECORD_BYTES: Final = 312
_MAGIC: Final = 0x2F5BACBAC
_BEGIN: Final = "IIQQQIIQQ"  # type, payload; magic, version, creation, kind, flags, to, from
_KIND_MASK: Final = 3
_PLAIN_STREAM: Final = 1


@dataclass(frozen=True, slots=True)
class StreamHead:
    """What a plain stream of one snapshot holds.

    Attributes:
        guid: of the snapshot.
        base_guid: of the snapshot that it builds on, None for a full stream.
        data: the bytes that were read, which belong to the stream.
    """

    guid: int
    base_guid: int | None
    data: bytes


def read_head(stream: SupportsRead) -> StreamHead:
    """Return what *stream* begins with.

    Raises:
        InvalidStream: it is no stream of ``zfs send``.
        InvalidArgument: it is several in one (``zfs send -R``, ``-I``, ``-p``), which could
            bring other volumes and properties along.
    """
    data = bytearray()
    while len(data) < _RECORD_BYTES and (part := stream.read(_RECORD_BYTES - len(data))):
        data += part
    for order in "<>" if len(data) == _RECORD_BYTES else "":
        kind, _payload, magic, version, *_more, guid, base = struct.unpack_from(
            order + _BEGIN, data
        )
        if kind != 0 or magic != _MAGIC:
            continue
        if version & _KIND_MASK != _PLAIN_STREAM:
            raise InvalidArgument(
                "it is several streams in one",
                field="stream",
                operation="receive stream",
                hint="send one snapshot at a time, without -R, -I and -p",
            )
        return StreamHead(guid, base or None, bytes(data))
    raise InvalidStream(
        "it does not begin like a stream of `zfs send`", operation="receive", subject="stream"
    )
