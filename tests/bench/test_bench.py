"""The benchmark measures what it says: its own parts, and one small run of the whole."""

from __future__ import annotations

import json
import os
from datetime import timedelta
from pathlib import Path

import pytest

from bench.__main__ import main
from bench.data import POOL_BYTES, Pool
from bench.disk import FileSystem, file_system
from bench.measure import count_per_put, paired_ratio
from bench.raw import RawSubject, raw_subjects
from bench.report import format_rows, verdicts
from bench.volume_fill import fill, object_id
from bench.volumes import Timed, bare_of, format_clones, format_steps, store_of
from bench.web import count_calls, measure_latency, start_raw
from zfsstore import ZFSStorage

MOUNTS = """\
21 1 259:1 / / rw shared:1 - ext4 /dev/root rw
30 21 0:40 / /tank rw shared:2 - zfs tank rw
31 30 0:41 / /tank/a\\040b rw shared:2 - zfs tank/a\\040b rw
32 21 0:42 / /dev/shm rw shared:3 - tmpfs tmpfs rw
"""


@pytest.fixture(scope="module")
def pool() -> Pool:
    return Pool()


@pytest.mark.parametrize("size", [0, 1, 4096, POOL_BYTES + 5])
def test_a_source_gives_its_size_and_the_same_bytes_again(pool: Pool, size: int) -> None:
    first, second = pool.source(size, number=7), pool.source(size, number=7)
    blocks = []
    while block := first.read(100_000):
        blocks.append(block)

    assert size == sum(map(len, blocks))
    assert second.read(10) == b"".join(blocks)[:10]


def test_every_raw_recipe_stores_what_it_was_given_and_leaves_nothing(
    tmp_path: Path, pool: Pool
) -> None:
    for subject in raw_subjects(tmp_path):
        assert isinstance(subject, RawSubject)
        handle = subject.put(pool.source(3_000_000, number=1), 3_000_000)
        assert pool.source(3_000_000, number=1).read() == subject.read_back(handle)
        assert 3_000_000 == subject.get(handle)
        subject.delete(handle)
        subject.close()

    assert [] == [path for path in tmp_path.rglob("*") if path.is_file()]


def test_syncs_are_counted(tmp_path: Path, pool: Pool) -> None:
    for subject in raw_subjects(tmp_path):
        counts = count_per_put(subject, pool, size_bytes=10, puts=3, pool_name=None)
        assert 2 == (counts["fsync"] or 0) + (counts["fdatasync"] or 0)
        assert counts["txg"] is None
        subject.close()


def test_a_ratio_compares_round_with_round() -> None:
    assert 0.5 == paired_ratio([10, 50, 100], [20, 100, 200])


@pytest.mark.parametrize(
    ("folder", "expected"),
    [
        ("/srv", FileSystem("ext4", None)),
        ("/tank/x", FileSystem("zfs", "tank")),
        ("/tank/a b/x", FileSystem("zfs", "tank")),
        ("/tankard", FileSystem("ext4", None)),
        ("/dev/shm/x", FileSystem("tmpfs", None)),
    ],
)
def test_the_file_system_of_a_folder(tmp_path: Path, folder: str, expected: FileSystem) -> None:
    mountinfo = tmp_path / "mountinfo"
    mountinfo.write_text(MOUNTS)

    assert expected == file_system(Path(folder), mountinfo=mountinfo)


def test_a_target_is_judged_as_it_is_printed() -> None:
    result = {"subject": "s", "is_raw": False, "put_ratio": 0.796, "get_ratio": 0.4}
    case = {"size_bytes": 4096, "threads": 1, "results": [result]}

    assert [True, False] == [verdict.is_met for verdict in verdicts(case)]


def test_tables_are_markdown() -> None:
    assert "| a  |   b |\n| :- | --: |\n| x  | 1.0 |" == format_rows([["a", "b"], ["x", "1.0"]])


def test_memory_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    shm = Path("/dev/shm")
    if file_system(shm).kind != "tmpfs":
        pytest.skip("this machine has no tmpfs at /dev/shm")

    assert 1 == main(["--dir", str(shm / "bench-refused")])
    assert "no durability to measure" in capsys.readouterr().err
    assert not (shm / "bench-refused").exists()


def test_volumes_are_measured_on_zfs_only(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert 1 == main(["--only", "volumes", "--dir", str(tmp_path)])
    assert "with --dataset" in capsys.readouterr().err


def test_a_filled_bucket_is_one_of_the_store(tmp_path: Path, pool: Pool) -> None:
    store = ZFSStorage(directory=str(tmp_path))
    for name in ("t", "t/b"):
        store.volumes.create_volume(name)
    fill(store, "t/b", 300, pool)

    report = store.sweep(
        {"tenant": "t/b"},
        [f"z1:main:{object_id(number)}" for number in range(300)],
        older_than=timedelta(0),
    )
    assert (300, (), ()) == (report.scanned, report.unreferenced, report.missing)


def test_what_a_clone_takes_is_told_command_by_command() -> None:
    def timed(*rounds: tuple[float, float]) -> Timed:
        return Timed(
            [sum(seconds) for seconds in rounds], [[("zfs clone", clone)] for clone, _ in rounds]
        )

    slow, fast = timed((0.3, 0.1), (0.2, 0.2)), timed((0.2, 0.0), (0.2, 0.0))
    clones = {bare_of(1): fast, bare_of(9): fast, store_of(1): slow, store_of(9): slow}
    table = format_clones((1, 9), clones)
    assert "| `create_clone`   | 400 (400-400) | 400 (400-400) |  1.00 |         1 |" in table
    assert "| ratio to bare    |          0.50 |          0.50 |" in table
    assert "zfs clone 250, beside zfs 150" in format_steps(2, slow, (1, 9), clones)


@pytest.mark.slow
def test_a_small_run_of_the_stores(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report, page = tmp_path / "report.json", tmp_path / "page.md"
    kind = file_system(tmp_path).kind
    page.write_text(f"before\n<!-- bench: {kind} -->\nold numbers\n<!-- end -->\nafter\n")
    arguments = [
        "--quick",
        "--rounds",
        "1",
        "--puts",
        "3",
        "--large",
        "200KiB",
        "--parallel",
        "8KiB",
    ]

    status = main(
        [
            *(*arguments, "--only", "stores", "--allow-memory"),
            *("--dir", str(tmp_path / "disk"), "--json", str(report)),
            *("--record", str(page)),
        ]
    )

    results = json.loads(report.read_text())["stores"]
    assert 0 == status
    assert [(4096, 1), (4096, 32), (200 * 1024, 1), (8192, 32)] == [
        (case["size_bytes"], case["threads"]) for case in results["cases"]
    ]
    assert {"SimpleStorage", "ZFSStorage, directory"} <= {
        result["subject"] for result in results["cases"][0]["results"]
    }
    assert 16 == len(results["targets"])
    assert "ZFSStorage, directory" in capsys.readouterr().out
    assert [] == os.listdir(tmp_path / "disk")
    recorded = page.read_text()
    assert "ZFSStorage, directory" in recorded
    assert "old numbers" not in recorded
    assert recorded.startswith("before\n<!-- bench: ")
    assert recorded.endswith("\n\n<!-- end -->\nafter\n")


def test_the_raw_server_is_measured_through_http(tmp_path: Path, pool: Pool) -> None:
    subject = start_raw(tmp_path)
    try:
        handle = subject.put(pool.source(2_500_000), 2_500_000)
        assert pool.source(2_500_000).read() == subject.read_back(handle)
        subject.delete(handle)
        assert "raw sockets and files" == measure_latency(subject, pool, requests=5)["subject"]
        assert count_calls(subject, pool, 64 << 20)["is_sendfile"]
    finally:
        subject.close()

    assert [] == os.listdir(tmp_path / "raw")
