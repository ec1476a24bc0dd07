"""CompressedStorage: format C1, what it refuses, and what it leaves alone."""

from __future__ import annotations

import io
import os
import random
import shutil
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from modules.errors import ConfigurationError, IntegrityError, InvalidModuleData, TruncatedStream
from modules.streams import SupportsRead
from modules.wrappers.compression import CompressedStorage
from modules.wrappers.compression import format as c1
from modules.wrappers.compression.reader import DecompressedStream, read_table
from modules.wrappers.compression.writer import CompressingStream, PromisedStream
from modules.wrappers.inner_reader import InnerReader
from simple.simple import SimpleStorage

KIB = 1024
MIB = 1024 * KIB
SUBJECT = "an object"


class Small(SimpleStorage):
    """SimpleStorage in a folder whose files can be looked at and spoilt."""

    def __init__(self, folder: Path) -> None:
        super().__init__(storage_dir=str(folder))
        self.folder = folder

    def path(self, module_data: str) -> Path:
        return self.folder / c1.parse_module_data(module_data).inner


@pytest.fixture
def inner(tmp_path: Path) -> Small:
    return Small(tmp_path / "objects")


@pytest.fixture
def store(inner: Small) -> CompressedStorage:
    made = CompressedStorage(inner="leaf")
    made.bind(lambda _: inner)
    return made


def text(size: int) -> bytes:
    """Return *size* bytes that compress about as well as a log."""
    source = random.Random(size)
    lines = [f"{n} GET /photos/{source.randrange(99)}.jpg 200\n".encode() for n in range(2000)]
    page = b"".join(lines)
    return (page * (size // len(page) + 1))[:size]


def get(store: CompressedStorage, module_data: str) -> bytes:
    with store.get_read_stream({}, module_data) as stream:
        return stream.read()


@pytest.mark.parametrize(
    "size", [1, 2, c1.FRAME_BYTES - 1, c1.FRAME_BYTES, c1.FRAME_BYTES + 1, 3 * MIB + 7]
)
def test_what_is_put_comes_back(store: CompressedStorage, size: int) -> None:
    for content in (bytes(size), text(size), os.urandom(size)):
        module_data = store.put({}, io.BytesIO(content))
        assert get(store, module_data) == content
        assert c1.parse_module_data(module_data).length == size


def test_it_takes_less_room_and_zstd_can_read_it(store: CompressedStorage, inner: Small) -> None:
    content = text(3 * MIB + 5)
    module_data = store.put({"content_length": len(content)}, io.BytesIO(content))
    assert module_data.startswith("c1:3145733:")
    path = inner.path(module_data)
    assert path.stat().st_size < len(content) / 4
    if (zstd := shutil.which("zstd")) is None:
        pytest.skip("the program zstd is not installed")
    read = subprocess.run(
        [zstd, "-d", "-c", "--stdout", str(path)], stdin=subprocess.DEVNULL, capture_output=True
    )
    assert (read.returncode, read.stdout) == (0, content)


@pytest.mark.parametrize("content", [b"", os.urandom(64 * KIB), os.urandom(5 * MIB)])
def test_what_gains_nothing_is_stored_as_it_is(
    store: CompressedStorage, inner: Small, content: bytes
) -> None:
    module_data = store.put({}, io.BytesIO(content))
    assert module_data.startswith("c0:")
    assert inner.path(module_data).read_bytes() == content
    with store.get_read_stream({}, module_data) as stream:
        assert stream.fileno() > 0  # type: ignore[attr-defined]  # so it can go out by sendfile


def test_content_that_looks_like_frames_is_content(store: CompressedStorage) -> None:
    frames = zstandard.ZstdCompressor().compress(text(MIB)) * 30
    for content in (frames, c1.format_table([(1, 1, 1)]), frames + c1.format_table([])):
        assert get(store, store.put({}, io.BytesIO(content))) == content


@settings(max_examples=60)
@given(
    size=st.integers(0, 700 * KIB),
    reads=st.lists(st.tuples(st.integers(0, 800 * KIB), st.integers(0, 300 * KIB)), max_size=6),
)
def test_seeks_anywhere(size: int, reads: list[tuple[int, int]]) -> None:
    content = text(size)
    source = CompressingStream(PromisedStream(io.BytesIO(content), size), 1)
    stored = b"".join(iter(lambda: source.read(10_000), b""))
    if not source.is_compressed:
        assert stored == content
        return
    with _opened(stored) as stream:
        for offset, wanted in reads:
            assert stream.seek(offset) == offset
            assert stream.read(wanted) == content[offset : offset + wanted]
        assert stream.seek(-min(5, size), 2) == size - min(5, size)
        assert stream.read() == content[-5:]


def test_a_range_reads_its_frames_only(store: CompressedStorage, inner: Small) -> None:
    content = text(8 * MIB)
    module_data = store.put({}, io.BytesIO(content))
    path = inner.path(module_data)
    path.chmod(0o600)
    spoilt = bytearray(path.read_bytes())
    spoilt[100:200] = os.urandom(100)  # in the first frame
    path.write_bytes(spoilt)
    with store.get_read_stream({}, module_data) as stream:
        stream.seek(6 * MIB)
        assert stream.read(10 * KIB) == content[6 * MIB : 6 * MIB + 10 * KIB]
        stream.seek(0)
        with pytest.raises(IntegrityError):
            stream.read(1)


def test_frames_double_so_that_the_table_stays_small() -> None:
    counts = [0, 65535, 65536, 131071, 131072, 4 * 65536, 5 * 65536, 10**9]
    sizes = [c1.frame_size(count) // KIB for count in counts]
    assert sizes == [256, 256, 512, 512, 1024, 4096, 8192, 8192]


# --- what must be refused


def _opened(stored: bytes) -> DecompressedStream:
    inner = InnerReader(io.BytesIO(stored), operation="decompress object", subject=SUBJECT)
    return DecompressedStream(inner, read_table(inner, subject=SUBJECT), SUBJECT)


def _stored(content: bytes) -> bytes:
    source = CompressingStream(PromisedStream(io.BytesIO(content), None), 1)
    assert source.is_compressed
    return b"".join(iter(lambda: source.read(100_000), b""))


def _table_of(*entries: tuple[int, int, int]) -> Callable[[bytes], bytes]:
    def spoil(stored: bytes) -> bytes:
        size = c1.table_bytes(stored[-c1.FOOT_BYTES :], subject=SUBJECT)
        return stored[:-size] + c1.format_table(entries)

    return spoil


def _entry(change: tuple[int, int, int]) -> Callable[[bytes], bytes]:
    """Add *change* to the three numbers of the first entry."""

    def spoil(stored: bytes) -> bytes:
        size = c1.table_bytes(stored[-c1.FOOT_BYTES :], subject=SUBJECT)
        table = c1.parse_table(stored[-size:], size=len(stored), subject=SUBJECT)
        first = tuple(a + b for a, b in zip(table.entries[0], change, strict=True))
        return stored[:-size] + c1.format_table([first, *table.entries[1:]])  # type: ignore[list-item]

    return spoil


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda s: b"", id="nothing"),
        pytest.param(lambda s: s[:-1], id="cut by a byte"),
        pytest.param(lambda s: s[: len(s) // 2], id="cut in half"),
        pytest.param(lambda s: s[1:], id="without its first byte"),
        pytest.param(lambda s: s + b"x", id="a byte more"),
        pytest.param(_table_of(), id="an empty table"),
        pytest.param(_entry((0, 1, 0)), id="a frame claims more content"),
        pytest.param(_entry((0, -1, 0)), id="a frame claims less content"),
        pytest.param(_entry((0, 0, 1)), id="another checksum"),
        pytest.param(_entry((0, 9 * MIB, 0)), id="a frame beyond 8 MiB"),
        pytest.param(_entry((1, 0, 0)), id="a frame claims more bytes"),
        pytest.param(
            lambda s: s[:-4] + struct.pack("<I", 0x12345678), id="no magic number at the end"
        ),
        pytest.param(
            lambda s: s[:-9] + struct.pack("<IBI", 2**32 - 1, 0x80, 0x8F92EAB1), id="a huge table"
        ),
    ],
)
def test_what_was_spoilt_is_refused(spoil: Callable[[bytes], bytes]) -> None:
    content = text(600 * KIB)
    stored = _stored(content)
    with _opened(stored) as stream:
        assert stream.read() == content
    with pytest.raises(IntegrityError) as caught, _opened(spoil(stored)) as stream:
        stream.read()
    assert "snapshot" in str(caught.value.hint)


def test_every_flipped_bit_is_noticed() -> None:
    content = text(300 * KIB)
    stored = _stored(content)
    places = random.Random(1)
    for _ in range(300):
        spoilt = bytearray(stored)
        spoilt[places.randrange(len(stored))] ^= 1 << places.randrange(8)
        try:
            with _opened(bytes(spoilt)) as stream:
                read = stream.read()
        except IntegrityError:
            continue
        assert read == content  # a bit that means nothing


def test_a_bomb_does_not_go_off() -> None:
    frame = zstandard.ZstdCompressor(write_checksum=True).compress(bytes(100 * MIB))
    claimed = c1.format_table([(len(frame), 1000, int.from_bytes(frame[-4:], "little"))])
    with pytest.raises(IntegrityError), _opened(frame + claimed) as stream:
        stream.read()


def test_an_object_of_another_length_is_refused(store: CompressedStorage) -> None:
    for content in (text(10 * KIB), os.urandom(10 * KIB)):
        module_data = store.put({}, io.BytesIO(content))
        wrong = module_data.replace(f":{10 * KIB}:", f":{10 * KIB + 1}:")
        with pytest.raises(IntegrityError, match="10241 were put"):
            store.get_read_stream({}, wrong)


@pytest.mark.parametrize("module_data", ["", "c2:1:a", "c1:01:a", "c1:-1:a", "c1:1:", "c1:x:a"])
def test_module_data_of_others_is_refused(store: CompressedStorage, module_data: str) -> None:
    assert not store.available({}, module_data)
    with pytest.raises(InvalidModuleData):
        store.get_read_stream({}, module_data)
    with pytest.raises(InvalidModuleData):
        store.delete({}, module_data)


class Failing:
    """A source that raises after some bytes."""

    def __init__(self, content: bytes) -> None:
        self._content = io.BytesIO(content)

    def read(self, size: int = -1, /) -> bytes:
        block = self._content.read(min(size, 1000) if size > 0 else 1000)
        if not block:
            raise RuntimeError("the client is gone")
        return block


@pytest.mark.parametrize("size", [0, 100, c1.FRAME_BYTES, 2 * MIB])
def test_a_source_that_fails_leaves_nothing(
    store: CompressedStorage, inner: Small, size: int
) -> None:
    with pytest.raises(RuntimeError):
        store.put({}, Failing(text(size)))
    for promised in (size + 1, max(0, size - 1)):
        if promised != size:
            source: SupportsRead = io.BytesIO(text(size))
            with pytest.raises(TruncatedStream):
                store.put({"content_length": promised}, source)
    assert list(inner.folder.iterdir()) == []


@pytest.mark.parametrize("level", [0, 20, "1", 1.0, True, None])
def test_levels_are_1_to_19(level: object) -> None:
    with pytest.raises(ConfigurationError) as caught:
        CompressedStorage(inner="leaf", level=level)  # type: ignore[arg-type]
    assert caught.value.field == "level"


def test_statistics_tell_of_it(store: CompressedStorage) -> None:
    assert store.statistics({})["compression"] == {"format": "C1", "algorithm": "zstd", "level": 1}
