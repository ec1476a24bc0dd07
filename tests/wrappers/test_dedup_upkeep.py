"""What hosts and operators do with an index: upkeep in pieces, giving up older keys, renewal."""

from __future__ import annotations

import io
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from modules import fences
from modules.conformance import ModuleSpec
from modules.conformance.spec import Modules
from modules.errors import Busy, KeyDestroyed
from modules.extensions import SupportsRewrap, SupportsUpkeep, SupportsVolumes
from modules.volumes import OperatorBackend
from tests.wrappers.deduplicated import Vault, dedup, noise
from tests.wrappers.encrypted import encrypted, keys_at

BUCKET = {"tenant": "acme/photos"}
COMPRESSED = "modules.wrappers.compression.CompressedStorage"


@pytest.fixture
def modules(tmp_path: Path) -> Modules:
    """Return a directory store with a bucket, and wrappers around it."""
    made = Modules(
        {
            "leaf": ModuleSpec("zfsstore.ZFSStorage", {"directory": str(tmp_path / "store")}),
            "enc": encrypted("leaf", keys_at(tmp_path)),
            "dedup": dedup("enc"),
            "thin": ModuleSpec(COMPRESSED, {"inner": "dedup"}),
            "small": ModuleSpec(COMPRESSED, {"inner": "enc"}),
            "twice": encrypted("enc", keys_at(tmp_path)),
        }
    )
    leaf: Any = made.get("leaf")
    for name in ("acme", "acme/photos"):
        leaf.volumes.create_volume(name)
    return made


def put(module: Any, data: bytes) -> str:
    stored = module.put(BUCKET, io.BytesIO(data))
    assert isinstance(stored, str)
    return stored


def get(module: Any, module_data: str) -> bytes:
    with module.get_read_stream(BUCKET, module_data) as stream:
        data: bytes = stream.read()
        return data


def test_upkeep_goes_on_where_it_was_cut_off(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = [vault.put(noise(n, 30_000)) for n in range(20)]
    gone = [vault.put(noise(100 + n, 40_000)) for n in range(20)]
    for module_data in gone:
        vault.delete(module_data)
    now = time.time()
    monkeypatch.setattr("time.time", lambda: now + 7200)  # the grace of dead packs is over

    assert vault.module.upkeep({}, should_stop=lambda: True)
    rounds = 0
    is_left = True
    while is_left:
        asked = iter([False, False])
        is_left = vault.module.upkeep({}, should_stop=lambda a=asked: next(a, True))  # type: ignore[misc]
        rounds += 1
        assert rounds < 50
    assert rounds > 1
    assert 1 == vault.statistics()["packs"]
    vault.check({module_data: noise(n, 30_000) for n, module_data in enumerate(kept)})
    before = vault.database.stat().st_mtime_ns, list(vault.objects.iterdir())
    assert not vault.module.upkeep({}, should_stop=lambda: False)
    assert before[1] == list(vault.objects.iterdir())


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    return Vault(tmp_path)


def test_upkeep_makes_no_index_and_passes_through_wrappers(modules: Modules) -> None:
    for name in ("dedup", "thin"):
        module: Any = modules.get(name)
        assert isinstance(module, SupportsUpkeep)
        assert not module.upkeep(BUCKET, should_stop=lambda: False)
    inner: Any = modules.get("dedup")
    assert not inner.has_index(BUCKET)
    for name in ("leaf", "enc", "small"):
        assert not isinstance(modules.get(name), SupportsUpkeep)


def test_upkeep_gives_way_to_who_wants_to_be_alone(modules: Modules) -> None:
    module: Any = modules.get("dedup")
    for number in range(8):
        put(module, noise(number, 20_000))
    asked = []

    def should_stop() -> bool:
        asked.append(1)
        with pytest.raises(Busy), fences.exclusive([module.fence(BUCKET)], patience_s=0):
            pass
        return False

    assert not module.upkeep(BUCKET, should_stop=should_stop)
    assert asked
    with fences.exclusive([module.fence(BUCKET)], patience_s=5), pytest.raises(Busy):
        module.upkeep(BUCKET, should_stop=lambda: False)


@pytest.mark.parametrize("name", ["enc", "small", "twice", "dedup"])
def test_after_rewrapping_nothing_needs_the_older_key(modules: Modules, name: str) -> None:
    module: Any = modules.get(name)
    enc: Any = modules.get("enc")
    assert isinstance(module, SupportsRewrap)
    data = noise(1, 300_000)
    stored = [put(module, data), put(module, data[:1000])]
    assert stored == [module.rewrap(BUCKET, one) for one in stored]
    domain = enc.identity(BUCKET).key_domain
    enc.keys.rotate(domain)
    modules.get("twice").keys.forget()  # type: ignore[attr-defined]

    kept = list(module.rewrap_kept(BUCKET))
    assert ([True, True] if name == "dedup" else []) == kept
    renewed = [module.rewrap(BUCKET, one) for one in stored]
    assert (stored == renewed) == (name == "dedup")
    assert renewed == [module.rewrap(BUCKET, one) for one in renewed]
    assert not any(module.rewrap_kept(BUCKET))

    enc.keys.destroy_version(domain, 1)
    modules.get("twice").keys.forget()  # type: ignore[attr-defined]
    assert [data, data[:1000]] == [get(module, one) for one in renewed]
    if name != "dedup":
        with pytest.raises(KeyDestroyed):
            get(module, stored[0])
    for one in renewed:
        module.delete(BUCKET, one)
        assert not module.available(BUCKET, one)


def test_only_who_has_keys_rewraps(tmp_path: Path) -> None:
    leaf = ModuleSpec("zfsstore.ZFSStorage", {"directory": str(tmp_path / "store")})
    modules = Modules(
        {
            "leaf": leaf,
            "dedup": dedup("leaf"),
            "small": ModuleSpec(COMPRESSED, {"inner": "leaf"}),
        }
    )
    assert not any(isinstance(modules.get(n), SupportsRewrap) for n in ("leaf", "dedup", "small"))


def test_an_index_is_not_renewed_while_somebody_is_in_the_volume(modules: Modules) -> None:
    module: Any = modules.get("dedup")
    stored = put(module, b"data")
    packs = module.known_packs(BUCKET)
    with fences.hold(module.fence(BUCKET)), pytest.raises(Busy):
        module.renew_index(BUCKET, [stored], packs, patience_s=0.05)
    report = module.renew_index(BUCKET, [stored], packs, patience_s=5)
    assert (1, 1, []) == (report.objects, report.packs, report.lost)
    assert b"data" == get(module, stored)


def test_a_snapshot_names_packs_that_a_lost_index_does_not(modules: Modules) -> None:
    module: Any = modules.get("dedup")
    assert isinstance(module, SupportsVolumes)
    assert isinstance(module.volumes, OperatorBackend)
    stored = put(module, noise(1, 300_000))
    packs = module.known_packs(BUCKET)
    (volume,) = (v for v in module.volumes.list_volumes() if v["name"] == "acme/photos")
    module.volumes.create_snapshot(volume["uuid"], "monday")
    assert packs == module.known_packs(BUCKET | {"snapshot": "monday"})
    time_limit = time.monotonic() + 30
    with fences.exclusive([module.fence(BUCKET)], patience_s=30):
        for path in module.state_dir(BUCKET).glob("dedup.db*"):
            path.unlink()
    assert time.monotonic() < time_limit
    assert [] == module.known_packs(BUCKET)
    module.renew_index(BUCKET, [stored], packs)
    assert module.fsck(BUCKET, level=3).is_clean
    assert noise(1, 300_000) == get(module, stored)
    assert not module.collect(BUCKET, grace=timedelta(0)).chunks
