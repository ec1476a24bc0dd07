"""Snapshots, clones, holds, bookmarks: argv, refusals and parsing, without ZFS."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from modules.errors import CommandFailed, InvalidArgument, InvalidName
from modules.volumes import DestroyPlan
from tests.zfs_client.recording import OLD_VERSION, Recorder
from zfsstore.zfs.client import ZfsClient
from zfsstore.zfs.snapshot_commands import (
    Hold,
    parse_destroy_plan,
    topmost_datasets,
)

Call = Callable[[ZfsClient], object]

ARGVS: list[tuple[Call, str]] = [
    (lambda c: c.snapshot(["t/a@1", "t/b@1"]), "zfs snapshot t/a@1 t/b@1"),
    (lambda c: c.snapshot(["t@1"], {"a:b": "c"}, recursive=True), "zfs snapshot -r -o a:b=c t@1"),
    (lambda c: c.clone("t/a@1", "t/b"), "zfs clone t/a@1 t/b"),
    (
        lambda c: c.clone("t/a@1", "t/b/c", {"quota": "5", "a:b": "c"}, parents=True),
        "zfs clone -p -o quota=5 -o a:b=c t/a@1 t/b/c",
    ),
    (lambda c: c.promote("t/b"), "zfs promote t/b"),
    (lambda c: c.rollback("t/a@1"), "zfs rollback t/a@1"),
    (lambda c: c.rollback("t/a@1", destroy_newer=True), "zfs rollback -r t/a@1"),
    (lambda c: c.rollback("t/a@1", destroy_clones=True, force=True), "zfs rollback -R -f t/a@1"),
    (lambda c: c.rename_snapshot("t/a@1", "2"), "zfs rename t/a@1 t/a@2"),
    (lambda c: c.rename_snapshot("t@1", "-r", recursive=True), "zfs rename -r t@1 t@-r"),
    (lambda c: c.destroy("t/a"), "zfs destroy t/a"),
    (lambda c: c.destroy("t/a", recursive=True, force=True), "zfs destroy -r -f t/a"),
    (lambda c: c.destroy("t/a", dependents=True), "zfs destroy -R t/a"),
    (lambda c: c.destroy_snapshots("t/a", ["1", "b c"]), "zfs destroy t/a@1,b c"),
    (
        lambda c: c.destroy_snapshots("t", ["1"], recursive=True, defer=True),
        "zfs destroy -r -d t@1",
    ),
    (lambda c: c.plan_destroy_snapshots("t/a", ["1", "2"]), "zfs destroy -nvp t/a@1,2"),
    (lambda c: c.hold("my tag", ["t/a@1", "t/b@1"]), "zfs hold my tag t/a@1 t/b@1"),
    (lambda c: c.hold("x", ["t@1"], recursive=True), "zfs hold -r x t@1"),
    (lambda c: c.release("x", ["t/a@1"]), "zfs release x t/a@1"),
    (lambda c: c.holds(["t/a@1", "t/b@1"]), "zfs holds -Hp t/a@1 t/b@1"),
    (lambda c: c.bookmark("t/a@1", "m"), "zfs bookmark t/a@1 t/a#m"),
    (lambda c: c.bookmark("t/a#m", "n"), "zfs bookmark t/a#m t/a#n"),
    (lambda c: c.destroy_bookmark("t/a#m"), "zfs destroy t/a#m"),
]


@pytest.mark.parametrize(("call", "expected"), ARGVS, ids=[argv for _call, argv in ARGVS])
def test_argv(call: Call, expected: str) -> None:
    runner = Recorder()
    call(ZfsClient(runner))
    assert expected == runner.last
    assert len(runner.argvs) == 1


def test_a_name_with_a_space_stays_one_argument() -> None:
    runner = Recorder()
    ZfsClient(runner).hold("my tag", ["t/a@b c"])
    assert runner.argvs == [["zfs", "hold", "my tag", "t/a@b c"]]


@pytest.mark.parametrize(
    "call",
    [
        lambda c: c.snapshot([]),
        lambda c: c.hold("x", []),
        lambda c: c.release("x", []),
        lambda c: c.holds([]),
        lambda c: c.destroy_snapshots("t/a", []),
        lambda c: c.plan_destroy_snapshots("t/a", []),
    ],
)
def test_nothing_to_do_is_no_command(call: Call) -> None:
    runner = Recorder()
    call(ZfsClient(runner))
    assert runner.argvs == []


REFUSED: list[Call] = [
    lambda c: c.snapshot(["t/a@1", "t/a"]),
    lambda c: c.snapshot(["t/a@1,2"]),
    lambda c: c.snapshot(["t/a@%"]),
    lambda c: c.snapshot(["-r@1"]),
    lambda c: c.snapshot(["t/a@.."]),
    lambda c: c.snapshot(["t/a@" + "x" * 252]),
    lambda c: c.clone("t/a", "t/b"),
    lambda c: c.clone("t/a@1", "t/b@2"),
    lambda c: c.promote("-t"),
    lambda c: c.rollback("t/a"),
    lambda c: c.rename_snapshot("t/a@1", "t/a@2"),
    lambda c: c.destroy("t/a@1"),
    lambda c: c.destroy_snapshots("t/a", ["1", "2,3"]),
    lambda c: c.destroy_snapshots("t/a", ["1%2"]),
    lambda c: c.hold("-r", ["t/a@1"]),
    lambda c: c.hold(".x", ["t/a@1"]),
    lambda c: c.hold("a\nb", ["t/a@1"]),
    lambda c: c.holds(["t/a"]),
    lambda c: c.bookmark("t/a", "m"),
    lambda c: c.bookmark("t/a@1", "m/n"),
    lambda c: c.destroy_bookmark("t/a"),
]


@pytest.mark.parametrize("call", REFUSED)
def test_malformed_names_are_refused_before_any_command(call: Call) -> None:
    runner = Recorder()
    with pytest.raises(InvalidName):
        call(ZfsClient(runner))
    assert runner.argvs == []


def test_one_name_in_place_of_a_list_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="list of names"):
        ZfsClient(Recorder()).snapshot("t/a@1")
    with pytest.raises(InvalidArgument, match="list of names"):
        ZfsClient(Recorder()).destroy_snapshots("t/a", "12")


def test_destroy_plan_of_snapshots_says_names_and_bytes() -> None:
    stdout = "destroy\tt/a@1\ndestroy\tt/a@2\nreclaim\t4096\n"
    plan = ZfsClient(Recorder({"zfs destroy": stdout})).plan_destroy_snapshots("t/a", ["1", "2"])
    assert plan == DestroyPlan(("t/a@1", "t/a@2"), 4096)


def test_destroy_plan_of_datasets_adds_up_what_the_topmost_use() -> None:
    runner = Recorder(
        {
            "zfs destroy": "destroy\tt/a/b\ndestroy\tt/c\ndestroy\tt/a@1\ndestroy\tt/a\n",
            "zfs list": "t/a\t100\nt/c\t7\n",
        },
        version=OLD_VERSION,
    )
    plan = ZfsClient(runner).plan_destroy("t/a", dependents=True)
    assert plan == DestroyPlan(("t/a/b", "t/c", "t/a@1", "t/a"), 107)
    assert [argv[-2:] for argv in runner.argvs] == [["-R", "t/a"], ["t/a", "t/c"]]


def test_topmost() -> None:
    assert topmost_datasets(["t/a/b/c", "t/ab", "t/a@x", "t/a", "t/a#m"]) == ["t/a", "t/ab"]


@pytest.mark.parametrize("stdout", ["destroy t/a\n", "reclaim\tmuch\n", "keep\tt/a\n"])
def test_plan_that_is_not_understood_is_an_error(stdout: str) -> None:
    with pytest.raises(CommandFailed, match="not understood"):
        parse_destroy_plan(stdout)


def test_holds_have_times_where_zfs_gives_exact_ones() -> None:
    exact = ZfsClient(Recorder({"zfs holds": "t/a@1\tmy tag\t1795264509\n"}))
    at = datetime(2026, 11, 21, 12, 35, 9, tzinfo=UTC)
    assert exact.holds(["t/a@1"]) == [Hold("t/a@1", "my tag", at)]
    runner = Recorder({"zfs holds": "t/a@1\tx\tSat Nov 21 12:35 2026\n"}, version=OLD_VERSION)
    assert ZfsClient(runner).holds(["t/a@1"]) == [Hold("t/a@1", "x", None)]
    assert runner.last == "zfs holds -H t/a@1"
