"""Pools, permissions, differences: argv and parsing of what ZFS printed, without ZFS."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modules.errors import CommandFailed, InvalidArgument, InvalidName
from tests.zfs_client.recording import OLD_VERSION, Recorder
from zfsstore.zfs.client import ZfsClient
from zfsstore.zfs.delegation import Delegation, allow_argv, needed_permissions, parse_allow
from zfsstore.zfs.differences import Change, parse_diff, unescape
from zfsstore.zfs.pool_commands import PoolUsage, Scan, parse_pools

FINISHED = {
    "function": "SCRUB",
    "state": "FINISHED",
    "start_time": "1795264523",
    "end_time": "1795264525",
    "to_examine": "463872",
    "skipped": "78336",
    "errors": "0",
    "scrub_pause": "0",
    "issued": "245760",
}


def json_status(**scan: str) -> str:
    pool: dict[str, Any] = {"name": "tp", "state": "DEGRADED", "error_count": "18"}
    pool |= {"status": "One or more\n\tdevices.\n", "action": "Restore it.\n"}
    if scan:
        pool["scan_stats"] = {**FINISHED, **scan}
    return json.dumps({"output_version": {}, "pools": {"tp": pool}})


def text_status(scan: str, errors: str = "No known data errors") -> str:
    return (
        "  pool: tp\n state: DEGRADED\nstatus: One or more devices has experienced an error\n"
        f"\tin data.\naction: Restore it.\n  scan: {scan}\nconfig:\n\n"
        "\tNAME        STATE     READ WRITE CKSUM\n\ttp          ONLINE       0     0     0\n\n"
        f"errors: {errors}\n\n"
    )


def scan_of(stdout: str, version: str) -> Scan | None:
    (pool,) = ZfsClient(Recorder({"zpool status": stdout}, version=version)).pool_status(["tp"])
    return pool.scan


def test_pool_argv() -> None:
    runner = Recorder()
    client = ZfsClient(runner)
    client.list_pools()
    client.pool_status(["tp", "tq"])
    client.scrub("tp")
    client.scrub("tp", "pause")
    client.scrub("tp", "stop")
    ZfsClient(runner).diff("t/a@1", "t/a@2")
    assert [" ".join(argv) for argv in runner.argvs] == [
        "zpool list -Hp -o name,size,allocated,free,capacity,fragmentation,health",
        "zpool status -jp tp tq",
        "zpool scrub tp",
        "zpool scrub -p tp",
        "zpool scrub -s tp",
        "zfs diff -FHt t/a@1 t/a@2",
    ]
    for call in (client.scrub, lambda name: client.list_pools([name])):
        with pytest.raises(InvalidName):
            call("-s")


def test_usage_of_pools_one_of_them_away() -> None:
    stdout = "tp\t251658240\t463872\t251194368\t0\t5\tONLINE\ntq\t-\t-\t-\t-\t-\tUNAVAIL\n"
    assert parse_pools(stdout) == [
        PoolUsage("tp", 251658240, 463872, 251194368, 0, 5, "ONLINE"),
        PoolUsage("tq", None, None, None, None, None, "UNAVAIL"),
    ]
    assert parse_pools("tp\t1\t1\t1\t3%\t5%\tONLINE\n")[0].fragmentation_percent == 5
    with pytest.raises(CommandFailed, match="not understood"):
        parse_pools("tp\tONLINE\n")


@pytest.mark.parametrize(
    ("stdout", "version"),
    [
        (json_status(), "zfs-2.3.2-1\n"),
        (text_status("none requested", "18 data errors, use '-v' for a list"), OLD_VERSION),
    ],
)
def test_a_pool_that_is_not_well(stdout: str, version: str) -> None:
    (pool,) = ZfsClient(Recorder({"zpool status": stdout}, version=version)).pool_status()
    assert (pool.name, pool.state, pool.data_errors, pool.scan) == ("tp", "DEGRADED", 18, None)
    assert pool.action == "Restore it."
    assert (pool.problem or "").startswith("One or more devices")
    assert not pool.is_healthy


def test_scrubs_as_json() -> None:
    def scan(**changed: str) -> Scan:
        found = scan_of(json_status(**changed), "zfs-2.3.2-1\n")
        assert found is not None
        return found

    at = datetime(2026, 11, 21, 12, 35, 23, tzinfo=UTC)
    done = scan(state="FINISHED")
    assert (done.function, done.state, done.percent_done) == ("scrub", "finished", 100.0)
    assert (done.started_at, done.errors) == (at, 0)
    running = scan(state="SCANNING", issued="192768", end_time="0")
    assert (running.state, running.percent_done, running.ended_at) == ("scanning", 50.0, None)
    assert scan(state="SCANNING", scrub_pause="1795264524").state == "paused"


@pytest.mark.parametrize(
    ("text", "function", "state", "percent", "errors"),
    [
        (
            "scrub repaired 0B in 00:00:10 with 3 errors on Sat Nov 21 12:35:23 2026",
            *("scrub", "finished", 100.0, 3),
        ),
        (
            "scrub in progress since Sat Nov 21 12:35:23 2026\n"
            "\t1.20G scanned at 1G/s, 1G issued at 1G/s, 3G total\n"
            "\t0B repaired, 40.12% done, 00:00:02 to go",
            *("scrub", "scanning", 40.12, None),
        ),
        ("scrub paused since Sat Nov 21\n\t1G scanned", "scrub", "paused", None, None),
        ("scrub canceled on Sat Nov 21 12:35:23 2026", "scrub", "canceled", None, None),
        (
            "resilvered 1.20G in 00:01:00 with 0 errors on Sat Nov 21",
            *("resilver", "finished", 100.0, 0),
        ),
        ("resilver in progress since Sat", "resilver", "scanning", None, None),
    ],
)
def test_scrubs_as_text(
    text: str, function: str, state: str, percent: float | None, errors: int | None
) -> None:
    found = scan_of(text_status(text), OLD_VERSION)
    assert found == Scan(function, state, errors, percent, None, None)


@pytest.mark.parametrize("stdout", ['{"pools": {"tp": {}}}', '{"pools": {"tp": 1}}', "tp ok"])
def test_status_that_is_not_understood_is_an_error(stdout: str) -> None:
    with pytest.raises(CommandFailed, match="not understood"):
        scan_of(stdout, "zfs-2.3.2-1\n")
    with pytest.raises(CommandFailed, match="not understood"):
        scan_of("  pool: tp\n scan: none\n", OLD_VERSION)


# --- permissions


@pytest.mark.parametrize(
    ("delegation", "expected"),
    [
        (Delegation(("create", "mount"), name="bob"), "-u bob create,mount"),
        (Delegation(("quota",), kind="group", name="users", scope="local"), "-l -g users quota"),
        (Delegation(("@ro",), kind="everyone", scope="descendent"), "-d -e @ro"),
        (Delegation(("destroy",), kind="create"), "-c destroy"),
        (Delegation(("send", "hold"), kind="set", name="@ro"), "-s @ro send,hold"),
    ],
)
def test_allow_and_unallow(delegation: Delegation, expected: str) -> None:
    runner = Recorder()
    ZfsClient(runner).allow("t/a", delegation)
    ZfsClient(runner).unallow("t/a", delegation)
    assert [" ".join(argv) for argv in runner.argvs] == [
        f"zfs allow {expected} t/a",
        f"zfs unallow {expected} t/a",
    ]


@pytest.mark.parametrize(
    "delegation",
    [
        Delegation((), name="bob"),
        Delegation(("create mount",), name="bob"),
        Delegation(("create",), name="-e"),
        Delegation(("create",), name=""),
        Delegation(("create",), kind="everyone", name="bob"),
        Delegation(("create",), kind="set", name="ro"),
    ],
)
def test_a_delegation_that_cannot_be_is_refused(delegation: Delegation) -> None:
    with pytest.raises(InvalidArgument):
        allow_argv("t/a", delegation)


def test_an_unknown_user_is_told_although_zfs_says_success() -> None:
    stdout = "Usage: \tallow <filesystem|volume>\n\nzfs: error: invalid user/group nobody9\n"
    with pytest.raises(InvalidArgument, match="invalid user/group nobody9"):
        ZfsClient(Recorder({"zfs allow": stdout})).allow("t", Delegation(("send",), name="nobody9"))


def test_who_may_do_what() -> None:
    stdout = (
        "---- Permissions on tp/a ---------------------------------------------\n"
        "Permission sets:\n\t@set1 hold,send\nCreate time permissions:\n\tdestroy\n"
        "Local permissions:\n\teveryone @set1\nDescendent permissions:\n\tuser bob clone\n"
        "Local+Descendent permissions:\n\tuser bob create,mount\n"
        "---- Permissions on tp -----------------------------------------------\n"
        "Local+Descendent permissions:\n\tgroup users quota\n"
    )
    assert parse_allow(stdout) == {
        "tp/a": [
            Delegation(("hold", "send"), "set", "@set1"),
            Delegation(("destroy",), "create"),
            Delegation(("@set1",), "everyone", scope="local"),
            Delegation(("clone",), "user", "bob", "descendent"),
            Delegation(("create", "mount"), "user", "bob"),
        ],
        "tp": [Delegation(("quota",), "group", "users")],
    }
    assert parse_allow("") == {}
    with pytest.raises(CommandFailed, match="not understood"):
        parse_allow("\tuser bob create\n")


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        ("zfs snapshot t@1", "snapshot"),
        ("zfs clone -o quota=5 -o a:b=c t@1 t/b", "clone,create,mount,quota,userprop"),
        ("zfs set quota=5 userquota@bob=7 t", "quota,userquota"),
        ("zfs inherit a:b t", "userprop"),
        ("zfs destroy -r t", "destroy,mount"),
        ("zpool scrub t", ""),
    ],
)
def test_what_a_command_needs(argv: str, expected: str) -> None:
    assert expected == needed_permissions(argv.split())


# --- differences


def test_differences() -> None:
    stdout = (
        "1795264851.914030509\t+\t/\t/tp/a/dir\n"
        "1795264850.814030557\t-\tF\t/tp/a/x\n"
        "1795264851.814030514\tR\tF\t/tp/a/sp\\0040ace\t/tp/a/mo\\0040ved\n"
        "1795264851.838030513\tM\tF\t/tp/a/\\0303\\0274\t(+1)\n"
    )
    one, two, three, four = ZfsClient(Recorder({"zfs diff": stdout})).diff("tp/a@1")
    at = datetime(2026, 11, 21, 12, 40, 51, 914030, tzinfo=UTC)
    assert one == Change("created", "/", "/tp/a/dir", None, 0, at)
    assert (two.kind, two.path) == ("removed", "/tp/a/x")
    assert (three.path, three.new_path) == ("/tp/a/sp ace", "/tp/a/mo ved")
    assert (four.path, four.new_path, four.link_change) == ("/tp/a/ü", None, 1)


@pytest.mark.parametrize("line", ["hello", "12\tX\tF\t/a", "x\t+\tF\t/a", "1\t+\tF"])
def test_differences_that_are_not_understood_are_an_error(line: str) -> None:
    with pytest.raises(CommandFailed, match="not understood"):
        parse_diff(line)


def escape(path: bytes) -> str:
    """Write a path as zfs diff does (stream_bytes in libzfs_diff.c)."""
    return "".join(
        chr(byte) if 0x20 < byte < 0x7F and byte != 0x5C else f"\\{byte:04o}" for byte in path
    )


@given(st.binary(max_size=40))
def test_every_path_comes_back(path: bytes) -> None:
    assert path == unescape(escape(path)).encode("utf-8", "surrogateescape")


REFUSED: list[Callable[[ZfsClient], object]] = [
    lambda c: c.diff("t/a"),
    lambda c: c.diff("t/a@1", "-o"),
    lambda c: c.list_delegations("-r"),
    lambda c: c.allow("t@1", Delegation(("send",), name="bob")),
]


@pytest.mark.parametrize("call", REFUSED)
def test_malformed_names_are_refused(call: Callable[[ZfsClient], object]) -> None:
    runner = Recorder()
    with pytest.raises(InvalidName):
        call(ZfsClient(runner))
    assert runner.argvs == []
