"""Rules about a put that fails: it says so, and nothing of it stays or is ever seen."""

from __future__ import annotations

import contextlib
import os
import unittest
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any, Final

from modules.conformance.base import SuiteBase
from modules.conformance.payload import Source
from modules.conformance.rule import rule
from modules.errors import TruncatedStream
from modules.extensions import SupportsSweep

_SIZE: Final = 200_000
_HALF: Final = 100_000


class _ClientGoneError(OSError):
    """What a stream raises when the sender is gone."""


def _stem(path: str) -> str:
    return os.path.splitext(os.path.basename(path))[0]


def _other_object(module_data: str, path: str, name_of: Callable[[str], str], other: str) -> str:
    """Return the module_data of the object in file *other*, by the example of one in *path*."""
    return module_data.replace(name_of(path), name_of(other))


class FailedPutRules(SuiteBase):
    """What must hold when a stream or its length is wrong."""

    @rule("put.stream-error", "put fails when reading its stream fails")
    def test_put_stream_error(self) -> None:
        for error in (_ClientGoneError("the client went away"), RuntimeError("broken source")):
            for fail_at in (0, _HALF):
                source = Source("error", _SIZE, fail_at=fail_at, error=error)
                returned = self._failing_put(self.store.context(content_length=_SIZE), source)
                self.require(
                    isinstance(returned, Exception),
                    f"the stream raised after {fail_at} bytes, but put returned {returned!r}",
                )

    @rule("put.truncated-stream", "put refuses a stream shorter than content_length")
    def test_put_truncated_stream(self) -> None:
        self._wrong_length("ends after", _HALF, claimed=_SIZE)

    @rule("put.overlong-stream", "put refuses a stream longer than content_length")
    def test_put_overlong_stream(self) -> None:
        self._wrong_length("goes on to", _SIZE, claimed=_HALF)

    def _wrong_length(self, verb: str, delivered: int, *, claimed: int) -> None:
        context = self.store.context(content_length=claimed)
        returned = self._failing_put(context, Source("length", delivered))
        self.require(
            isinstance(returned, Exception),
            f"context['content_length'] is {claimed}, the stream {verb} {delivered} bytes, but "
            f"put returned {returned!r}",
        )
        self.require(
            isinstance(returned, TruncatedStream),
            f"must raise modules.errors.TruncatedStream, not {type(returned).__name__}: {returned}",
        )

    @rule("put.nothing-left", "a failed put leaves nothing behind")
    def test_put_nothing_left(self) -> None:
        self._check_visibility()
        failures: dict[str, Callable[[], object]] = {
            "whose stream raised half-way": self._put_with_error,
            "whose stream raised at once": lambda: self._put_with_error(fail_at=0),
            "whose stream ended too soon": self._put_truncated,
        }
        for what, fail in failures.items():
            before = self._everything()
            fail()
            left = sorted(self._everything() - before)
            self.require(not left, f"a put {what} left behind: {', '.join(left[:5])}")

    @rule("put.invisible-until-complete", "an object cannot be seen before its put returns")
    def test_put_invisible_until_complete(self) -> None:
        rename = self._name_of_new_file()
        seen: list[str] = []
        before = self.store.stored() or frozenset()

        def look() -> None:
            for path in (self.store.stored() or frozenset()) - before:
                candidate = rename(path)
                with contextlib.suppress(Exception):  # available.malformed has it
                    if self.store.module.available(self.store.context(), candidate):
                        seen.append(candidate)

        source = Source("pause", _SIZE, pause_at=_HALF, pause=look)
        self.store.remember(self.store.module.put(self.store.context(), source))
        self.note("looked at its files half-way through a put")
        self.require(
            not seen,
            f"half-way through a put, available({', '.join(map(repr, seen))}) was True already: "
            "write under a temporary name and rename at the end",
        )

    def _name_of_new_file(self) -> Callable[[str], str]:
        """Return how this module's module_data follows from the file that holds an object."""
        before = self.store.stored()
        module_data = self.put("template")
        after = self.store.stored()
        if before is None or after is None:
            self.skipTest("where the module keeps its data cannot be seen from here")
        for path in sorted(after - before):
            for name_of in (os.path.basename, _stem):
                if name_of(path) in module_data:
                    return partial(_other_object, module_data, path, name_of)
        raise unittest.SkipTest("no file is named in its module_data, so none can be guessed")

    def _check_visibility(self) -> None:
        """Skip unless an object that is stored shows in :meth:`_everything`."""
        before = self.store.stored()
        self.put("visible")
        sees_files = before is not None and self.store.stored() != before
        sweeps = self._unreferenced() is not None
        if not sees_files and not sweeps:
            self.skipTest(
                "what the module keeps cannot be seen from here: override storage_paths or "
                "stored_files, or offer sweep"
            )
        ways = ["its files"] * sees_files + ["its own sweep"] * sweeps
        self.note(f"looked at {' and '.join(ways)}")

    def _everything(self) -> frozenset[str]:
        """Return a name for all that is stored, by its files and by the module's own sweep."""
        return (self.store.stored() or frozenset()) | (self._unreferenced() or frozenset())

    def _unreferenced(self) -> frozenset[str] | None:
        module: Any = self.store.module
        if not isinstance(module, SupportsSweep):
            return None
        live = sorted(self.store.objects.get(self.store.bucket, ()))
        report = module.sweep(self.store.context(), live, older_than=timedelta(0))
        return frozenset(f"{name} (found by sweep)" for name in report.unreferenced)

    def _put_with_error(self, fail_at: int = _HALF) -> None:
        source = Source("left", _SIZE, fail_at=fail_at, error=_ClientGoneError("gone"))
        self._failing_put(self.store.context(content_length=_SIZE), source)

    def _put_truncated(self) -> None:
        self._failing_put(self.store.context(content_length=_SIZE), Source("left", _HALF))

    def _failing_put(self, context: dict[str, Any], source: Source) -> object:
        """Return what put raised or, when it wrongly worked, its module_data, deleted again."""
        try:
            module_data = self.store.module.put(context, source)
        except Exception as error:  # any will do; the rules about errors look closer
            return error
        self.store.module.delete(self.store.context(), module_data)
        return module_data
