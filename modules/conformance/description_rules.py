"""Rules about what a module says of itself, and about the context it is given."""

from __future__ import annotations

import contextlib
import copy
import json
from collections.abc import Mapping
from typing import Any

from modules.conformance.base import SuiteBase
from modules.conformance.cdmi_names import CDMI_CAPABILITIES
from modules.conformance.payload import pattern, read_exactly
from modules.conformance.rule import rule
from modules.errors import ConfigurationError, ModuleLoadError


class DescriptionRules(SuiteBase):
    """Arguments, statistics, capabilities and contexts."""

    @rule("module.arguments", "the constructor takes its arguments and refuses others")
    def test_module_arguments(self) -> None:
        spec = self.store.spec
        self.store.spec.load()
        wrong = {**spec.args, "no_such_argument": "x"}
        try:
            type(spec)(spec.name, wrong, spec.python_path).load()
        except ModuleLoadError:
            return
        self.require(
            False,
            "the constructor took an argument no_such_argument: a misspelt one would go unnoticed",
        )

    @rule("statistics.shape", "statistics has capacity with total, free and used, whole numbers")
    def test_statistics_shape(self) -> None:
        statistics: Any = self.store.module.statistics(self.store.context())
        kind = type(statistics).__name__
        self.require(isinstance(statistics, dict), f"statistics must return a dict, not {kind}")
        capacity = statistics.get("capacity")
        self.require(isinstance(capacity, dict), f"statistics()['capacity'] is {capacity!r}")
        for key in ("total", "free", "used"):
            number = capacity.get(key)
            self.require(
                type(number) is int, f"capacity[{key!r}] must be a number of bytes, not {number!r}"
            )
        self._json("statistics()", statistics)

    @rule("statistics.values", "the numbers are not negative, and free and used fit into the total")
    def test_statistics_values(self) -> None:
        capacity = self.store.module.statistics(self.store.context()).get("capacity", {})
        try:
            total, free, used = (int(capacity[key]) for key in ("total", "free", "used"))
        except (KeyError, TypeError, ValueError):
            self.skipTest("there are no such numbers, see statistics.shape")
        numbers = f"total {total}, free {free}, used {used}"
        self.require(min(total, free, used) >= 0, f"a number is negative: {numbers}")
        self.require(
            free + used <= total + total // 100,
            f"free and used are more than the total: {numbers}",
        )

    @rule("capabilities.json", "capabilities is a JSON object")
    def test_capabilities_json(self) -> None:
        capabilities: Any = self.store.module.capabilities(self.store.context())
        kind = type(capabilities).__name__
        self.require(
            isinstance(capabilities, Mapping), f"capabilities must return a dict, not {kind}"
        )
        self._json("capabilities()", dict(capabilities))

    def _json(self, what: str, value: Any) -> None:
        try:
            again = json.loads(json.dumps(value, allow_nan=False))
        except (TypeError, ValueError) as error:
            self.broken(f"{what} cannot be written as JSON", error)
        self.require(
            again == value, f"{what} changes when written as JSON and read: {value!r:.200}"
        )

    @rule("capabilities.cdmi", "cdmi_ names exist in CDMI 2.0, with text or arrays of text")
    def test_capabilities_cdmi(self) -> None:
        for name, value in self._capabilities().items():
            if not isinstance(name, str) or not name.startswith("cdmi_"):
                continue  # a vendor's own, of any shape
            self.require(
                name in CDMI_CAPABILITIES,
                f"{name} is no capability of CDMI 2.0; your own names must not start with cdmi_",
            )
            items = value if isinstance(value, list) else [value]
            self.require(
                all(isinstance(item, str) for item in items),
                f"{name} must be text or an array of text (numbers and booleans too: 'true'), "
                f"not {value!r:.100}",
            )

    def _capabilities(self) -> dict[Any, Any]:
        capabilities: Any = self.store.module.capabilities(self.store.context())
        if not isinstance(capabilities, Mapping):
            self.skipTest("capabilities is no JSON object, see capabilities.json")
        return dict(capabilities)

    @rule("context.bare", "everything works with {} and with the original SDK's context")
    def test_context_bare(self) -> None:
        contexts: list[dict[str, Any]] = [{}, {"func": {}}, self.store.modules.context({})]
        for context in contexts:
            try:
                self._whole_life(context)
            except ConfigurationError as error:
                if not (self.store.spec.inner and "getModule" not in context.get("func", {})):
                    self.broken(f"with the context {context}", error)
            except Exception as error:
                self.broken(f"with the context {context}", error)

    @rule("context.unknown-keys", "keys that a module does not know do no harm")
    def test_context_unknown_keys(self) -> None:
        self._whole_life(self.store.context(**{"x-later": {"a": [1]}, "user": "alice"}))

    @rule("context.unchanged", "a module does not change the context")
    def test_context_unchanged(self) -> None:
        context = self.store.context()
        before = copy.copy(context)
        self._whole_life(context)
        self.require(context == before, f"the context was {before} and became {context}")

    def _whole_life(self, context: dict[str, Any]) -> None:
        module = self.store.module
        module_data = self.store.put("life", 1000, context=context)
        self.require(module.available(context, module_data), "available does not know the object")
        with contextlib.closing(module.get_read_stream(context, module_data)) as stream:
            self.require(
                read_exactly(stream, 1001) == pattern("life", 1000), "other bytes came back"
            )
        module.statistics(context)
        module.capabilities(context)
        self.store.delete(module_data, context=context)
