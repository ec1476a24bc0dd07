"""Stacks of wrappers on directories: the command that checks modules, and volumes that move."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from modules.conformance import ModuleSpec
from tests.conformance.memory import directory_in_memory
from tests.wrappers.deduplicated import DEDUP, SIMPLE
from tests.wrappers.encrypted import ENCRYPTED, encrypted, keys_at
from tests.wrappers.stacked import Stack, fail_across_a_rollback, follow_the_volume
from tests.wrappers.test_compression_conformance import COMPRESSED
from zfsstore.cli.main import main


def directory_spec(directory: Path | str) -> ModuleSpec:
    return ModuleSpec("zfsstore.ZFSStorage", {"directory": f"{directory}/objects"})


def simple_spec(directory: Path | str) -> ModuleSpec:
    return ModuleSpec(SIMPLE, {"storage_dir": f"{directory}/objects"})


@pytest.mark.slow
@pytest.mark.parametrize("substrate", [simple_spec, directory_spec])
@pytest.mark.parametrize("top", [DEDUP, COMPRESSED, ENCRYPTED])
def test_module_check_is_green(
    top: str, substrate: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    with directory_in_memory() as folder:
        keys = keys_at(folder)
        specs = {"leaf": substrate(folder), "enc": encrypted("leaf", keys)}
        args: dict[str, Any] = {"inner": "enc"}
        if top == ENCRYPTED:
            args = {"inner": "leaf", "keys": keys}
        elif top == DEDUP and substrate is simple_spec:
            args["state_dir"] = f"{folder}/state"
        inner = {name: {"module": s.name, "args": dict(s.args)} for name, s in specs.items()}
        argv = ["module", "check", top, "--args", json.dumps(args), "--inner", json.dumps(inner)]
        status = main([*argv, "--json"])
        report = json.loads(capsys.readouterr().out)
        assert (0, True, 0) == (status, report["ok"], report["failed"]), report
        assert report["passed"] > (100 if substrate is directory_spec else 50)


@pytest.mark.slow
def test_objects_follow_their_volume(tmp_path: Path) -> None:
    one, two = (Stack(directory_spec(tmp_path / name), tmp_path) for name in ("one", "two"))
    with one, two:
        follow_the_volume(one, two)


@pytest.mark.slow
def test_a_put_fails_that_a_rollback_overtakes(tmp_path: Path) -> None:
    with Stack(directory_spec(tmp_path), tmp_path) as stack:
        fail_across_a_rollback(stack, "acme")
