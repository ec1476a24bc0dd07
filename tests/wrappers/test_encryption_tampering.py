"""Cases 1 to 4: whatever is done to an encrypted object or its keys, no wrong byte comes out."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from modules.errors import (
    IntegrityError,
    KeyDestroyed,
    KeyNotFound,
    NotSupported,
    StorageError,
    WrongKey,
)
from modules.wrappers.encryption import format as e1
from tests.wrappers.encrypted import SEGMENT, Vault, slices

HEADER, SEALED = 132, SEGMENT + 16
REFUSED = (IntegrityError, KeyNotFound, NotSupported)


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    return Vault(tmp_path)


def assert_refused(vault: Vault, module_data: str, ciphertext: bytes, plain: bytes) -> None:
    """Assert that a whole read fails, and that what a slow reader got before is the truth."""
    vault.replace(module_data, ciphertext)
    with pytest.raises(REFUSED):
        vault.get(module_data)
    got = bytearray()
    with pytest.raises(REFUSED):
        read_slowly(vault, module_data, got)
    assert plain.startswith(got)
    with pytest.raises(REFUSED):
        read_from_the_end(vault, module_data)


def read_slowly(vault: Vault, module_data: str, got: bytearray) -> None:
    with vault.module.get_read_stream({}, module_data) as stream:
        for block in slices(stream, 10_000):
            got += block


def read_from_the_end(vault: Vault, module_data: str) -> None:
    with vault.module.get_read_stream({}, module_data) as stream:
        stream.seek(0, 2)
        stream.seek(0)
        stream.read()


FIELDS = {
    "magic": (0, 8),
    "suite": (8, 9),
    "segment size": (9, 10),
    "header length": (10, 12),
    "key id": (12, 28),
    "salt": (28, 52),
    "wrapped": (52, 84),
    "wrapped tag": (84, 100),
    "commitment": (100, 132),
    "first segment": (132, 180),
    "first tag": (HEADER + SEGMENT, HEADER + SEALED),
    "last segment": (HEADER + SEALED, HEADER + SEALED + 9),
    "last tag": (HEADER + SEALED + 9, HEADER + SEALED + 25),
}


@pytest.mark.parametrize("field", FIELDS)
def test_a_flipped_bit_is_refused(vault: Vault, field: str) -> None:
    plain = bytes(range(256)) * 256 + b"the last."
    made = vault.put(plain)
    good = vault.file(made).read_bytes()
    start, stop = FIELDS[field]
    assert len(good) == HEADER + SEALED + 25
    for at in {start, (start + stop) // 2, stop - 1}:
        bad = bytearray(good)
        bad[at] ^= 1 << at % 8
        assert_refused(vault, made, bytes(bad), plain)
    vault.replace(made, good)
    assert plain == vault.get(made)


def segments_of(data: bytes) -> list[bytes]:
    return [data[at : at + SEALED] for at in range(HEADER, len(data), SEALED)]


def tampered(good: bytes) -> Iterator[tuple[str, bytes]]:
    header, parts = good[:HEADER], segments_of(good)
    yield "swapped", header + b"".join([parts[1], parts[0], *parts[2:]])
    yield "dropped", header + b"".join([parts[0], *parts[2:]])
    yield "repeated", header + b"".join([parts[0], parts[0], *parts[1:]])
    yield "replaced by another", header + b"".join([parts[0], parts[0], *parts[2:]])
    yield "last one first", header + parts[-1] + b"".join(parts[:-1])
    yield "byte appended", good + b"\0"
    yield "tag appended", good + bytes(16)
    yield "segment appended", good + parts[0]
    yield "empty", b""
    yield "header only", header
    yield "header and a tag", header + bytes(16)
    for count in range(len(parts)):
        yield f"cut after {count} segments", header + b"".join(parts[:count])
        yield f"cut inside segment {count}", header + b"".join(parts[:count]) + parts[count][:-1]
        if len(parts[count]) > 16:
            cut = parts[count][:16]
            yield f"cut to a tag of {count}", header + b"".join(parts[:count]) + cut


@pytest.mark.parametrize("size", [3 * SEGMENT, 3 * SEGMENT + 5])
def test_moved_missing_and_added_segments_are_refused(vault: Vault, size: int) -> None:
    plain = bytes(n % 251 for n in range(size))
    made = vault.put(plain)
    good = vault.file(made).read_bytes()
    for what, bad in tampered(good):
        try:
            assert_refused(vault, made, bad, plain)
        except pytest.fail.Exception as failure:
            raise AssertionError(what) from failure


def test_length_in_the_module_data_is_no_more_than_a_hint(vault: Vault) -> None:
    made = vault.put(b"x" * 100)
    with pytest.raises(IntegrityError, match="holds 100 bytes, but 99 were put"):
        vault.get(made.replace(":100:", ":99:"))
    assert vault.module.available({}, made)


def test_body_of_another_object_is_refused(vault: Vault) -> None:
    one, other = vault.put(b"1" * 70_000), vault.put(b"2" * 70_000)
    first, second = vault.file(one).read_bytes(), vault.file(other).read_bytes()
    for spliced in (second, first[:HEADER] + second[HEADER:], second[:HEADER] + first[HEADER:]):
        assert_refused(vault, one, spliced, b"1" * 70_000)
    vault.replace(one, first)
    swapped = one.rpartition(":")[0] + ":" + other.rpartition(":")[2]
    with pytest.raises(WrongKey):
        vault.get(swapped)


def test_one_tenant_s_object_under_another_is_refused(vault: Vault) -> None:
    acme, other = {"key_domain": "acme"}, {"key_domain": "other"}
    made = vault.put(b"secret", acme)
    vault.put(b"x", other)
    assert b"secret" == vault.get(made, acme)
    with pytest.raises(WrongKey, match="another tenant"):
        vault.get(made, other)
    vault.reopen()
    with pytest.raises(WrongKey, match="another tenant"):
        vault.get(made, other)


def test_another_cipher_suite_in_the_header_is_refused(vault: Vault) -> None:
    made = vault.put(b"x")
    good = vault.file(made).read_bytes()
    for suite, expected in ((2, WrongKey), (0, NotSupported), (3, NotSupported)):
        vault.replace(made, good[:8] + bytes([suite]) + good[9:])
        with pytest.raises(expected):
            vault.get(made)


def test_an_object_does_not_open_under_a_second_key(tmp_path: Path) -> None:
    """The commitment stops a body and a header made for two keys, before any segment is opened."""
    vault = Vault(tmp_path)
    made = vault.put(b"x" * 10)
    data, parsed = vault.file(made).read_bytes(), e1.parse_module_data(made)
    tenant_key = vault.module.keys.active("default")
    ctx = e1.context_of("default", parsed.uid, e1.AES_256_GCM)
    aad = e1.wrap_aad(e1.AES_256_GCM, tenant_key.id, data[28:52])
    other = e1.wrap_key(tenant_key.key, b"k" * 32, aad, ctx)  # well made, of another key
    body = e1.body_of(b"k" * 32, data[28:52], ctx, e1.AES_256_GCM)
    forged = data[:52] + other + data[100:HEADER]
    forged += body.aead.encrypt(body.nonce(0), b"y" * 10, None)
    vault.replace(made, forged)
    with pytest.raises(WrongKey):
        vault.module.get_read_stream({}, made)


def test_unknown_destroyed_and_wrong_keys_are_three_errors(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    vault = Vault(tmp_path / "a")
    made = vault.put(b"x")

    others = Vault(tmp_path)  # a key table that has never heard of it
    shutil.copytree(vault.objects, others.objects, dirs_exist_ok=True)
    with pytest.raises(KeyNotFound, match="the key table has no such key") as unknown:
        others.get(made)

    root = tmp_path / "a" / "root.key"
    right = root.read_text()
    root.write_text("1:" + "ab" * 32 + "\n")
    vault.reopen()
    with pytest.raises(KeyNotFound, match="no root key local:") as absent:
        vault.get(made)
    root.write_text(right)

    table = vault.module.keys.table
    (row,) = table.list_keys()
    table.rewrap(row, row.root, bytes(72))
    vault.reopen()
    with pytest.raises(WrongKey, match="the key table was altered") as wrong:
        vault.get(made)
    table.rewrap(row, row.root, row.wrapped)

    assert vault.module.keys.shred("default") == 1
    with pytest.raises(KeyDestroyed, match="unreadable for good") as destroyed:
        vault.get(made)
    assert not vault.module.available({}, made)
    with pytest.raises(KeyDestroyed):
        vault.put(b"y")
    vault.module.delete({}, made)  # what is unreadable can still be removed
    for caught in (unknown, absent, wrong, destroyed):
        assert isinstance(caught.value, StorageError)
        assert right.split(":")[1].strip() not in str(caught.value)
