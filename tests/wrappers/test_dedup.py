"""DedupStorage stores what is equal once, and gives back what was put."""

from __future__ import annotations

import io
import random
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from modules.conformance import ModuleSpec
from modules.conformance.spec import Modules
from modules.errors import ConfigurationError, InvalidModuleData, ObjectNotFound
from modules.wrappers.dedup import DedupStorage
from tests.conformance.memory import directory_in_memory
from tests.wrappers.deduplicated import DEDUP, PACK, SIMPLE, Vault, contents, noise


@pytest.fixture
def directory() -> Iterator[Path]:
    with directory_in_memory() as path:
        yield Path(path)


@pytest.fixture
def vault(directory: Path) -> Vault:
    return Vault(directory)


def test_contents_of_all_kinds_come_back_whole_and_in_ranges(vault: Vault) -> None:
    stored = {vault.put(data): data for data in contents()}
    vault.check(stored)
    rng = random.Random(5)
    for module_data, data in stored.items():
        with vault.module.get_read_stream({}, module_data) as stream:
            for _ in range(20 if data else 0):
                start, size = rng.randrange(len(data)), rng.randrange(200_000)
                stream.seek(start)
                assert data[start : start + size] == stream.read(size)


def test_equal_content_is_stored_once(vault: Vault) -> None:
    data = noise(1, 1_000_000)
    first = vault.put(data)
    before = vault.statistics()
    second = vault.put(data)
    third = vault.put(data[:500_000] + b"inserted" + data[500_000:])
    after = vault.statistics()
    assert first != second
    assert after["stored_bytes"] - before["stored_bytes"] < 400_000
    assert 3 * len(data) + 8 == after["logical_bytes"]
    for gone in (first, third):
        vault.delete(gone)
    vault.collect()
    vault.check({second: data})


def test_runs_take_no_room_and_text_is_compressed(vault: Vault) -> None:
    vault.put(bytes(5_000_000))
    assert vault.statistics()["stored_bytes"] < 5000
    vault.put(b"".join(b"line %d\n" % n for n in range(50_000)))
    assert vault.statistics()["stored_bytes"] < 300_000


def test_without_a_codec_chunks_are_stored_as_they_are(directory: Path) -> None:
    vault = Vault(directory, codec="none")
    data = b"".join(b"line %d\n" % n for n in range(20_000))
    vault.put(data)
    assert vault.statistics()["needed_bytes"] >= len(data)


def test_what_nobody_needs_goes_with_its_packs(vault: Vault) -> None:
    stored = [vault.put(noise(n, 300_000)) for n in range(5)]
    for module_data in stored[:4]:
        vault.delete(module_data)
        vault.delete(module_data)
    report = vault.collect()
    assert report.packs == 4
    vault.check({stored[4]: noise(4, 300_000)})
    vault.delete(stored[4])
    vault.collect()
    assert not list(vault.objects.iterdir())
    assert 0 == vault.statistics()["stored_bytes"]


def test_a_dead_pack_stays_for_its_readers(vault: Vault) -> None:
    data = noise(1, 500_000)
    stored = vault.put(data)
    with vault.module.get_read_stream({}, stored) as stream:
        assert data[:1000] == stream.read(1000)
        vault.delete(stored)
        assert 0 == vault.module.collect({}).packs
        with pytest.raises(ObjectNotFound):
            vault.get(stored)
        assert data[1000:] == stream.read()


def test_compaction_joins_small_packs_and_empties_half_empty_ones(vault: Vault) -> None:
    small = {vault.put(noise(n, 20_000)): noise(n, 20_000) for n in range(12)}
    large = vault.put(noise(100, 900_000) + noise(101, 50_000))
    kept = vault.put(noise(101, 50_000))
    vault.delete(large)
    vault.collect()
    before = vault.statistics()
    report = vault.module.compact({})
    assert report.emptied >= 12
    vault.collect()
    after = vault.statistics()
    assert after["packs"] <= 2 < before["packs"]
    assert after["stored_bytes"] < 400_000
    vault.check({**small, kept: noise(101, 50_000)})
    assert 0 == vault.module.compact({}).made


def test_a_reader_goes_on_when_its_pack_was_compacted_away(vault: Vault) -> None:
    data = [noise(n, 150_000) for n in range(4)]
    for part in data:
        vault.put(part)
    stored = vault.put(b"".join(data))
    with vault.module.get_read_stream({}, stored) as stream:
        start = stream.read(1000)
        vault.module.compact({})
        vault.collect()
        assert b"".join(data) == start + stream.read()


def test_small_puts_of_many_threads_share_packs(vault: Vault) -> None:
    barrier = threading.Barrier(8)
    stored: dict[str, bytes] = {}

    def put(number: int) -> None:
        barrier.wait()
        for turn in range(4):
            data = noise(number * 10 + turn, 3000) + noise(999, 100_000)
            stored[vault.put(data)] = data

    threads = [threading.Thread(target=put, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 32 == len(stored)
    assert vault.statistics()["packs"] <= 32  # as many as did not meet
    vault.check(stored)


def test_a_deleted_object_and_a_forged_one_are_told_apart(vault: Vault) -> None:
    first, second = vault.put(b"first"), vault.put(b"second")
    parts = first.split(":")
    forged = ":".join([*parts[:3], second.split(":")[3], *parts[4:]])
    for call in (vault.get, vault.delete):
        with pytest.raises(InvalidModuleData):
            call(forged)
    assert not vault.module.available({}, forged)
    vault.delete(first)
    with pytest.raises(ObjectNotFound):
        vault.get(first)


def test_nobody_learns_what_another_domain_stores(vault: Vault) -> None:
    data = noise(1, 400_000)
    mine = vault.put(data)
    before = vault.statistics()["stored_bytes"]
    other = {"key_domain": "other tenant"}
    theirs = vault.module.put(other, io.BytesIO(data))
    found = vault.module.statistics(other)["deduplication"]
    assert found["stored_bytes"] >= len(data)
    assert before == vault.statistics()["stored_bytes"]
    assert mine.split(":")[3] != theirs.split(":")[3]
    assert not vault.module.available(other, mine)
    with pytest.raises(ObjectNotFound):
        vault.module.get_read_stream(other, mine)


def test_chunks_are_of_the_size_that_was_configured(directory: Path) -> None:
    vault = Vault(directory, average_bytes=262144)
    stored = vault.put(noise(1, 3_000_000))
    vault.check({stored: noise(1, 3_000_000)})
    vault.args["average_bytes"] = 65536  # an index keeps its own
    vault.reopen()
    before = vault.statistics()["stored_bytes"]
    vault.put(noise(1, 3_000_000))
    assert before == vault.statistics()["stored_bytes"]


@pytest.mark.parametrize(
    ("args", "field"),
    [
        ({"average_bytes": 65535}, "average_bytes"),
        ({"pack_bytes": 1000}, "pack_bytes"),
        ({"codec": "lzma"}, "codec"),
        ({"state_dir": "relative"}, "state_dir"),
    ],
)
def test_wrong_arguments_are_refused(args: dict[str, object], field: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        DedupStorage(inner="leaf", **args)  # type: ignore[arg-type]  # that is the point
    assert field == caught.value.field


def test_the_index_is_where_the_packs_are_snapshotted(directory: Path) -> None:
    simple = ModuleSpec(SIMPLE, {"storage_dir": str(directory)})
    volumes = ModuleSpec("zfsstore.ZFSStorage", {"directory": str(directory / "z")})
    here = {"inner": "leaf", "pack_bytes": PACK, "state_dir": str(directory / "state")}
    for leaf, args in ((simple, {"inner": "leaf"}), (volumes, here)):
        with pytest.raises(ConfigurationError, match="state"):
            Modules({"leaf": leaf, "dedup": ModuleSpec(DEDUP, args)})
