"""The zfs client without ZFS: argv, parsing, and errors from what a runner gives back."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import pytest

from modules.errors import (
    AlreadyExists,
    Busy,
    CommandFailed,
    CommandTimeout,
    HasDependents,
    InvalidName,
    NoSpace,
    NotFound,
    NotSupported,
    PermissionDenied,
    StorageError,
    Unavailable,
)
from zfsstore.zfs.client import ZfsClient
from zfsstore.zfs.commands import parse_get, parse_version
from zfsstore.zfs.errors import QuotaBelowUsage
from zfsstore.zfs.runner import LocalRunner, RunResult, sudo_runner


class Recorder:
    """A runner that records and answers with one result."""

    def __init__(self, result: Any) -> None:
        self.argvs: list[Sequence[str]] = []
        self._result = result

    def __call__(self, argv: Sequence[str]) -> RunResult:
        self.argvs.append(argv)
        if isinstance(self._result, Exception):
            raise self._result
        return self._result  # type: ignore[no-any-return]  # junk, on purpose


def test_argv() -> None:
    runner = Recorder({"success": True})
    client = ZfsClient(runner)
    client.create("tank/a", {"quota": "5", "zfsstore:name": "a b"})
    client.set("tank/a", {"quota": "6", "recordsize": "1M"})
    client.rename("tank/a", "tank/b")
    client.mount("tank/b")
    client.get(["tank", "tank/b"], ("used", "quota"), depth=2)
    assert runner.argvs == [
        ["zfs", "create", "-o", "quota=5", "-o", "zfsstore:name=a b", "tank/a"],
        ["zfs", "set", "quota=6", "recordsize=1M", "tank/a"],
        ["zfs", "rename", "tank/a", "tank/b"],
        ["zfs", "mount", "tank/b"],
        [
            *[
                "zfs",
                "get",
                "-Hp",
                "-d",
                "2",
                "-t",
                "filesystem",
                "-o",
                "name,property,value,source",
            ],
            *("used,quota", "tank", "tank/b"),
        ],
    ]


def test_properties_know_where_they_come_from() -> None:
    (parent, child) = parse_get(
        "t\tzfsstore:uuid\tabc\tlocal\nt\tquota\t0\tdefault\n"
        "t/c\tzfsstore:uuid\tabc\tinherited from t\nt/c\tquota\t7\treceived\n"
    )
    assert (parent.own("zfsstore:uuid"), child.own("zfsstore:uuid")) == ("abc", None)
    assert (parent.number("quota"), child.number("quota")) == (None, 7)
    assert child.value("zfsstore:uuid") == "abc"


def test_output_that_is_not_understood_is_an_error() -> None:
    with pytest.raises(CommandFailed, match="not understood"):
        parse_get("tank quota 5\n")
    with pytest.raises(CommandFailed, match="not understood"):
        parse_version("hello\n")


def test_version() -> None:
    assert parse_version("zfs-2.3.2-1~bpo12+2\nzfs-kmod-2.3.2-1\n") == (2, 3, 2)
    assert parse_version("zfs-2.4-rc1\n") == (2, 4, 0)


@pytest.mark.parametrize(
    ("stderr", "expected"),
    [
        ("cannot create 'tank/a': dataset already exists", AlreadyExists),
        ("cannot create 'tank/a': parent does not exist", NotFound),
        ("cannot open 'tank/a': dataset does not exist", NotFound),
        ("cannot create 'tank/a': no such pool 'tank'", NotFound),
        ("cannot rename 'tank/a': dataset is busy", Busy),
        ("cannot unmount '/tank/a': pool or dataset is busy", Busy),
        ("umount: /tank/a: target is busy.", Busy),
        ("cannot create 'tank/a': permission denied", PermissionDenied),
        ("Permission denied the ZFS utilities must be run as root.", PermissionDenied),
        ("cannot create 'tank/a': out of space", NoSpace),
        (
            "cannot set property for 'tank/a': size is less than current used or reserved space",
            QuotaBelowUsage,
        ),
        ("cannot destroy 'tank/a': filesystem has children", HasDependents),
        ("cannot create 'tank/a': pool I/O is currently suspended", Unavailable),
        ("cannot create 'tank/...': name is too long", InvalidName),
        ("zfs: No such file or directory", NotSupported),
        ("The ZFS modules cannot be auto-loaded.", NotSupported),
        ("something new", CommandFailed),
        ("", CommandFailed),
    ],
)
def test_errors_by_their_text(stderr: str, expected: type[StorageError]) -> None:
    client = ZfsClient(Recorder({"success": False, "stderr": stderr, "exit_code": 1}))
    with pytest.raises(expected) as caught:
        client.create("tank/a", {})
    assert type(caught.value) is expected
    assert str(caught.value).startswith("cannot create dataset tank/a: ")


def test_denied_permission_names_the_zfs_allow() -> None:
    client = ZfsClient(Recorder({"success": False, "stderr": "permission denied"}))
    with pytest.raises(PermissionDenied) as caught:
        client.rename("tank/a", "tank/b")
    assert caught.value.permission == "rename,create,mount"
    assert "zfs allow USER rename,create,mount tank/a" in str(caught.value)


@pytest.mark.parametrize("junk", [None, 0, "ok", {}, {"success": "yes"}, ValueError("boom")])
def test_runner_that_fails_or_returns_junk_is_a_failed_command(junk: Any) -> None:
    with pytest.raises(CommandFailed) as caught:
        ZfsClient(Recorder(junk)).mount("tank/a")
    assert caught.value.argv == ("zfs", "mount", "tank/a")


@pytest.mark.parametrize("name", ["", "-r", "tank/-x\n", "tank/a@b", "tank/ü", "/tank", "a" * 256])
def test_malformed_names_are_refused_before_any_command(name: str) -> None:
    runner = Recorder({"success": True})
    client = ZfsClient(runner)
    for call in (
        lambda: client.create(name, {}),
        lambda: client.get(["tank", name], ("used",)),
        lambda: client.set(name, {}),
        lambda: client.rename("tank/a", name),
        lambda: client.mount(name),
    ):
        with pytest.raises(InvalidName):
            call()
    assert runner.argvs == []


def test_local_runner_gives_output_exit_code_and_the_c_locale() -> None:
    script = 'echo out; echo err >&2; echo "$LC_ALL"; test ! -t 0 && exit 3'
    assert LocalRunner()(["sh", "-c", script]) == {
        "success": False,
        "stdout": "out\nC\n",
        "stderr": "err\n",
        "exit_code": 3,
    }


def test_local_runner_kills_what_takes_too_long() -> None:
    with pytest.raises(CommandTimeout) as caught:
        LocalRunner(timeout_s=0.05)(["sleep", "60"])
    assert caught.value.argv == ("sleep", "60")


def test_absent_program_is_a_result() -> None:
    found = LocalRunner()(["no-such-program-here"])
    assert (found["success"], found["exit_code"]) == (False, 127)
    assert "no-such-program-here" in found["stderr"]


def test_sudo_runner_puts_sudo_first(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    sudo = tmp_path / "sudo"
    sudo.write_text('#!/bin/sh\nprintf "<%s>" "$@"\n')
    sudo.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    assert sudo_runner()(["zfs", "list"])["stdout"] == "<-n><zfs><list>"
