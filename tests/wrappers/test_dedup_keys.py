"""Id keys wrapped by tenant keys: rotated with them, and destroyed with them."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from modules.errors import ConfigurationError, IntegrityError, KeyDestroyed, KeyNotFound, WrongKey
from modules.wrappers.dedup.domain import Domain, Wrap
from modules.wrappers.dedup.idkeys import IdKeys
from modules.wrappers.keys import open_key_ring
from tests.conformance.memory import directory_in_memory
from tests.wrappers.deduplicated import Vault, noise
from tests.wrappers.encrypted import keys_at

DATA = noise(1, 300_000)


@pytest.fixture
def directory() -> Iterator[Path]:
    with directory_in_memory() as path:
        yield Path(path)


@pytest.fixture
def vault(directory: Path) -> Vault:
    return Vault(directory, keys=keys_at(directory))


def id_key(vault: Vault) -> bytes:
    with vault.module._opened({}) as opened:
        assert opened.domain is not None
        return opened.domain.id_key


def record(vault: Vault) -> Domain:
    with vault.module._kept({}) as kept:
        assert kept.domain is not None
        return kept.domain


def test_the_id_key_is_stored_nowhere_but_wrapped(vault: Vault) -> None:
    stored = vault.put(DATA)
    key = id_key(vault)
    assert record(vault).is_locked
    vault.module._indexes.close()
    files = [path for path in vault.directory.rglob("*") if path.is_file()]
    assert len(files) >= 4  # pack, index, key table, key file
    assert not any(key in path.read_bytes() for path in files)
    vault.reopen()
    vault.check({stored: DATA})
    assert key == id_key(vault)
    vault.put(DATA)
    assert vault.statistics()["stored_bytes"] < 1.1 * len(DATA)
    for other in ({}, {"keys": keys_at(vault.directory / "other")}):
        (vault.directory / "other").mkdir(exist_ok=True)
        stranger = Vault(vault.directory, **other)
        with pytest.raises((ConfigurationError, KeyNotFound)):
            stranger.get(stored)


def test_a_shredded_tenant_has_no_id_key_and_can_be_cleared(vault: Vault) -> None:
    """Around a module that does not encrypt: it is the id key alone that is gone."""
    stored = [vault.put(DATA), vault.put(noise(2, 300_000))]
    other = {"key_domain": "other"}
    vault.context = other
    theirs = vault.put(DATA)
    vault.context = {}
    with vault.module.get_read_stream({}, stored[0]) as stream:
        assert DATA == stream.read()
    assert vault.module.keys is not None
    assert 1 == vault.module.keys.shred("default")
    for call in (lambda: vault.get(stored[0]), lambda: vault.put(b"x"), lambda: id_key(vault)):
        with pytest.raises(KeyDestroyed):
            call()
    assert not vault.module.available({}, stored[0])
    vault.reopen()
    with pytest.raises(KeyDestroyed):
        vault.get(stored[0])
    vault.delete(stored[0])
    forged = stored[1].replace(":300000:", ":300001:")
    vault.delete(forged)
    assert 1 == vault.statistics()["objects"]
    assert vault.collect().unreadable == 1
    vault.delete(stored[1])
    assert vault.collect().packs >= 1
    assert 0 == vault.statistics()["stored_bytes"]
    vault.context = other
    assert DATA == vault.get(theirs)


def test_a_rotated_tenant_key_wraps_the_id_key_anew(vault: Vault) -> None:
    stored = {vault.put(DATA): DATA}
    before, key = record(vault).wrap, id_key(vault)
    second = Vault(vault.directory, **vault.args)  # as another process has it open
    assert DATA == second.get(next(iter(stored)))
    ring = vault.module.keys
    assert ring is not None
    assert 2 == ring.rotate("default").version
    stored[vault.put(noise(2, 300_000))] = noise(2, 300_000)
    after = record(vault).wrap
    assert before is not None
    assert after is not None
    assert before.key_id != after.key_id
    assert key == id_key(vault)
    ring.destroy_version("default", 1)
    assert second.module.keys is not None
    second.module.keys.forget()
    stored[second.put(noise(3, 300_000))] = noise(3, 300_000)
    vault.check(stored)

    vault.module._indexes.close()
    second.module._indexes.close()
    shutil.rmtree(vault.directory / "state")
    vault.reopen()
    packs = [path.name for path in vault.objects.iterdir()]
    random.Random(1).shuffle(packs)
    report = vault.module.rebuild_index({}, stored, packs)
    assert (3, []) == (report.objects, report.lost)
    vault.check(stored)
    assert key == id_key(vault)


def test_a_volume_without_wrapped_keys_stays_as_it_is(directory: Path) -> None:
    vault = Vault(directory)
    stored = vault.put(DATA)
    vault.args["keys"] = keys_at(directory)
    vault.reopen()
    assert DATA == vault.get(stored)
    assert not record(vault).is_locked


def test_a_wrapped_key_opens_only_in_its_own_record(directory: Path) -> None:
    keys = IdKeys(keys_at(directory))
    domain = keys.wrapped(Domain.make("acme"))
    locked = Domain.from_bytes(domain.to_bytes(), subject="x")
    assert locked.is_locked
    assert domain == keys.unlocked(locked)
    assert locked.wrap is not None
    wrap = locked.wrap
    for changed in (
        replace(locked, seed=locked.seed ^ 1),
        replace(locked, id=bytes(16)),
        replace(locked, wrap=Wrap(wrap.key_id, bytes(24), wrap.wrapped)),
        replace(locked, wrap=Wrap(wrap.key_id, wrap.salt, bytes(48))),
    ):
        with pytest.raises(WrongKey):
            keys.unlocked(changed)
    with pytest.raises(KeyDestroyed):
        locked.mac(bytes(16), bytes(32), 0)
    for size in range(len(domain.to_bytes())):
        with pytest.raises(IntegrityError):
            Domain.from_bytes(domain.to_bytes()[:size], subject="x")
    ring = open_key_ring(keys_at(directory))
    assert ["acme"] == [found.key_domain for found in ring.list_keys()]
