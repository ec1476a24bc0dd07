"""Streams that are damaged or forged change nothing, wherever they differ from a right one."""

from __future__ import annotations

import io
import json
import os
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from modules.errors import (
    NoSpace,
    NotSupported,
)
from tests.volumes.contents import (
    add,
    backend,
    describe,
    remove,
)
from zfsstore import ZFSStorage
from zfsstore.volumes.directory_stream import InStream, format_member, format_stream
from zfsstore.zfs.errors import InvalidStream

SOURCE = "acme/photos"
COPY = "acme/copy"


@pytest.fixture
def source(store: ZFSStorage) -> str:
    """The uuid of a volume with the snapshots one, two and three."""
    store.volumes.create_volume("acme")
    uuid = store.volumes.create_volume(SOURCE)["uuid"]
    stays, goes = (add(store, SOURCE, content) for content in (b"stays" * 1000, b"goes"))
    backend(store).create_snapshot(uuid, "one")
    remove(store, SOURCE, goes)
    add(store, SOURCE, b"")
    backend(store).create_snapshot(uuid, "two")
    remove(store, SOURCE, stays)
    backend(store).create_snapshot(uuid, "three")
    return uuid


def sent(store: ZFSStorage, snapshot: str, base: str | None = None) -> bytes:
    with backend(store).send_stream(SOURCE, snapshot, base) as stream:
        return stream.read()


def receive(store: ZFSStorage, content: bytes, name: str = COPY, **options: Any) -> int:
    return backend(store).receive_stream(name, io.BytesIO(content), **options)


def test_every_changed_or_missing_byte_is_noticed(store: ZFSStorage, source: str) -> None:
    content = sent(store, "one")
    before = describe(store)
    places = {*range(0, len(content), 397), *range(512, 1200, 23), len(content) - 1}
    for place in sorted(places):
        changed = bytearray(content)
        changed[place] ^= 0x21
        for broken in (bytes(changed), content[:place]):
            with pytest.raises((InvalidStream, NotSupported)):
                receive(store, broken)
    for more in (content + b"x", content + bytes(512), b"x" + content):
        with pytest.raises(InvalidStream):
            receive(store, more)
    assert describe(store) == before


class Forged:
    """Makes streams whose digest is right and whose content is not what it should be."""

    def __init__(self, content: bytes) -> None:
        stream = InStream(io.BytesIO(content))
        self.header = stream.header()
        self.members: list[tuple[str, bytes]] = []
        names = len(self.header.databases) + self.header.objects
        for _ in range(names + (self.header.base is not None)):
            name, _size = stream.next_member()
            self.members.append((name, b"".join(stream.content())))

    def stream(self) -> bytes:
        return b"".join(format_stream(self.header, self._blocks()))

    def _blocks(self) -> Iterator[bytes]:
        for name, content in self.members:
            yield from format_member(name, len(content), iter([content]))


@pytest.mark.parametrize(
    "name",
    [
        "objects/main/../../../../../../tmp/x",
        "/etc/passwd",
        "objects/main/ab/../cd",
        "objects/UPPER/ab/" + "ab" * 16,
        "objects/main/ab/" + "cd" * 16,
        "objects/main/ab/" + "ab" * 15,
        "state/index.db",
        "x",
        "",
    ],
)
def test_object_with_a_name_that_none_has_is_refused(
    store: ZFSStorage, root: Path, source: str, name: str
) -> None:
    forged = Forged(sent(store, "one"))
    forged.members[-1] = (name, forged.members[-1][1])
    with pytest.raises(InvalidStream):
        receive(store, forged.stream())
    assert not (root / COPY).exists()
    assert os.listdir(root / ".zfsstore/work") == []


def test_header_that_lies_is_found_out(store: ZFSStorage, source: str) -> None:
    changes: list[dict[str, Any]] = [
        {"objects": 1},
        {"objects": 3},
        {"object_bytes": 1},
        {"object_bytes": 1 << 20},
        {"databases": {}},
        {"databases": {"index.db": 1}},
        {"databases": {"../index.db": 8192}},
        {"name": "../../x"},
        {"uuid": "x"},
        {"key_domain": "../"},
        {"created_ns": -1},
        {"created_ns": True},
        {"removed": 1},
        {"volume": 1},
    ]
    for change in changes:
        forged = Forged(sent(store, "one"))
        forged.header = replace(forged.header, **change)
        with pytest.raises(InvalidStream):
            receive(store, forged.stream())
    forged = Forged(sent(store, "one"))
    forged.header = replace(forged.header, object_bytes=1 << 60)
    with pytest.raises(NoSpace):
        receive(store, forged.stream())
    assert [v["name"] for v in store.volumes.list_volumes()] == ["acme", SOURCE]


def test_incremental_stream_that_does_not_fit_its_base_is_refused(
    store: ZFSStorage, source: str
) -> None:
    receive(store, sent(store, "one"))
    before = describe(store)
    whole, part = Forged(sent(store, "one")), Forged(sent(store, "two", "one"))
    removed = part.members[1][1]
    (present,) = [m for m in whole.members[1:] if m[0].encode() not in removed]
    ways = {
        "nothing": b"",
        "absent": b"objects/main/00/" + b"00" * 16 + b"\n",
        "outside": b"objects/main/00/../../state\n",
        "twice": removed * 2,
    }
    for way in ways.values():
        forged = Forged(sent(store, "two", "one"))
        forged.members[1] = ("removed", way)
        with pytest.raises(InvalidStream):
            receive(store, forged.stream())
    forged = Forged(sent(store, "two", "one"))
    forged.members = sorted([*forged.members[2:], present])
    forged.members = [*part.members[:2], *forged.members]
    size = sum(len(content) for _name, content in forged.members[2:])
    forged.header = replace(forged.header, objects=2, object_bytes=size)
    with pytest.raises(InvalidStream, match="already"):
        receive(store, forged.stream())
    assert describe(store) == before


def test_database_that_is_none_is_refused(store: ZFSStorage, source: str) -> None:
    forged = Forged(sent(store, "one"))
    name, content = forged.members[0]
    forged.members[0] = (name, b"x" * len(content))
    with pytest.raises(InvalidStream, match="database"):
        receive(store, forged.stream())


def test_what_is_no_plain_file_is_refused(store: ZFSStorage, source: str) -> None:
    for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.CHRTYPE):
        info = tarfile.TarInfo("header.json")
        info.type, info.linkname = kind, "/etc/passwd"
        with pytest.raises(InvalidStream):
            receive(store, info.tobuf(tarfile.GNU_FORMAT))


def test_later_version_is_told_apart(store: ZFSStorage, source: str) -> None:
    header = InStream(io.BytesIO(sent(store, "one"))).header()
    value = json.loads(header.to_json()) | {"version": 2, "new": True}
    content = json.dumps(value).encode()
    stream = b"".join(format_member("header.json", len(content), iter([content])))
    with pytest.raises(NotSupported, match="upgrade"):
        receive(store, stream)
