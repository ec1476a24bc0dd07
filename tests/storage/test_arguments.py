"""Wrong arguments are refused by the name of the argument."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from modules.errors import ConfigurationError, InvalidName
from zfsstore import ZFSStorage


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({}, "dataset"),
        ({"dataset": "tank/a", "directory": "/srv"}, "dataset"),
        ({"directory": ""}, "directory"),
        ({"directory": 7}, "directory"),
        ({"directory": "/tmp/a\0b"}, "directory"),
        ({"directory": "/proc/no-such-place"}, "directory"),
        ({"directory": "HERE", "instance": "../x"}, "instance"),
        ({"directory": "HERE", "instance": ""}, "instance"),
        ({"directory": "HERE", "headroom_bytes": -1}, "headroom_bytes"),
        ({"directory": "HERE", "headroom_bytes": "64M"}, "headroom_bytes"),
        ({"directory": "HERE", "headroom_bytes": True}, "headroom_bytes"),
        ({"directory": "HERE", "agent": "/run/zfsstore/agent.sock"}, "agent"),
        ({"dataset": "tank/a", "agent": "agent.sock"}, "agent"),
        ({"dataset": "tank/a", "agent": ""}, "agent"),
        ({"dataset": "tank/a", "agent": "/a.sock", "runner": print}, "agent"),
    ],
)
def test_wrong_argument_is_named(arguments: dict[str, Any], field: str, tmp_path: Path) -> None:
    if arguments.get("directory") == "HERE":
        arguments = arguments | {"directory": str(tmp_path)}
    with pytest.raises(ConfigurationError) as caught:
        ZFSStorage(**arguments)
    assert caught.value.field == field


@pytest.mark.parametrize("dataset", ["", "/tank", "tank/", "tank//a", "tank/a b", "-f", "tank/.."])
def test_malformed_dataset_starts_no_command(dataset: str) -> None:
    def runner(argv: object) -> Any:
        raise AssertionError(f"ran {argv}")

    with pytest.raises(InvalidName) as caught:
        ZFSStorage(dataset=dataset, runner=runner)
    assert caught.value.field == "dataset"


def test_absent_dataset_says_how_to_create_it() -> None:
    with pytest.raises(ConfigurationError, match="zfs create tank/absent"):
        ZFSStorage(
            dataset="tank/absent",
            runner=lambda argv: {
                "success": False,
                "stderr": "cannot open 'tank/absent': dataset does not exist\n",
                "exit_code": 1,
            },
        )


@pytest.mark.parametrize(
    ("mountpoint", "mounted"), [("legacy", "no"), ("none", "no"), ("/tank/o", "no")]
)
def test_unmounted_dataset_is_refused(mountpoint: str, mounted: str) -> None:
    lines = f"tank/o\ttype\tfilesystem\t-\ntank/o\tmountpoint\t{mountpoint}\tlocal\n"
    lines += f"tank/o\tmounted\t{mounted}\t-\n"
    with pytest.raises(ConfigurationError, match="zfs mount tank/o"):
        ZFSStorage(dataset="tank/o", runner=lambda argv: {"success": True, "stdout": lines})


def test_an_absent_agent_is_named_with_its_unit(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        ZFSStorage(dataset="tank/a", agent=f"{tmp_path}/agent.sock")
    assert f"{tmp_path}/agent.sock" in str(caught.value)
    assert "zfsstore-agent.socket" in str(caught.value)
