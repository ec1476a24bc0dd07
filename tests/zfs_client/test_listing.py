"""Lists of datasets, as lines and as JSON, without ZFS."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest

from modules.errors import CommandFailed, InvalidArgument, InvalidName
from tests.zfs_client.recording import OLD_VERSION, Recorder
from zfsstore.zfs.client import ZfsClient
from zfsstore.zfs.listing import Listed, parse_json_list, parse_list
from zfsstore.zfs.runner import RunResult

LINES = "t/a\t66560\t-\nt/a@s2\t0\tx y\n"
DOCUMENT = json.dumps(
    {
        "output_version": {"command": "zfs list", "vers_major": 0, "vers_minor": 1},
        "datasets": {
            "t/a": {
                "name": "t/a",
                "properties": {
                    "used": {"value": "66560", "source": {"type": "NONE", "data": "-"}},
                    "u:a": {"value": "-", "source": {"type": "DEFAULT", "data": "-"}},
                },
            },
            "t/a@s2": {
                "name": "t/a@s2",
                "properties": {"used": {"value": "0"}, "u:a": {"value": "x y"}},
            },
        },
    }
)


@pytest.mark.parametrize(("version", "flag"), [(OLD_VERSION, "-Hp"), ("zfs-2.3.0-1\n", "-jp")])
def test_one_command_for_any_number(version: str, flag: str) -> None:
    runner = Recorder(version=version)
    client = ZfsClient(runner)
    client.list_datasets(
        ["t/a", "t/b@1"], ("used", "a:b"), types=("filesystem", "snapshot"), depth=2
    )
    client.list_datasets(recursive=True, sort=("-creation", "name"))
    assert [" ".join(argv) for argv in runner.argvs] == [
        f"zfs list {flag} -d 2 -t filesystem,snapshot -o name,used,a:b t/a t/b@1",
        f"zfs list {flag} -r -t filesystem -S creation -s name -o name",
    ]


def test_snapshots_and_bookmarks_are_of_the_dataset_alone_and_old_to_new() -> None:
    runner = Recorder(version=OLD_VERSION)
    client = ZfsClient(runner)
    client.list_snapshots("t/a", ("guid",))
    client.list_snapshots("t/a", recursive=True)
    client.list_bookmarks("t/a")
    assert [" ".join(argv) for argv in runner.argvs] == [
        "zfs list -Hp -d 1 -t snapshot -s createtxg -o name,guid t/a",
        "zfs list -Hp -r -t snapshot -s createtxg -o name t/a",
        "zfs list -Hp -d 1 -t bookmark -s createtxg -o name t/a",
    ]


def test_lines_and_json_give_the_same() -> None:
    expected = [
        Listed("t/a", {"used": "66560", "u:a": "-"}),
        Listed("t/a@s2", {"used": "0", "u:a": "x y"}),
    ]
    assert expected == parse_list(LINES, ("used", "u:a"))
    assert expected == parse_json_list(DOCUMENT, ("used", "u:a"))
    assert (expected[0].number("used"), expected[0].value("u:a")) == (66560, None)


def test_nothing_found_is_an_empty_list() -> None:
    assert parse_list("", ()) == parse_json_list("", ()) == parse_json_list("{}", ()) == []


@pytest.mark.parametrize("stdout", ["[]", "{", '{"datasets": 5}', '{"datasets": {"t": 5}}'])
def test_json_that_is_not_understood_is_an_error(stdout: str) -> None:
    with pytest.raises(CommandFailed, match="not understood"):
        parse_json_list(stdout, ("used",))


def test_a_tab_in_a_value_is_noticed() -> None:
    with pytest.raises(CommandFailed, match="not understood"):
        parse_list("t/a\t1\tx\ty\n", ("used", "u:a"))


class Broken(Recorder):
    """Answers as OpenZFS 2.3.2 does when a value is no ASCII: JSON breaks off there."""

    def __init__(self, lines: str) -> None:
        super().__init__()
        self._lines = lines

    def __call__(self, argv: Sequence[str]) -> RunResult:
        result = super().__call__(argv)
        if "-jp" in argv:
            broken = '{"datasets":{"t/a":{"name":"t/a","properties":{"u:a":{"value":"'
            names = '{"datasets":{"t/a":{"properties":{}}}}'
            result["stdout"] = names if "name" in argv else broken
        elif "-Hp" in argv:
            result["stdout"] = self._lines
        return result


def test_values_that_json_cannot_hold_are_read_as_lines() -> None:
    runner = Broken("t/a\tü\n")
    assert ZfsClient(runner).list_datasets(["t/a"], ("u:a",)) == [Listed("t/a", {"u:a": "ü"})]
    assert [argv[2] for argv in runner.argvs] == ["-jp", "-jp", "-Hp"]


def test_a_newline_in_a_value_does_not_pass_for_another_dataset() -> None:
    with pytest.raises(CommandFailed, match="not understood"):
        ZfsClient(Broken("t/a\tü\nt/forged\tx\n")).list_datasets(["t/a"], ("u:a",))


def test_bad_arguments_run_nothing() -> None:
    runner = Recorder()
    client = ZfsClient(runner)
    with pytest.raises(InvalidName):
        client.list_datasets(["t/a", "-r"])
    with pytest.raises(InvalidArgument):
        client.list_datasets(["t/a"], ("used,name -r",))
    with pytest.raises(InvalidArgument):
        client.list_datasets(["t/a"], sort=("--x",))
    with pytest.raises(InvalidArgument):
        client.list_datasets(["t/a"], types=("all",))
    assert runner.argvs == []
