"""The suite without any code: a class name and JSON arguments in, a report out."""

from __future__ import annotations

import os
import traceback
import unittest
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

from modules.conformance.rule import Rule, rules_of
from modules.conformance.scale import FULL, Scale
from modules.conformance.spec import Modules, ModuleSpec
from modules.conformance.suite import StorageModuleSuite
from modules.errors import InvalidArgument

Outcome = Literal["passed", "failed", "skipped"]
_OWN_DIRECTORY: Final = os.path.dirname(__file__)


@dataclass(frozen=True, slots=True)
class RuleResult:
    """What became of one rule.

    Attributes:
        reason: why it failed or was skipped; if it passed, what was looked at, or "".
    """

    rule: str
    title: str
    outcome: Outcome
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """What became of every rule, in the suite's order."""

    module: str
    results: tuple[RuleResult, ...]
    scale: Scale = FULL

    @property
    def ok(self) -> bool:
        """True when at least one rule passed and none failed."""
        outcomes = {result.outcome for result in self.results}
        return "passed" in outcomes and "failed" not in outcomes

    def count(self, outcome: Outcome) -> int:
        """Return how many rules had this outcome."""
        return sum(result.outcome == outcome for result in self.results)

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON object."""
        return {
            "module": self.module,
            "ok": self.ok,
            "passed": self.count("passed"),
            "failed": self.count("failed"),
            "skipped": self.count("skipped"),
            "scale": asdict(self.scale),
            "rules": [asdict(result) for result in self.results],
        }


def check_module(
    name: str,
    args: Mapping[str, Any] | None = None,
    python_path: Sequence[str] = (),
    *,
    inner: Mapping[str, ModuleSpec] | None = None,
    rules: Collection[str] | None = None,
    scale: Scale = FULL,
    exclusive: bool = False,
) -> Report:
    """Run the suite on a module as an administrator would configure it.

    Where the module offers volumes, all happens in a new tenant's bucket. Every object and volume
    that was made is deleted again (a module's trash keeps the volumes).

    Args:
        name: package.module.Class.
        args: keyword arguments of its constructor; JSON values.
        python_path: absolute paths of folders, eggs or wheels to import it from, searched first.
        inner: for a wrapper: the modules that it finds through ``getModule``.
        rules: ids of the rules to run; all when None.
        scale: how large is large, and how many are many.
        exclusive: the store holds nothing else, so that a module without volumes may be swept.

    Raises:
        modules.errors.ModuleLoadError: there is no such module, or it cannot be made.
        modules.errors.InvalidArgument: there is no such rule.
    """
    spec = ModuleSpec(name, dict(args or {}), tuple(python_path), dict(inner or {}))
    spec.load()
    Modules(spec.inner)  # these may have to make the directories
    paths = _directories(spec)

    class CheckedModule(StorageModuleSuite, unittest.TestCase):
        @classmethod
        def make_spec(cls, directory: str) -> ModuleSpec:
            return spec

        @classmethod
        def storage_paths(cls, directory: str) -> Sequence[str]:
            return paths

    CheckedModule.exclusive = exclusive
    CheckedModule.scale = scale
    chosen = _chosen(rules_of(CheckedModule), rules)
    tests = unittest.TestSuite(CheckedModule(rule.method) for rule in chosen)
    result = _Result()
    tests.run(result)
    return Report(name, tuple(result.report(rule) for rule in chosen), scale)


def format_report(report: Report) -> str:
    """Return one line for each rule and a summary."""
    width = max((len(result.rule) for result in report.results), default=0)
    lines = []
    for result in report.results:
        mark = {"passed": "ok  ", "failed": "FAIL", "skipped": "skip"}[result.outcome]
        text = f"{result.title}: {result.reason}" if result.reason else result.title
        lines.append(f"{mark}  {result.rule:<{width}}  {text}")
    lines.append(
        f"{report.module}: {report.count('passed')} passed, {report.count('failed')} failed, "
        f"{report.count('skipped')} skipped"
    )
    return "\n".join(lines)


def _directories(spec: ModuleSpec) -> list[str]:
    """Return the directories named in the arguments of a module and of what it wraps."""
    own = [value for value in spec.args.values() if _is_directory(value)]
    return own + [path for inner in spec.inner.values() for path in _directories(inner)]


def _is_directory(value: object) -> bool:
    return (
        isinstance(value, str)
        and "\0" not in value
        and os.path.isabs(value)
        and os.path.isdir(value)
    )


def _chosen(known: Sequence[Rule], ids: Collection[str] | None) -> list[Rule]:
    if ids is None:
        return list(known)
    unknown = sorted(set(ids) - {rule.id for rule in known})
    if unknown:
        raise InvalidArgument(
            f"there is no rule {', '.join(unknown)}", field="rules", hint="see docs/modules.md"
        )
    return [rule for rule in known if rule.id in ids]


class _Result(unittest.TestResult):
    """Collects one outcome for each test method."""

    def __init__(self) -> None:
        super().__init__()
        self._outcomes: dict[str, tuple[Outcome, str]] = {}
        self._setup_failure = ""

    def addSuccess(self, test: unittest.TestCase) -> None:
        self._outcomes.setdefault(_method(test), ("passed", getattr(test, "notes", "")))

    def addFailure(self, test: unittest.TestCase, err: Any) -> None:
        self._outcomes[_method(test)] = ("failed", str(err[1]))

    def addError(self, test: unittest.TestCase, err: Any) -> None:
        if isinstance(test, unittest.TestCase):
            self._outcomes[_method(test)] = ("failed", _explain(err[1]))
        else:  # unittest passes a stand-in when setUpClass or tearDownClass fails
            self._setup_failure = f"the suite could not prepare its store: {_explain(err[1])}"

    def addSkip(self, test: unittest.TestCase, reason: str) -> None:
        self._outcomes[_method(test)] = ("skipped", reason)

    def report(self, rule: Rule) -> RuleResult:
        """Return the result of *rule*."""
        outcome, reason = self._outcomes.get(rule.method, ("failed", self._setup_failure))
        return RuleResult(rule.id, rule.title, outcome, " ".join(reason.split()))


def _method(test: unittest.TestCase) -> str:
    return test.id().rpartition(".")[2]


def _explain(error: BaseException) -> str:
    """Return an unexpected error in words: what, and where in the module's own code."""
    text = f"{type(error).__name__}: {error}"
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if not frame.filename.startswith(_OWN_DIRECTORY) and frame.name != "run":
            place = f"{os.path.basename(frame.filename)} line {frame.lineno}, in {frame.name}"
            return f"{text} (raised from {place})"
    return text
