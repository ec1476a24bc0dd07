"""Cases 5 and 6: sources that fail, inner modules that lie, seeks, nonces; and bounded memory."""

from __future__ import annotations

import io
import os
import threading
import tracemalloc
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modules.conformance.payload import Source, pattern
from modules.context import Context
from modules.errors import IntegrityError, InvalidArgument, SubstrateError, TruncatedStream
from modules.streams import SupportsRead
from modules.wrappers.encryption import EncryptedStorage
from modules.wrappers.encryption import format as e1
from modules.wrappers.encryption.reader import DecryptedStream
from modules.wrappers.encryption.writer import EncryptingStream
from modules.wrappers.inner_reader import InnerReader
from simple.simple import SimpleStorage
from tests.wrappers.encrypted import (
    BOUNDARIES,
    SEGMENT,
    Ends,
    Failing,
    Generous,
    Lying,
    Short,
    Vault,
    keys_at,
    slices,
)


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    return Vault(tmp_path)


def around(inner: SimpleStorage, tmp_path: Path) -> EncryptedStorage:
    module = EncryptedStorage(inner="inner", keys=keys_at(tmp_path))
    module.bind(lambda name: inner)
    return module


@pytest.mark.parametrize("size", BOUNDARIES)
def test_objects_around_each_boundary_come_back(vault: Vault, size: int) -> None:
    plain = pattern("boundary", size)
    for context in ({}, {"content_length": size}):
        made = vault.put(plain, context)
        assert vault.file(made).stat().st_size == e1.sealed_size(size)
        assert e1.open_length(e1.sealed_size(size), subject="x") == size
        assert plain == vault.get(made)
    with vault.module.get_read_stream({}, made) as stream:
        assert size == stream.seek(0, 2)
        assert b"" == stream.read(1)
        assert size + 7 == stream.seek(7, 1)
        assert b"" == stream.read()
        stream.seek(max(0, size - 3))
        assert plain[-3:] == stream.read(10)
        with pytest.raises(ValueError, match="negative"):
            stream.seek(-1)
        with pytest.raises(ValueError, match="negative"):
            stream.seek(-size - 1, 2)
        with pytest.raises(ValueError, match="whence"):
            stream.seek(0, 3)


def sealed_object(plain: bytes) -> tuple[bytes, e1.Body]:
    """Return an encrypted object without a store, and what opens it."""
    key, salt = os.urandom(32), os.urandom(24)
    body = e1.body_of(key, salt, e1.context_of("d", "u", 1), 1)
    header = e1.Header(1, bytes(16), salt, bytes(48), body.commitment)
    source = EncryptingStream(io.BytesIO(plain), header.to_bytes(), body)
    return b"".join(iter(lambda: source.read(1 << 20), b"")), body


def opened(inner: Any, body: e1.Body, length: int) -> DecryptedStream:
    reader = InnerReader(inner, operation="read", subject="x")
    return DecryptedStream(reader, body, length, "x")


PLAIN = pattern("seeks", 3 * SEGMENT + 1000)
SEALED, BODY = sealed_object(PLAIN)
OFFSETS = st.one_of(
    st.integers(0, len(PLAIN) + SEGMENT),
    st.builds(lambda n, d: max(0, n * SEGMENT + d), st.integers(0, 4), st.integers(-2, 2)),
)
STEPS = st.lists(
    st.tuples(st.sampled_from(("set", "by", "end", "read")), OFFSETS), min_size=1, max_size=25
)


@given(STEPS, st.sampled_from((io.BytesIO, Short)))
@settings(max_examples=150, deadline=None)
def test_seeks_and_reads_are_those_of_a_file(
    steps: list[tuple[str, int]], inner: Callable[[bytes], Any]
) -> None:
    expected = io.BytesIO(PLAIN)
    stream = opened(inner(SEALED), BODY, len(PLAIN))
    for what, number in steps:
        if what == "read":
            assert expected.read(number) == stream.read(number)
        else:
            whence = ("set", "by", "end").index(what)
            offset = number if what == "set" else -min(number, expected.tell(), len(PLAIN))
            assert expected.seek(offset, whence) == stream.seek(offset, whence)
        assert expected.tell() == stream.tell()


@given(st.binary(max_size=300), st.lists(st.integers(1, 200), min_size=1, max_size=20))
@settings(max_examples=100, deadline=None)
def test_ciphertext_is_handed_out_in_any_portions(plain: bytes, sizes: list[int]) -> None:
    body = e1.body_of(bytes(32), bytes(24), b"", 1)
    source = EncryptingStream(io.BytesIO(plain), b"h" * 132, body)
    parts, number = [], 0
    while block := source.read(sizes[number % len(sizes)]):
        assert len(block) <= sizes[number % len(sizes)]
        parts.append(block)
        number += 1
    assert source.is_complete
    assert e1.sealed_size(len(plain)) == len(b"".join(parts))
    sealed = io.BytesIO(b"".join(parts))
    assert plain == opened(sealed, body, len(plain)).read()


@pytest.mark.parametrize("size", [0, 5, SEGMENT - 1, SEGMENT, SEGMENT + 1, 3 * SEGMENT])
def test_a_source_that_fails_or_ends_early_leaves_nothing(vault: Vault, size: int) -> None:
    with pytest.raises((ConnectionResetError, SubstrateError), match="client is gone"):
        vault.module.put({}, Failing(size))
    for promised in (size + 1, max(0, size - 1)):
        if promised != size:
            with pytest.raises(TruncatedStream):
                vault.put(bytes(size), {"content_length": promised})
    assert [] == list(vault.objects.iterdir())


def test_an_inner_module_that_swallows_errors_stores_nothing_that_opens(tmp_path: Path) -> None:
    class Swallowing(SimpleStorage):
        def put(self, context: Context, stream: SupportsRead) -> str:
            stored = bytearray()
            for _ in range(4):
                try:
                    stored += stream.read(1 << 20)
                except ConnectionResetError:
                    continue
            return super().put({}, io.BytesIO(bytes(stored)))

    module = around(Swallowing(storage_dir=str(tmp_path / "o")), tmp_path)
    with pytest.raises(SubstrateError, match="did not read the stream to its end"):
        module.put({}, Failing(100))
    assert [] == list((tmp_path / "o").iterdir())


TWISTS: dict[str, Callable[[bytes], Any]] = {
    "one byte less": lambda data: io.BytesIO(data[:-1]),
    "one byte more": lambda data: io.BytesIO(data + b"x"),
    "size without the bytes": lambda data: Ends(data, at=len(data) - 40),
    "more than asked for": lambda data: Generous(data),
}


@pytest.mark.parametrize("twist", TWISTS)
def test_an_inner_module_that_lies_is_found_out(tmp_path: Path, twist: str) -> None:
    inner = Lying(storage_dir=str(tmp_path / "o"))
    made = around(inner, tmp_path).put({}, io.BytesIO(pattern("lies", SEGMENT + 100)))
    inner.twist = TWISTS[twist]
    with pytest.raises(IntegrityError):
        around(inner, tmp_path).get_read_stream({}, made).read()


def test_short_reads_of_the_inner_module_do_no_harm(tmp_path: Path) -> None:
    inner = Lying(storage_dir=str(tmp_path / "o"))
    inner.twist = Short
    module, plain = around(inner, tmp_path), pattern("short", 2 * SEGMENT + 100)
    made = module.put({}, io.BytesIO(plain))
    with module.get_read_stream({}, made) as stream:
        assert plain == stream.read()


def test_4_kib_anywhere_are_one_inner_read_of_two_segments_at_most(vault: Vault) -> None:
    made = vault.put(PLAIN)
    reads: list[int] = []

    class Counting(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            reads.append(size or 0)
            return super().read(size)

    inner = Counting(vault.file(made).read_bytes())
    stream = vault.module.get_read_stream({}, made)
    body = stream._body
    for offset in (0, 1, 4096, SEGMENT - 1, SEGMENT, 2 * SEGMENT + 5, 3 * SEGMENT - 4096):
        fresh = opened(inner, body, len(PLAIN))
        reads.clear()
        fresh.seek(offset)
        assert PLAIN[offset : offset + 4096] == fresh.read(4096)
        assert len(reads) == 1
        assert reads[0] <= 2 * (SEGMENT + 16)
    stream.close()


def test_the_last_possible_segment_is_not_passed() -> None:
    body = e1.body_of(bytes(32), bytes(24), b"", 1)
    source = EncryptingStream(io.BytesIO(bytes(2 * SEGMENT)), b"", body, max_segments=2)
    with pytest.raises(InvalidArgument, match="longer than"):
        list(slices(source, 1 << 20))
    source = EncryptingStream(io.BytesIO(bytes(2 * SEGMENT - 1)), b"", body, max_segments=2)
    while source.read(1 << 20):
        pass
    assert source.is_complete
    with pytest.raises(IntegrityError, match="no encrypted object has"):
        e1.open_length(132 + (1 << 30) * (SEGMENT + 16) + 16, subject="x")
    numbers = {0, 1, 2, SEGMENT, (1 << 30) - 1}
    assert len(numbers) == len({body.nonce(number) for number in numbers})


def test_no_two_objects_share_a_key_whatever_forks_and_threads_do(vault: Vault) -> None:
    vault.put(b"x")  # the key ring is full of what a fork inherits
    made: list[str] = []
    threads = [
        threading.Thread(target=lambda: made.extend(vault.put(b"same") for _ in range(20)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for _ in range(2):  # two children with the very same memory
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            with open(writer, "w") as out:
                out.write(" ".join(vault.put(b"same") for _ in range(20)))
            os._exit(0)
        os.close(writer)
        with open(reader) as answers:
            made += answers.read().split()
        assert os.waitpid(child, 0)[1] == 0
    headers = [vault.file(name).read_bytes()[:132] for name in made]
    assert len(made) == 120
    for start, stop in ((28, 52), (52, 100), (100, 132)):
        assert len({header[start:stop] for header in headers}) == len(made)
    assert {b"same"} == {vault.get(name) for name in made}


def test_put_and_get_hold_no_more_than_4_mib(vault: Vault) -> None:
    size = 64 << 20

    def peak_of(action: Callable[[], object]) -> int:
        tracemalloc.start()
        try:
            action()
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    made: list[str] = []
    put = peak_of(lambda: made.append(vault.module.put({}, Source("large", size))))

    def get() -> None:
        with closing(vault.module.get_read_stream({}, made[0])) as stream:
            while stream.read(1 << 20):
                pass

    assert put <= 4 << 20
    assert peak_of(get) <= 4 << 20


def test_a_closed_stream_is_closed(vault: Vault) -> None:
    stream = vault.module.get_read_stream({}, vault.put(b"x"))
    stream.close()
    stream.close()
    for call in (stream.read, stream.tell, lambda: stream.seek(0), stream.__enter__):
        with pytest.raises(ValueError, match="closed"):
            call()
    assert stream.closed


def test_delete_during_a_get_leaves_the_reader_reading(vault: Vault) -> None:
    plain = pattern("deleted", 3 * SEGMENT)
    made = vault.put(plain)
    with vault.module.get_read_stream({}, made) as stream:
        first = stream.read(10)
        vault.module.delete({}, made)
        vault.module.delete({}, made)
        assert plain == first + stream.read()
