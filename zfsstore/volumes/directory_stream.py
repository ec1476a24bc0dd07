"""A snapshot of a directory volume as a stream of bytes: format 1, described in docs/formats.md.

A tar archive. Its first member is a JSON header that declares everything that follows, in number
and bytes; its last one holds the SHA-256 digest of all bytes before it. What comes in is hostile:
a member that was not declared, out of order, too large, or with a name that no member can have
ends the reading, and nothing counts until the digest has been compared.
"""

from __future__ import annotations

import hashlib
import json
import re
import tarfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Self

from modules.errors import NotSupported, StorageError
from modules.streams import SupportsRead
from zfsstore import layout
from zfsstore.volumes.common import parse_uuid
from zfsstore.volumes.directory_records import check_snapshot
from zfsstore.zfs.errors import InvalidStream

FORMAT: Final = "zfsstore-directory-stream"
VERSION: Final = 1
HEADER: Final = "header.json"
REMOVED: Final = "removed"
END: Final = "end.json"
BLOCK_BYTES: Final = 1 << 20
DATABASE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,60}\.db")
OBJECT: Final = re.compile(
    rf"objects/({layout.INSTANCE.pattern})/([0-9a-f]{{2}})/(\2[0-9a-f]{{30}})"
)

_MAX_HEADER_BYTES: Final = 1 << 20
_MAX_DATABASES: Final = 1000
_MAX_NUMBER: Final = 1 << 62
_RECORD: Final = tarfile.BLOCKSIZE
_KEY_DOMAIN: Final = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class Header:
    """What a stream holds.

    Attributes:
        name, uuid, created_ns: the snapshot's.
        volume: the name of the volume it was made of; for people.
        volume_uuid: its uuid, which the copy takes over where that is free.
        key_domain: the volume's.
        objects, object_bytes: how many objects come, and their size together.
        removed: how many of the base's objects the snapshot has not.
        databases: the size of each by its name, in their order.
        base: uuid of the snapshot that the receiver has; None for a whole stream.
        base_name: its name; for people.
    """

    name: str
    uuid: str
    created_ns: int
    volume: str
    volume_uuid: str
    key_domain: str
    objects: int
    object_bytes: int
    removed: int = 0
    databases: dict[str, int] = field(default_factory=dict)
    base: str | None = None
    base_name: str | None = None

    def to_json(self) -> bytes:
        """Return the content of the header member."""
        return json.dumps({"format": FORMAT, "version": VERSION, **asdict(self)}).encode()

    @classmethod
    def from_json(cls, content: bytes) -> Header:
        """Return the header in a first member.

        Raises:
            InvalidStream: it is none.
            NotSupported: a later version.
        """
        try:
            value = json.loads(content)
            is_ours = value.pop("format") == FORMAT
            version = value.pop("version")
            if is_ours and version != VERSION:
                raise NotSupported(
                    f"its version is {version!r}, this release knows {VERSION}",
                    capability="stream_version",
                    operation="receive stream",
                    hint="upgrade zfsstore on this host",
                )
            header = cls(**value)
            if not is_ours or not _is_sound(header):
                raise ValueError("unsound")
        except (ValueError, TypeError, KeyError, AttributeError, StorageError) as error:
            if isinstance(error, NotSupported):
                raise
            raise broken("its header is none of ours") from error
        return header


def _is_sound(header: Header) -> bool:
    numbers: list[object] = [header.created_ns, header.objects, header.object_bytes, header.removed]
    numbers += header.databases.values()
    texts: list[object] = [header.volume, header.key_domain, header.base_name or ""]
    return (
        all(type(number) is int and 0 <= number < _MAX_NUMBER for number in numbers)
        and all(isinstance(text, str) and len(text) < _RECORD for text in texts)
        and check_snapshot(header.name) == header.name
        and parse_uuid(header.uuid) == header.uuid
        and parse_uuid(header.volume_uuid) == header.volume_uuid
        and (header.base is None or parse_uuid(header.base) == header.base)
        and (header.base is not None or header.removed == 0)
        and _KEY_DOMAIN.fullmatch(header.key_domain) is not None
        and len(header.databases) <= _MAX_DATABASES
        and all(DATABASE.fullmatch(name) for name in header.databases)
    )


def broken(reason: str) -> InvalidStream:
    """Return the error for a stream that cannot be received."""
    return InvalidStream(reason, operation="receive stream", hint="send it again")


class OutStream:
    """A stream to read from, closed early or at its end. Not for several threads at once."""

    def __init__(self, blocks: Iterator[bytes]) -> None:
        self._blocks = blocks
        self._buffer = bytearray()

    def read(self, size: int = -1, /) -> bytes:
        """Return up to *size* bytes, all that is left for -1; ``b""`` only at the end."""
        while size < 0 or len(self._buffer) < size:
            block = next(self._blocks, None)
            if block is None:
                break
            self._buffer += block
        end = len(self._buffer) if size < 0 else size
        taken = bytes(self._buffer[:end])
        del self._buffer[:end]
        return taken

    def close(self) -> None:
        """Let go of what is open; again is silent."""
        self._blocks = iter(())
        self._buffer.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def format_member(name: str, size_bytes: int, content: Iterator[bytes]) -> Iterator[bytes]:
    """Yield a member of the archive; *content* yields exactly *size_bytes*."""
    info = tarfile.TarInfo(name)
    info.size, info.mode = size_bytes, 0o444
    yield info.tobuf(tarfile.GNU_FORMAT)
    yield from content
    yield bytes(-size_bytes % _RECORD)


def format_stream(header: Header, members: Iterator[bytes]) -> Iterator[bytes]:
    """Yield a whole stream: the header, *members*, and the digest of all that."""
    digest = hashlib.sha256()
    content = header.to_json()
    for part in (format_member(HEADER, len(content), iter([content])), members):
        for block in part:
            digest.update(block)
            yield block
    end = json.dumps({"sha256": digest.hexdigest()}).encode()
    yield from format_member(END, len(end), iter([end]))
    yield bytes(2 * _RECORD)


class InStream:
    """Reads a stream member by member, in the one order there is.

    Args:
        stream: read in pieces of up to 1 MiB; what it raises passes unchanged.
    """

    def __init__(self, stream: SupportsRead) -> None:
        self._stream = stream
        self._digest = hashlib.sha256()
        self.total_bytes = 0
        self._left = 0  # of the member's content
        self._padding = 0

    def header(self) -> Header:
        """Return the first member. Raises InvalidStream, NotSupported."""
        name, size = self.next_member()
        if name != HEADER or size > _MAX_HEADER_BYTES:
            raise broken("it does not begin with a header")
        return Header.from_json(b"".join(self.content()))

    def next_member(self) -> tuple[str, int]:
        """Return name and size of the next member, when the last one was read to its end."""
        before = self._digest.copy()
        block = self._exactly(_RECORD)
        try:
            info = tarfile.TarInfo.frombuf(block, "ascii", "strict")
        except (tarfile.HeaderError, UnicodeError) as error:
            raise broken("it is damaged, or no stream of ours") from error
        if info.type != tarfile.REGTYPE or info.size < 0:
            raise broken("it holds something that is no file")
        if info.name == END:
            self._digest = before
        self._left, self._padding = info.size, -info.size % _RECORD
        return info.name, info.size

    def content(self) -> Iterator[bytes]:
        """Yield the content of the member, to its end."""
        while self._left:
            block = self._some(min(self._left, BLOCK_BYTES))
            self._left -= len(block)
            yield block
        if any(self._exactly(self._padding)):
            raise broken("there is something between its members")

    def finish(self) -> None:
        """Read the last member and compare the digest; nothing may follow.

        Raises:
            InvalidStream: the digest is another, or there is more.
        """
        name, size = self.next_member()
        if name != END or size > _RECORD:
            raise broken(f"it holds more than its header says: {name[:100]!r}")
        expected = self._digest.hexdigest()
        try:
            value: Any = json.loads(b"".join(self.content()))
            found = value["sha256"]
        except (ValueError, KeyError, TypeError) as error:
            raise broken("its end is damaged") from error
        if found != expected:
            raise broken("its bytes are not those that were sent: another digest")
        if any(self._exactly(2 * _RECORD)) or self._stream.read(1):
            raise broken("something follows its end")

    def _exactly(self, size: int) -> bytes:
        parts = []
        while size:
            parts.append(self._some(size))
            size -= len(parts[-1])
        return b"".join(parts)

    def _some(self, size: int) -> bytes:
        block = self._stream.read(size)
        if not block:
            raise broken(f"it ends after {self.total_bytes} bytes, too early")
        if len(block) > size:
            raise broken("it gives more than was asked for")
        self.total_bytes += len(block)
        self._digest.update(block)
        return block
