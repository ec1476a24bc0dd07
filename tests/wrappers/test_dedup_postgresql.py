"""The index in PostgreSQL: everything once, two processes at once, and a server that goes away."""

from __future__ import annotations

import os
import random
import signal
import threading
from collections.abc import Iterator
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from modules.conformance import ModuleSpec
from modules.conformance.spec import Modules
from modules.errors import ConfigurationError, IntegrityError, Unavailable
from modules.wrappers.dedup import sweeping
from modules.wrappers.dedup.postgresql_database import PostgreSQLDatabase, check_url, schema_name
from tests.conformance.memory import directory_in_memory
from tests.host.postgresql import create_database, find_binaries, running_server
from tests.wrappers.deduplicated import DEDUP, SIMPLE, Vault, noise
from tests.wrappers.test_dedup_crashes import Log, content, forked, wait_for_lines, work

pytestmark = pytest.mark.postgres
_numbers = count()


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    binaries = find_binaries()
    if binaries is None:
        pytest.fail("there is no initdb; install PostgreSQL's server")
    with running_server(binaries) as url:
        yield url


@pytest.fixture
def url(server: str) -> str:
    return create_database(server, f"dedup{next(_numbers)}")


@pytest.fixture
def directory() -> Iterator[Path]:
    with directory_in_memory() as path:
        yield Path(path)


def sql(url: str, statement: str, key_domain: str = "default") -> list[Any]:
    database = PostgreSQLDatabase(check_url(url), key_domain, "leaf")
    try:
        return database.write("test", lambda c: _rows(c.execute(statement)))
    finally:
        database.close()


def _rows(cursor: Any) -> list[Any]:
    return cursor.fetchall() if cursor.description else []


def test_put_get_delete_collect_compact_check_and_rebuild(url: str, directory: Path) -> None:
    vault = Vault(directory, index=url)
    data = {vault.put(noise(n, 100_000)): noise(n, 100_000) for n in range(4)}
    both = noise(1, 100_000) + noise(2, 100_000)
    data[vault.put(both)] = both
    first, *_ = data
    vault.delete(first)
    vault.delete(first)
    del data[first]
    assert vault.collect().packs == 1
    vault.check(data)
    report = vault.module.compact({})
    assert report.emptied >= 3
    vault.collect()
    vault.reopen()
    vault.check(data)
    found = vault.statistics()
    assert (len(data), 3 * 100_000 + 200_000) == (found["objects"], found["logical_bytes"])
    assert vault.statistics() == Vault(directory, index=url).statistics()

    sql(url, "UPDATE chunk SET refs = refs + 1")
    assert vault.module.fsck({}, level=3, repair=True).repaired
    vault.check(data)
    for table in ("chunk", "object", "pack"):
        sql(url, f"DELETE FROM {table}")
    packs = [path.name for path in vault.objects.iterdir()]
    report_ = vault.module.rebuild_index({}, data, packs)
    assert (len(data), []) == (report_.objects, report_.lost)
    vault.check(data)


def test_a_sweep_sets_lost_objects_aside(url: str, directory: Path) -> None:
    vault = Vault(directory, index=url)
    live, lost = vault.put(noise(1, 50_000)), vault.put(noise(2, 50_000))

    with vault.module._tools({}) as tools:
        for dry_run in (True, False):
            report = sweeping.sweep_objects(
                tools.index, tools.domain, [live], older_than=timedelta(0), dry_run=dry_run
            )
            assert ((lost,), 2, ()) == (report.unreferenced, report.scanned, report.missing)
        assert len(list(sweeping.pack_names(tools.index))) == 2
    assert vault.module.available({}, live)
    assert not vault.module.available({}, lost)


def test_domains_are_apart(url: str, directory: Path) -> None:
    vault = Vault(directory, index=url)
    mine = vault.put(b"mine")
    vault.context = {"key_domain": "other"}
    theirs = vault.put(b"mine")
    assert mine.split(":")[1] != theirs.split(":")[1]
    assert not vault.module.available(vault.context, mine)
    assert sql(url, "SELECT count(*) FROM object") == [(1,)]
    sql(url, "UPDATE domain SET record = 'damaged'", "other")
    vault.reopen()
    with pytest.raises(IntegrityError):
        vault.get(theirs)
    vault.context = {}
    assert b"mine" == vault.get(mine)


def test_processes_at_once_one_of_them_killed(url: str, directory: Path) -> None:
    """Each forked with the parent's connections open, which it must not use."""
    parent = Vault(directory, index=url)
    kept = parent.put(b"there is an index")
    logs = [directory / f"log {number}" for number in range(3)]
    running = []
    for number, log in enumerate(logs):
        log.touch()

        def run(log: Path = log, seed: int = number) -> None:
            work(Vault(directory, index=url), Log(log), random.Random(seed))

        running.append(forked(run))
    wait_for_lines(logs[0])
    os.kill(running[0], signal.SIGKILL)
    for number, pid in enumerate(running):
        _, status = os.waitpid(pid, 0)
        assert number == 0 or os.WEXITSTATUS(status) == 0
    check(parent, url, logs, kept)


def check(vault: Vault, url: str, logs: list[Path], kept: str) -> None:
    """Fail unless all that was acknowledged is there, and all counts are exact."""
    lines = [line.split() for path in logs for line in path.read_text().splitlines()]
    there = {words[1]: int(words[2]) for words in lines if words[0] == "put"}
    maybe = {words[1] for words in lines if words[0] == "deleting"}
    gone = {words[1] for words in lines if words[0] == "deleted"}
    assert len(there) > 3
    sql(url, "UPDATE session SET lease_until = 0")
    vault.collect()
    for stored in there.keys() - maybe:
        assert content(there[stored]) == vault.get(stored)
    assert b"there is an index" == vault.get(kept)
    assert not any(vault.module.available({}, stored) for stored in gone)
    report = vault.module.fsck({}, level=3)
    assert report.is_clean, report.problems


def test_the_index_of_another_modules_packs_is_refused(url: str, directory: Path) -> None:
    stored = Vault(directory, index=url).put(b"x")
    simple = ModuleSpec(SIMPLE, {"storage_dir": str(directory / "elsewhere")})
    other = ModuleSpec(DEDUP, {"inner": "another", "index": url})
    module = Modules({"another": simple, "dedup": other}).get("dedup")
    with pytest.raises(ConfigurationError, match="packs in the module leaf"):
        module.get_read_stream({}, stored)


def test_threads_that_begin_at_once_make_one_index(url: str, directory: Path) -> None:
    vaults = [Vault(directory, index=url) for _ in range(4)]
    barrier = threading.Barrier(4)
    stored: list[str] = []

    def put(vault: Vault) -> None:
        barrier.wait()
        stored.append(vault.put(noise(1, 100_000)))

    threads = [threading.Thread(target=put, args=(vault,)) for vault in vaults]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    vaults[0].collect()
    vaults[0].check(dict.fromkeys(stored, noise(1, 100_000)))
    assert 4 == len(stored)
    assert 1 == len({name.split(":")[3] for name in stored})


def test_a_server_that_went_away_is_told_and_used_again(url: str, directory: Path) -> None:
    vault = Vault(directory, index=url)
    stored = vault.put(b"before")
    others = "FROM pg_stat_activity WHERE datname = current_database() AND pid != pg_backend_pid()"
    sql(url, f"SELECT pg_terminate_backend(pid) {others}")
    for _ in range(1000):  # until they have ended
        if sql(url, f"SELECT count(*) {others}") == [(0,)]:
            break
        threading.Event().wait(0.01)
    with pytest.raises(Unavailable):
        vault.get(stored)
    assert b"before" == vault.get(stored)
    vault.check({stored: b"before", vault.put(b"after"): b"after"})


def test_an_unreachable_server(directory: Path) -> None:
    place = "postgresql+psycopg://user:hunter2hunter2@127.0.0.1:1/none"
    vault = Vault(directory, index=place)
    with pytest.raises(Unavailable) as caught:
        vault.put(b"x")
    assert "hunter2hunter2" not in str(caught.value)
    assert not vault.module.available({}, f"d1:{'0' * 32}:{'0' * 32}:{'0' * 64}:1:{'0' * 32}")


def test_wrong_arguments_are_refused(directory: Path) -> None:
    simple = ModuleSpec(SIMPLE, {"storage_dir": str(directory)})
    volumes = ModuleSpec("zfsstore.ZFSStorage", {"directory": str(directory / "z")})
    good = "postgresql://127.0.0.1/x"
    for leaf, args in (
        (simple, {"index": "mysql://x:hunter2@host/x"}),
        (simple, {"index": "postgresql://x:hunter2@host/x?no_such=1"}),
        (simple, {"index": good, "state_dir": str(directory)}),
        (volumes, {"index": good}),
    ):
        with pytest.raises(ConfigurationError) as caught:
            Modules({"leaf": leaf, "dedup": ModuleSpec(DEDUP, {"inner": "leaf", **args})})
        assert "hunter2" not in str(caught.value)
    assert schema_name("a") != schema_name("b")
