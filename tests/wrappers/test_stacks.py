"""Stacks of wrappers on directories: the command that checks modules, and volumes that move."""

from __future__ import annotations

import json
import unittest
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from modules.conformance import ModuleSpec
from tests.conformance.memory import directory_in_memory
from tests.wrappers.deduplicated import DEDUP, PACK, SIMPLE
from tests.wrappers.encrypted import ENCRYPTED, encrypted, keys_at
from tests.wrappers.stacked import Stack, fail_across_a_rollback, follow_the_volume
from tests.wrappers.test_compression_conformance import COMPRESSED, CompressedSuite
from tests.wrappers.test_dedup_conformance import DedupSuite
from zfsstore.cli.main import main

RULES = ("put.1-mib", "read.ranges", "read.seek-end", "delete.idempotent", "threads.parallel")


def directory_spec(directory: Path | str) -> ModuleSpec:
    return ModuleSpec("zfsstore.ZFSStorage", {"directory": f"{directory}/objects"})


def simple_spec(directory: Path | str) -> ModuleSpec:
    return ModuleSpec(SIMPLE, {"storage_dir": f"{directory}/objects"})


@pytest.mark.slow
class TestDedupEncryptedSimple(DedupSuite, unittest.TestCase):
    @classmethod
    def arguments(cls, directory: str) -> Mapping[str, Any]:
        return {**super().arguments(directory), "state_dir": f"{cls.root}/state"}

    @classmethod
    def inner_modules(cls, directory: str) -> Mapping[str, ModuleSpec]:
        return {"leaf": encrypted("deep", keys_at(cls.root)), "deep": simple_spec(cls.root)}


@pytest.mark.slow
class TestCompressedEncryptedSimple(CompressedSuite, unittest.TestCase):
    @classmethod
    def inner_modules(cls, directory: str) -> Mapping[str, ModuleSpec]:
        return {"leaf": encrypted("deep", keys_at(cls.root)), "deep": simple_spec(cls.root)}


@pytest.mark.slow
@pytest.mark.parametrize("substrate", [simple_spec, directory_spec])
@pytest.mark.parametrize("top", [DEDUP, COMPRESSED, ENCRYPTED])
def test_module_check_is_green(
    top: str, substrate: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    with directory_in_memory() as folder:
        keys = keys_at(folder)
        args: dict[str, Any] = {"inner": "mid"}
        if top == DEDUP:
            args["pack_bytes"] = PACK
            args |= {} if substrate is directory_spec else {"state_dir": f"{folder}/state"}
        if top == ENCRYPTED:
            args |= {"keys": keys}
        specs = {"mid": encrypted("deep", keys), "deep": substrate(folder)}
        inner = {name: {"module": s.name, "args": dict(s.args)} for name, s in specs.items()}
        argv = ["module", "check", top, "--args", json.dumps(args), "--inner", json.dumps(inner)]
        for rule in RULES:
            argv += ["--rule", rule]
        assert 0 == main([*argv, "--json"]), capsys.readouterr().out
        assert len(RULES) == json.loads(capsys.readouterr().out)["passed"]


def test_objects_follow_their_volume(tmp_path: Path) -> None:
    stacks = [Stack(directory_spec(tmp_path / name), tmp_path) for name in ("one", "two")]
    follow_the_volume(*stacks)


def test_a_put_fails_that_a_rollback_overtakes(tmp_path: Path) -> None:
    fail_across_a_rollback(Stack(directory_spec(tmp_path), tmp_path), "acme")
