"""The suite itself is proven here: each wrong module is caught by the rule it breaks, and no other.

A rule without a wrong module would be a rule that may catch nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from types import ModuleType

import pytest

from modules import StorageModule
from modules.conformance import QUICK, StorageModuleSuite, check_module, rules_of
from tests.conformance.memory import directory_in_memory
from tests.conformance.wrong_modules import (
    clones,
    description,
    failed_put,
    identity,
    operators,
    optional,
    parallel,
    put,
    read,
    replication,
    snapshots,
    volumes,
)

SCALE = replace(QUICK, operations=250, threads=4, processes=1)

TIERS: list[ModuleType] = [snapshots, clones, replication, operators]
FILES: list[ModuleType] = [
    put,
    failed_put,
    read,
    identity,
    description,
    parallel,
    optional,
    volumes,
    *TIERS,
]
WRONG: list[type[StorageModule]] = [
    candidate
    for file in FILES
    for candidate in vars(file).values()
    if isinstance(candidate, type) and "breaks" in vars(candidate)
]

OF_VOLUMES = [
    rule.id
    for rule in rules_of(StorageModuleSuite)
    if rule.id.split(".")[0]
    in ("volumes", "snapshots", "clones", "replication", "operator", "sweep", "state-dir")
]
"""What a module that changes nothing but volumes can break."""


@pytest.fixture
def fast_directory() -> Iterator[str]:
    with directory_in_memory() as directory:
        yield directory


every_wrong_module = pytest.mark.parametrize(
    "wrong", WRONG, ids=lambda wrong: f"{wrong.breaks}-{wrong.__name__}"
)


@every_wrong_module
def test_wrong_module_breaks_its_rule(wrong: type[StorageModule], fast_directory: str) -> None:
    rule = vars(wrong)["breaks"]
    assert {rule} == broken_rules(wrong, fast_directory, [rule])


@pytest.mark.slow
@every_wrong_module
def test_wrong_module_breaks_no_other_rule(wrong: type[StorageModule], fast_directory: str) -> None:
    is_about_tiers = wrong.__module__ in {file.__name__ for file in TIERS}
    rules = OF_VOLUMES if is_about_tiers else None
    assert {vars(wrong)["breaks"]} == broken_rules(wrong, fast_directory, rules)


def broken_rules(
    wrong: type[StorageModule], directory: str, rules: Sequence[str] | None
) -> set[str]:
    """Return which of the rules, None for all, a module breaks; each with a reason."""
    name = f"{wrong.__module__}.{wrong.__qualname__}"
    report = check_module(name, {"storage_dir": directory}, rules=rules, scale=SCALE)
    failed = {result.rule: result.reason for result in report.results if result.outcome == "failed"}
    assert all(failed.values())
    return set(failed)


def test_every_rule_has_a_wrong_module() -> None:
    rules = {rule.id for rule in rules_of(StorageModuleSuite)}
    assert rules == {vars(wrong)["breaks"] for wrong in WRONG}
