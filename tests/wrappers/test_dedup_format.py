"""Format D1: boundaries, recipes, packs, module_data."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from modules.errors import IntegrityError, InvalidModuleData, TruncatedStream
from modules.wrappers.dedup import recipe
from modules.wrappers.dedup.chunker import cut
from modules.wrappers.dedup.domain import Domain
from modules.wrappers.dedup.format import (
    DATA,
    FOOT,
    RAW,
    RUN,
    ZSTD,
    Blob,
    ModuleData,
    decode,
    encode,
    format_trailer,
    parse_module_data,
    parse_trailer,
    trailer_bytes,
)
from tests.wrappers.deduplicated import noise
from tests.wrappers.encrypted import Short

VECTORS = json.loads((Path(__file__).parent / "vectors" / "d1-chunks.json").read_text())
DOMAIN = replace(Domain.make("tenant"), seed=VECTORS["seed"])


def content(kind: str, size: int) -> bytes:
    """Return the content that a vector names; made from SHAKE-128, so that others can make it."""
    made = hashlib.shake_128(kind.encode()).digest(min(size, 5000 if kind == "period" else size))
    if kind == "zeros":
        return bytes(size)
    return (made * (size // max(1, len(made)) + 1))[:size]


def lengths(data: bytes, domain: Domain = DOMAIN) -> list[int]:
    return [len(chunk) for chunk in cut(io.BytesIO(data), domain, expected_bytes=None)]


@pytest.mark.parametrize("vector", VECTORS["vectors"], ids=lambda v: f"{v['kind']}-{v['size']}")
def test_boundaries_are_those_of_the_golden_vectors(vector: dict[str, Any]) -> None:
    domain = replace(
        DOMAIN,
        min_bytes=vector["average"] // 4,
        average_bytes=vector["average"],
        max_bytes=vector["average"] * 4,
    )
    assert vector["lengths"] == lengths(content(vector["kind"], vector["size"]), domain)


def test_boundaries_do_not_depend_on_how_the_stream_is_read() -> None:
    data = noise(1, 5_000_000)
    expected = lengths(data)
    stream = Short(data)
    assert expected == [len(c) for c in cut(stream, DOMAIN, expected_bytes=len(data))]


def test_an_insert_at_the_start_changes_few_chunks() -> None:
    data = noise(2, 4_000_000)

    def ids(content: bytes) -> set[bytes]:
        chunks = cut(io.BytesIO(content), DOMAIN, expected_bytes=None)
        return {hashlib.sha256(chunk).digest() for chunk in chunks}

    assert len(ids(b"!" + data) - ids(data)) <= 3


@pytest.mark.parametrize("size", [0, 1, 16383, 16384, 16385, 262143, 262144, 262145])
@pytest.mark.parametrize("kind", ["zeros", "period", "random"])
def test_chunks_add_up_and_keep_their_limits(kind: str, size: int) -> None:
    data = content(kind, size)
    chunks = [bytes(chunk) for chunk in cut(io.BytesIO(data), DOMAIN, expected_bytes=size)]
    assert data == b"".join(chunks)
    assert all(16384 <= len(chunk) <= 262144 for chunk in chunks[:-1])
    assert all(len(chunk) <= 262144 for chunk in chunks)


@pytest.mark.parametrize("claimed", [99, 101, 0, 3_000_000])
def test_a_promised_length_is_kept(claimed: int) -> None:
    with pytest.raises(TruncatedStream):
        list(cut(io.BytesIO(bytes(100)), DOMAIN, expected_bytes=claimed))


@settings(max_examples=50)
@given(
    st.binary(max_size=3000) | st.builds(lambda b, n: b * n, st.binary(max_size=2), st.just(500))
)
def test_encoding_round_trips(plain: bytes) -> None:
    codec, byte, payload = encode(memoryview(plain), zstandard.ZstdCompressor(level=1))
    blob = Blob(DATA, bytes(32), byte, len(payload), len(plain), codec)
    assert plain == decode(payload, blob, zstandard.ZstdDecompressor(), "x")


def test_codecs_are_chosen_by_content() -> None:
    compressor = zstandard.ZstdCompressor(level=1)
    assert (RUN, 7, b"") == encode(memoryview(b"\7" * 1000), compressor)
    assert RAW == encode(memoryview(noise(1, 1000)), compressor)[0]
    assert ZSTD == encode(memoryview(b"text " * 1000), compressor)[0]
    assert RAW == encode(memoryview(b"text " * 1000), None)[0]


def trailer() -> bytes:
    blobs = [Blob(DATA, noise(n, 32), n * 100, 100, 200, ZSTD) for n in range(50)]
    return format_trailer(DOMAIN, b"u" * 16, blobs)


def read_trailer(data: bytes) -> Any:
    size = 5000 + len(data)
    length = trailer_bytes(data[-FOOT.size :], size, subject="pack")
    frame = data[-FOOT.size - length : -FOOT.size]
    return parse_trailer(frame, end=size - FOOT.size - length, subject="pack")


def test_trailer_round_trips() -> None:
    found = read_trailer(trailer())
    assert (DOMAIN, b"u" * 16, 50) == (found.domain, found.uid, len(found.blobs))
    assert Blob(DATA, noise(49, 32), 4900, 100, 200, ZSTD) == found.blobs[49]


def test_every_flipped_bit_of_a_trailer_is_noticed() -> None:
    data = trailer()
    rng = random.Random(3)
    for at in [*range(len(data) - 60, len(data)), *rng.sample(range(len(data)), 300)]:
        changed = bytearray(data)
        changed[at] ^= 1 << rng.randrange(8)
        with contextlib.suppress(IntegrityError):  # or it was a bit that means nothing
            assert read_trailer(data) == read_trailer(bytes(changed))


@given(st.binary(max_size=200))
def test_no_bytes_make_a_trailer_or_a_node_fail_otherwise(data: bytes) -> None:
    for parse in (
        lambda: parse_trailer(data, end=0, subject="x"),
        lambda: recipe.parse_node(data, subject="x"),
        lambda: Domain.from_bytes(data, subject="x"),
    ):
        with contextlib.suppress(IntegrityError):
            parse()


def test_module_data_round_trips_and_a_forged_one_is_told() -> None:
    made = ModuleData.make(DOMAIN, b"u" * 16, b"r" * 32, 123)
    assert made == parse_module_data(str(made))
    assert DOMAIN.check_mac(made.mac, made.uid, made.root, made.length)
    assert not DOMAIN.check_mac(made.mac, made.uid, made.root, 124)
    assert not DOMAIN.check_mac(made.mac, b"v" * 16, made.root, 123)
    assert not DOMAIN.check_mac(made.mac, made.uid, b"s" * 32, 123)
    other = replace(DOMAIN, plain_key=bytes(32))
    assert not other.check_mac(made.mac, made.uid, made.root, made.length)
    for text in ("", "d1:", f"{made}\n", str(made).upper(), str(made).replace(":123:", ":0123:")):
        with pytest.raises(InvalidModuleData):
            parse_module_data(text)


class Tree:
    """A recipe whose nodes are kept in memory."""

    def __init__(self) -> None:
        self.nodes: dict[bytes, recipe.Node] = {}
        self.builder = recipe.RecipeBuilder(self.add)

    def add(self, content: bytes) -> bytes:
        id_ = hashlib.sha256(content).digest()
        self.nodes[id_] = recipe.parse_node(content, subject="x")
        return id_

    def find(self, root: bytes, position: int) -> bytes:
        id_ = root
        while (node := self.nodes.get(id_)) is not None:
            number = node.find(position)
            position -= node.starts[number]
            id_ = node.ids[number]
        return id_


def entry(number: int) -> tuple[bytes, int]:
    return hashlib.sha256(b"%d" % number).digest(), 1_000_000 + number


def test_a_tebibyte_is_a_tree_of_few_levels() -> None:
    tree = Tree()
    starts, count = [], 100_000
    for number in range(count):
        starts.append(tree.builder.length)
        id_, length = entry(number)
        tree.builder.add(id_, length * 12)
    root = tree.builder.finish()
    assert tree.builder.length > 1 << 40
    assert tree.nodes[root].length == tree.builder.length
    assert 1 == tree.nodes[root].level
    sizes = [len(node.ids) for node in tree.nodes.values() if node.level == 0]
    assert all(recipe.MIN_ENTRIES <= size <= recipe.MAX_ENTRIES for size in sizes[:-1])
    for number in random.Random(1).sample(range(count), 200):
        for position in (starts[number], starts[number] + 1_000_000):
            assert entry(number)[0] == tree.find(root, position)


def test_a_change_in_the_middle_changes_few_nodes() -> None:
    trees = [Tree(), Tree()]
    for which, tree in enumerate(trees):
        for number in range(50_000):
            if not (which and number == 25_000):
                tree.builder.add(*entry(number))
        tree.builder.finish()
    new = trees[1].nodes.keys() - trees[0].nodes.keys()
    assert len(new) <= 3
    assert len(trees[1].nodes) > 20


@settings(max_examples=10)
@given(st.integers(1, 6000))
def test_any_number_of_entries_makes_a_tree(count: int) -> None:
    tree = Tree()
    for number in range(count):
        tree.builder.add(*entry(number))
    root = tree.builder.finish()
    for number in range(0, count, 97):
        position = sum(1_000_000 + n for n in range(number))
        assert entry(number)[0] == tree.find(root, position)
    assert (count == 1) == (root not in tree.nodes)
