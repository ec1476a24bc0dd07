"""Packs and indexes that are damaged are told, counts are put right, lost indexes made again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from modules.errors import IntegrityError, StorageError
from tests.conformance.memory import directory_in_memory
from tests.wrappers.deduplicated import Vault, noise, overwrite, packs, sql


@pytest.fixture
def directory() -> Iterator[Path]:
    with directory_in_memory() as path:
        yield Path(path)


@pytest.fixture
def vault(directory: Path) -> Vault:
    return Vault(directory)


def test_a_pack_that_is_missing_cut_altered_or_swapped_is_told(vault: Vault) -> None:
    stored = [vault.put(noise(n, 200_000)) for n in range(2)]
    first, second = packs(vault)
    good = [path.read_bytes() for path in (first, second)]

    def refused(*, by_level: int, by_get: bool = True) -> None:
        vault.reopen()
        wrong = 0
        for module_data in stored:
            try:
                vault.get(module_data)
            except IntegrityError:
                wrong += 1
        assert by_get == bool(wrong)
        assert not vault.module.fsck({}, level=by_level).is_clean

    altered = bytearray(good[0])
    altered[1000] ^= 1
    for data, level in ((good[0][:100_000], 0), (bytes(altered), 2), (good[1], 1)):
        overwrite(first, data)
        refused(by_level=level)
    overwrite(first, good[0][:-1])  # the trailer is not read by a get
    refused(by_level=0, by_get=False)
    overwrite(first, good[0])
    foot = bytearray(good[0])
    foot[-3] ^= 1
    overwrite(first, bytes(foot))
    refused(by_level=1, by_get=False)
    first.unlink()
    refused(by_level=0)
    first.write_bytes(good[0])
    vault.check({stored[n]: noise(n, 200_000) for n in range(2)})


@pytest.mark.parametrize(
    "change",
    [
        'UPDATE chunk SET "offset" = "offset" + 1 WHERE codec = 0',
        "UPDATE chunk SET plain_bytes = plain_bytes + 1",
        "UPDATE chunk SET stored_bytes = 90000000 WHERE codec = 0",
        "UPDATE chunk SET kind = 3 - kind",
        "UPDATE chunk SET pack = 99",
        "DELETE FROM chunk WHERE kind = 1",
        "UPDATE chunk SET codec = 9",
        'UPDATE chunk SET "offset" = (SELECT max("offset") FROM chunk)',
    ],
)
def test_a_wrong_row_is_told(vault: Vault, change: str) -> None:
    stored = vault.put(noise(1, 300_000))
    with sql(vault) as connection:
        connection.execute(change)
    vault.reopen()
    with pytest.raises(IntegrityError):
        vault.get(stored)
    assert not vault.module.fsck({}, level=1).is_clean


def test_a_wrong_root_cannot_be_read(vault: Vault) -> None:
    """Nor can a recipe that leads back to itself: ids name what they are ids of."""
    stored, other = vault.put(noise(1, 300_000)), vault.put(noise(2, 300_000))
    with sql(vault) as connection:
        row = connection.execute("SELECT root FROM object ORDER BY uid LIMIT 1").fetchone()
        connection.execute("UPDATE object SET root = ?", row)
    vault.reopen()
    failed = 0
    for module_data in (stored, other):
        try:
            vault.get(module_data)
        except StorageError:
            failed += 1
    assert 1 == failed


def test_counts_of_references_are_put_right(vault: Vault) -> None:
    stored = vault.put(noise(1, 300_000))
    with sql(vault) as connection:
        connection.execute("UPDATE chunk SET refs = refs + 1 WHERE kind = 1")
        connection.execute("UPDATE chunk SET refs = 0, zero_epoch = 0 WHERE kind = 2")
    assert vault.module.fsck({}, level=2).is_clean
    report = vault.module.fsck({}, level=3, repair=True)
    assert report.repaired == report.problem_count > 1
    vault.collect()
    vault.check({stored: noise(1, 300_000)})


def test_a_damaged_index_is_told(vault: Vault) -> None:
    stored = vault.put(b"before")
    vault.module._indexes.close()
    overwrite(vault.database, b"no database " * 1000)
    vault.reopen()
    with pytest.raises(IntegrityError, match="rebuild"):
        vault.get(stored)
    assert not vault.module.available({}, stored)


def rows(vault: Vault) -> dict[str, list[Any]]:
    with sql(vault) as connection:
        chunks = connection.execute(
            'SELECT c.id, kind, p.uid, p.module_data, "offset", stored_bytes, plain_bytes, codec,'
            " refs FROM chunk c JOIN pack p ON p.no = c.pack ORDER BY c.id"
        ).fetchall()
        objects = connection.execute("SELECT uid, root, length FROM object ORDER BY uid").fetchall()
        packs = connection.execute(
            "SELECT uid, module_data, bytes, live_bytes, live_blobs FROM pack ORDER BY uid"
        ).fetchall()
        total = connection.execute("SELECT objects, object_bytes FROM total").fetchall()
    return {"chunks": chunks, "objects": objects, "packs": packs, "total": total}


def test_a_lost_index_is_made_again_from_the_packs(vault: Vault) -> None:
    data = {vault.put(noise(n, 400_000)): noise(n, 400_000) for n in range(4)}
    shared = noise(2, 400_000) + noise(3, 400_000)
    data[vault.put(shared)] = shared
    gone = next(iter(data))
    vault.delete(gone)
    del data[gone]
    vault.collect()
    expected = rows(vault)
    vault.module._indexes.close()
    for path in vault.database.parent.iterdir():
        path.unlink()
    vault.reopen()
    names = [path.name for path in packs(vault)]
    assert not vault.module.available({}, next(iter(data)))  # which makes an empty index
    report = vault.module.rebuild_index({}, data, [*names, "no such pack"])
    assert (len(names), 4) == (report.packs, report.objects)
    assert len(report.skipped) == 1
    assert not report.lost
    assert expected == rows(vault)
    vault.check(data)
    more = vault.put(noise(1, 400_000))
    vault.check({**data, more: noise(1, 400_000)})
    with pytest.raises(StorageError, match="it has objects"):
        vault.module.rebuild_index({}, data, names)


def test_a_rebuilt_index_says_which_objects_are_lost(vault: Vault) -> None:
    data = {vault.put(noise(n, 400_000)): noise(n, 400_000) for n in range(3)}
    vault.module._indexes.close()
    for path in vault.database.parent.iterdir():
        path.unlink()
    _, *others = packs(vault)
    vault.reopen()
    report = vault.module.rebuild_index({}, data, [path.name for path in others])
    assert 1 == len(report.lost)
    vault.check({name: content for name, content in data.items() if name not in report.lost})
