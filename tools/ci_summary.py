"""Sum up junit files: every skip with its reason, then one line `N passed, N failed, N skipped`.

usage: ci_summary.py [--allow FILE] [--failed-stage NAME]... NAME=JUNIT.XML...

Exits 1 when a test failed, when a suite's file is missing or holds no test that ran, when a stage
failed, or when a skip is not allowed. FILE has a regular expression a line, matched against
`test: reason`; what follows ` # ` says why that skip is right.
"""

from __future__ import annotations

import argparse
import re
import sys
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Tally:
    """What one or several suites came to."""

    passed: int = 0
    failed: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)


def read_suite(path: Path) -> Tally:
    """Return the tally of one junit file. A test with any failure or error counts as failed once.

    Raises:
        OSError, ET.ParseError: the run did not get as far as writing it.
    """
    outcome: dict[str, tuple[str, str]] = {}
    for case in ET.parse(path).iter("testcase"):  # noqa: S314 - written by our own pytest
        name = f"{case.get('classname', '')}::{case.get('name', '')}"
        skip = case.find("skipped")
        if case.find("failure") is not None or case.find("error") is not None:
            outcome[name] = ("failed", "")
        elif skip is not None and name not in outcome:
            outcome[name] = ("skipped", skip.get("message", "no reason given"))
        else:
            outcome.setdefault(name, ("passed", ""))
    tally = Tally()
    for name, (result, reason) in outcome.items():
        if result == "passed":
            tally.passed += 1
        elif result == "failed":
            tally.failed.append(name)
        else:
            tally.skipped.append(f"{name}: {reason}")
    return tally


def read_allowed(path: Path | None) -> list[re.Pattern[str]]:
    """Return the patterns of the skips that are expected."""
    if path is None:
        return []
    lines = (line.split(" # ")[0].strip() for line in path.read_text().splitlines())
    return [re.compile(line) for line in lines if line and not line.startswith("#")]


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--allow", type=Path, metavar="FILE")
    parser.add_argument("--failed-stage", action="append", default=[], metavar="NAME")
    parser.add_argument("suites", nargs="+", metavar="NAME=JUNIT.XML")
    options = parser.parse_args(argv)
    allowed = read_allowed(options.allow)
    total = Tally(failed=[f"stage {name}" for name in options.failed_stage])
    for suite in options.suites:
        name, _, file = suite.partition("=")
        try:
            tally = read_suite(Path(file))
        except (OSError, ET.ParseError) as error:
            total.failed.append(f"suite {name} did not run: {error}")
            continue
        counts = f"{tally.passed} passed, {len(tally.failed)} failed, {len(tally.skipped)} skipped"
        print(f"suite {name}: {counts}")
        if not tally.passed and not tally.failed:
            total.failed.append(f"suite {name} ran no test")
        total.passed += tally.passed
        total.failed += [f"{name}: {test}" for test in tally.failed]
        for skip in tally.skipped:
            total.skipped.append(skip)
            is_allowed = any(pattern.search(skip) for pattern in allowed)
            print(f"skipped{'' if is_allowed else ' but not expected'}: {name}: {skip}")
            if not is_allowed:
                total.failed.append(f"{name}: unexpected skip of {skip}")
    for failure in total.failed:
        print(f"FAILED {failure}")
    print(f"{total.passed} passed, {len(total.failed)} failed, {len(total.skipped)} skipped")
    return 1 if total.failed else 0


if __name__ == "__main__":
    sys.exit(main())
