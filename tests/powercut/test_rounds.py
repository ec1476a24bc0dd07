"""The rounds of power cuts, on a virtual machine that is a shell script."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from tools.powercut.clients import Client
from tools.powercut.judge import Verdict
from tools.powercut.machine import Cut, Machine
from tools.powercut.rounds import CONTROLS, KINDS, Rounds, plan_rounds

# A machine takes the options of tools/zfs-vm/run, and ends with 137 when its process is killed.
_MACHINE = """\
#!/bin/bash
while [ "$1" != -- ]; do
    case $1 in
        --pidfile) pidfile=$2 ;;
        --disk) touch "$2" ;;
    esac
    shift
done
(%s) & guest=$!
echo "$guest" >"$pidfile"
wait "$guest" && exit 0
status=$?
echo "zfs-vm: 70 writes kept, 3 unflushed ones lost" >&2
exit "$status"
"""
_LOAD = "echo loading; for n in 1 2 3 4 5; do echo ack w0 $n; done; read -r < <(sleep 60)"
_FAILED_LOAD = "echo loading; echo ack w0 1; echo 'error w0: no space'; read -r < <(sleep 60)"


def machine_that(folder: Path, guest: str) -> list[str]:
    """Return the command of a machine whose guest runs *guest*; *plan* is its plan."""
    script = folder / "machine"
    script.write_text(_MACHINE % f"plan=${{*: -1}}; {guest}")
    script.chmod(0o755)
    return [str(script)]


def checked(lost: int, *problems: str) -> str:
    """Return a guest that has checked the store, then loads."""
    verdict = Verdict({"w0": Client("s", "w0")}, lost=lost, problems=list(problems))
    line = f"checked SITE {json.dumps(verdict.to_dict())}"
    bad = "exit 3" if lost or problems else "true"
    return f"""
        if grep -q '"checks": \\[{{"site": "\\([^"]*\\)' "$plan"; then
            site=$(sed 's/.*"checks": .{{"site": "\\([^"]*\\)".*/\\1/' "$plan")
            printf '%s\\n' '{line}' | sed "s/SITE/$site/"
            [ "$site" != store ] || {bad}
        fi
        if grep -q '"load": {{' "$plan"; then {_LOAD}; fi
    """


def run_rounds(tmp_path: Path, guest: str, *, count: int, controls: list[str]) -> Any:
    lines: list[str] = []
    command = machine_that(tmp_path, guest)
    rounds = Rounds(tmp_path / "machines", command, tmp_path / "kept", "s", lines.append)
    planned = plan_rounds(count, controls, random.Random(1))
    for one in planned:
        one.cut = Cut(3, 0)
    rounds.run(planned)
    return rounds.summary(), [json.loads(line) for line in lines]


def test_the_power_is_cut_after_so_many_acknowledgements(tmp_path: Path) -> None:
    machine = Machine(tmp_path / "m", machine_that(tmp_path, _LOAD))
    boot = machine.boot({}, Cut(3, 0.0))

    assert boot.error is None
    assert 3 <= boot.acks == boot.acknowledged["w0"] <= 5
    assert 3 == boot.lost_writes


@pytest.mark.parametrize(
    ("guest", "reason"),
    [(_FAILED_LOAD, "no space"), ("exit 1", "status 1"), ("exit 0", "status 0"), (
        "echo loading; exit 0", "status 0")],
)  # fmt: skip
def test_a_load_that_fails_is_an_error(tmp_path: Path, guest: str, reason: str) -> None:
    machine = Machine(tmp_path / "m", machine_that(tmp_path, guest))

    assert reason in (machine.boot({}, Cut(3, 0.0)).error or "")


def test_rounds_that_lose_nothing_are_good_and_a_control_is_not(tmp_path: Path) -> None:
    summary, lines = run_rounds(tmp_path, checked(0), count=3, controls=["sync-disabled"])

    assert [True, True, True, False] == [line["ok"] for line in lines if "ok" in line]
    assert (False, 3, 0) == (summary["ok"], summary["rounds"], summary["failed"])


def test_a_round_that_loses_fails_and_the_next_gets_a_new_machine(tmp_path: Path) -> None:
    summary, lines = run_rounds(tmp_path, checked(2), count=2, controls=[])

    assert [False, False] == [line["ok"] for line in lines if "ok" in line]
    assert (False, 2, 4) == (summary["ok"], summary["failed"], summary["lost"])
    assert ["s-round-1", "s-round-2"] == sorted(p.name for p in (tmp_path / "kept").iterdir())


def test_a_control_that_loses_is_good(tmp_path: Path) -> None:
    summary, _ = run_rounds(tmp_path, checked(2), count=0, controls=["sync-disabled"])

    assert summary["ok"]


def test_the_kinds_take_turns_and_the_controls_come_last() -> None:
    planned = plan_rounds(7, ["sync-disabled"], random.Random(1))

    assert [*KINDS, *KINDS[:2], CONTROLS["sync-disabled"]] == [one.kind for one in planned]
    assert len({one.cut.after_acks for one in planned}) > 4
