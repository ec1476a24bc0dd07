"""What goes wrong below or around DedupStorage is told, or survived; nothing is lost."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from modules.conformance import ModuleSpec
from modules.conformance.spec import Modules
from modules.context import Context
from modules.errors import Busy, KeyDestroyed, NoSpace, StorageError, SubstrateError
from modules.streams import SupportsRead
from modules.wrappers.dedup.index import LEASE_S, Index
from modules.wrappers.dedup.packs import Packer
from modules.wrappers.encryption import EncryptedStorage
from tests.conformance.memory import directory_in_memory
from tests.wrappers.deduplicated import Vault, dedup, noise, packs, sql
from tests.wrappers.encrypted import Failing, encrypted, keys_at


@pytest.fixture
def directory() -> Iterator[Path]:
    with directory_in_memory() as path:
        yield Path(path)


@pytest.fixture
def vault(directory: Path) -> Vault:
    return Vault(directory)


class Pausing:
    """A source that stops after *size* bytes and runs an action before it goes on."""

    def __init__(self, data: bytes, action: Any) -> None:
        self._stream = io.BytesIO(data)
        self._action = action
        self._half = len(data) // 2

    def read(self, size: int = -1, /) -> bytes:
        if self._action is not None and self._stream.tell() >= self._half:
            action, self._action = self._action, None
            action()
        left = self._half - self._stream.tell()
        return self._stream.read(min(size, left) if self._action is not None else size)


def test_a_source_that_fails_leaves_nothing(vault: Vault) -> None:
    vault.put(b"x")
    before = packs(vault)
    with pytest.raises(ConnectionResetError):
        vault.put(Failing(500_000))
    assert before == packs(vault)
    assert vault.module.fsck({}, level=3).is_clean
    with sql(vault) as connection:
        assert (0,) == connection.execute("SELECT count(*) FROM session").fetchone()


def test_a_put_whose_lease_is_up_fails_and_may_be_repeated(
    vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = noise(1, 2_500_000)
    now = [time.time()]
    monkeypatch.setattr(Index.__init__, "__kwdefaults__", {"clock": lambda: now[0]})
    vault.reopen()

    def stall() -> None:
        now[0] += LEASE_S + 1
        vault.collect()

    with pytest.raises(Busy, match="send it again"):
        vault.put(Pausing(data, stall))
    vault.check({})
    now[0] -= 10 * LEASE_S  # clocks decide about leases alone
    stored = vault.put(data)
    vault.collect()
    vault.check({stored: data})
    vault.collect()
    assert 4 * 1_000_000 > vault.statistics()["stored_bytes"]


def test_a_put_keeps_what_the_collector_was_about_to_take(vault: Vault) -> None:
    data = noise(1, 2_500_000)
    first = vault.put(data)

    def meanwhile() -> None:
        vault.delete(first)
        vault.collect()

    second = vault.put(Pausing(data, meanwhile))
    vault.collect()
    vault.check({second: data})
    before = vault.statistics()["stored_bytes"]
    assert before < 1.1 * len(data)
    vault.delete(second)
    third = vault.put(Pausing(data, vault.collect))  # what is unneeded, but not yet collected
    vault.check({third: data})


def test_two_instances_that_store_the_same_at_once_share_it(directory: Path) -> None:
    """As two processes do: neither knows of the other's open pack."""
    first, second = Vault(directory), Vault(directory)
    data = noise(1, 800_000)
    made: list[str] = []
    mine = first.put(Pausing(data, lambda: made.append(second.put(data))))
    first.check({mine: data, made[0]: data})
    first.collect()
    first.delete(made[0])
    first.collect()
    second.check({mine: data})
    assert second.statistics()["stored_bytes"] < 1.1 * len(data)


class FlakyPut:
    """Replaces an inner put: fails before or after it, or lies."""

    def __init__(self, vault: Vault, *, after: bool) -> None:
        self.vault = vault
        self.after = after
        self.original = vault.inner.put

    def __call__(self, context: Context, stream: SupportsRead) -> str:
        if self.after:
            self.original(context, stream)
        raise NoSpace("no space is left", operation="put object")


@pytest.mark.parametrize("after", [False, True])
def test_an_inner_put_that_fails_loses_nothing(vault: Vault, after: bool) -> None:
    kept = vault.put(noise(1, 100_000))
    original, vault.inner.put = vault.inner.put, FlakyPut(vault, after=after)
    with pytest.raises(NoSpace):
        vault.put(noise(2, 100_000))
    with sql(vault) as connection:  # the trace of what may have been stored
        states = [row[0] for row in connection.execute("SELECT state FROM pack ORDER BY no")]
    assert [1, 0] == states
    vault.inner.put = original
    again = vault.put(noise(2, 100_000))
    vault.collect()
    vault.check({kept: noise(1, 100_000), again: noise(2, 100_000)})
    with sql(vault) as connection:
        assert (0,) == connection.execute("SELECT count(*) FROM pack WHERE state = 0").fetchone()


def test_an_inner_module_that_does_not_read_on_is_told(vault: Vault) -> None:
    original = vault.inner.put
    vault.inner.put = lambda context, stream: original({}, io.BytesIO(stream.read(100)))
    with pytest.raises(SubstrateError, match="to its end"):
        vault.put(noise(1, 100_000))
    vault.inner.put = original
    assert not packs(vault)


def test_puts_that_share_a_pack_share_its_failure(vault: Vault) -> None:
    kept = vault.put(b"x")
    inside, go_on = threading.Event(), threading.Event()
    original = vault.inner.put

    def hang(context: Context, stream: SupportsRead) -> str:
        inside.set()
        assert go_on.wait(30)
        raise NoSpace("no space is left", operation="put object")

    vault.inner.put = hang
    errors: list[BaseException] = []

    def put() -> None:
        try:
            vault.put(noise(1, 100_000))
        except StorageError as error:
            errors.append(error)

    threads = [threading.Thread(target=put) for _ in range(2)]
    threads[0].start()
    assert inside.wait(30)
    threads[1].start()  # joins the pack that is being stored
    go_on.set()
    for thread in threads:
        thread.join(30)
    assert 2 == len(errors)
    assert all(isinstance(error, NoSpace) for error in errors)
    vault.inner.put = original
    vault.check({kept: b"x", vault.put(noise(1, 100_000)): noise(1, 100_000)})


def test_a_recipe_is_recorded_after_the_chunks_that_another_put_is_storing(vault: Vault) -> None:
    kept = vault.put(b"x")
    inside = [threading.Event(), threading.Event()]
    go_on = threading.Event()
    original, calls = vault.inner.put, iter((0, 1))

    def hang(context: Context, stream: SupportsRead) -> str:
        number = next(calls)
        inside[number].set()
        assert number or go_on.wait(30)
        stored: str = original(context, stream)
        return stored

    vault.inner.put = hang
    data = [noise(1, 300_000), noise(1, 300_000) + noise(2, 300_000)]
    made: dict[str, bytes] = {}
    threads = [threading.Thread(target=lambda d=d: made.update({vault.put(d): d})) for d in data]
    for thread, event in zip(threads, inside, strict=True):
        thread.start()
        assert event.wait(30)
    threads[1].join(0.3)  # it is stored, but must wait
    assert threads[1].is_alive()
    go_on.set()
    for thread in threads:
        thread.join(30)
    vault.check({kept: b"x", **made})
    assert 2 == len(made)


def test_a_locked_index_is_busy_and_loses_nothing(
    vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = vault.put(b"before")
    monkeypatch.setattr("modules.state.BUSY_TIMEOUT_S", 0.1)
    vault.reopen()
    with sql(vault) as connection:
        connection.execute("BEGIN IMMEDIATE")
        for call in (lambda: vault.put(b"now"), lambda: vault.delete(stored)):
            with pytest.raises(Busy):
                call()
        assert b"before" == vault.get(stored)
        connection.execute("ROLLBACK")
    vault.check({stored: b"before", vault.put(b"now"): b"now"})


def test_a_shredded_tenant_is_unreadable_and_can_be_cleared(directory: Path) -> None:
    volumes = ModuleSpec("zfsstore.ZFSStorage", {"directory": str(directory / "store")})
    modules = Modules(
        {"disk": volumes, "enc": encrypted("disk", keys_at(directory)), "dedup": dedup("enc")}
    )
    module: Any = modules.get("dedup")
    enc = modules.get("enc")
    assert isinstance(enc, EncryptedStorage)
    stored = [module.put({}, io.BytesIO(noise(n, 300_000))) for n in range(2)]
    enc.keys.shred(module.identity({}).key_domain)
    with pytest.raises(KeyDestroyed):
        module.get_read_stream({}, stored[0])
    module.delete({}, stored[0])
    report = module.collect({})
    assert 1 == report.unreadable
    module.delete({}, stored[1])
    module.collect({})
    assert 0 == module.statistics({})["deduplication"]["needed_bytes"]


def test_a_failed_put_does_not_take_others_chunks_with_it(vault: Vault) -> None:
    data = noise(1, 300_000)

    def fail() -> None:
        with pytest.raises(ConnectionResetError):
            vault.put(FailingAfter(data))

    stored = vault.put(Pausing(data, fail))
    vault.check({stored: data})


class FailingAfter:
    """Gives *data* and then raises."""

    def __init__(self, data: bytes) -> None:
        self._stream = io.BytesIO(data)

    def read(self, size: int = -1, /) -> bytes:
        if block := self._stream.read(size):
            return block
        raise ConnectionResetError("the client is gone")


def test_memory_does_not_hold_what_failed(vault: Vault) -> None:
    vault.put(b"x")
    with pytest.raises(ConnectionResetError):
        vault.put(FailingAfter(noise(1, 600_000)))
    (entry,) = vault.module._indexes._entries.values()
    assert entry.opened is not None
    packer = entry.opened.packer
    assert isinstance(packer, Packer)
    assert not packer._unrecorded
