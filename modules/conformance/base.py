"""What every part of the suite stands on: the settings of a subclass and the store under test."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import unittest
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

from modules import StorageModule
from modules.conformance.observe import files_below
from modules.conformance.scale import FULL, Scale
from modules.conformance.spec import ModuleSpec
from modules.conformance.store import Store
from modules.streams import ReadStream

if TYPE_CHECKING:
    _Case = unittest.TestCase
else:
    _Case = object  # a mixin: no runner collects it, nor a part of it, by itself


class SuiteBase(_Case):
    """The settings. A subclass sets ``module`` and, as a rule, overrides :meth:`arguments`."""

    module: ClassVar[str | type[StorageModule]]
    """The class under test: package.module.Class, or the class itself."""

    python_path: ClassVar[Sequence[str]] = ()
    """Absolute paths of folders, eggs or wheels to import it from."""

    exclusive: ClassVar[bool] = True
    """True: the store is the suite's alone, so that it may be swept and its files compared."""

    scale: ClassVar[Scale] = FULL
    """How large is large, and how many are many."""

    store: ClassVar[Store]
    notes: str = ""
    shared: ClassVar[dict[str, str]]  # module_data of objects that several rules read

    @classmethod
    def arguments(cls, directory: str) -> Mapping[str, Any]:
        """Return the constructor's arguments, JSON values; *directory* is new and empty."""
        return {}

    @classmethod
    def inner_modules(cls, directory: str) -> Mapping[str, ModuleSpec]:
        """For a wrapper: return the modules it finds through ``getModule``, by name."""
        return {}

    @classmethod
    def storage_paths(cls, directory: str) -> Sequence[str]:
        """Return the directories in which the module keeps its files, to look for leftovers."""
        return [directory]

    @classmethod
    def stored_files(cls) -> Iterable[str] | None:
        """Return a name for everything the module keeps now; None when that cannot be seen.

        Override it for what is no file: rows, or keys in a remote store.
        """
        return files_below(cls.storage_paths(cls.store.directory))

    @classmethod
    def make_spec(cls, directory: str) -> ModuleSpec:
        """Return how the module is made, from the settings above."""
        name = cls.module
        return ModuleSpec(
            name=name if isinstance(name, str) else f"{name.__module__}.{name.__qualname__}",
            args=cls.arguments(directory),
            python_path=tuple(cls.python_path),
            inner=cls.inner_modules(directory),
        )

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.shared = {}
        directory = os.path.realpath(tempfile.mkdtemp(prefix="conformance-"))
        try:
            spec = cls.make_spec(directory)
            cls.store = Store(spec, directory=directory, list_files=lambda: cls.stored_files())
        except BaseException:
            shutil.rmtree(directory, ignore_errors=True)
            raise

    @classmethod
    def tearDownClass(cls) -> None:
        cls.store.close()
        super().tearDownClass()

    def require(self, condition: object, reason: str) -> None:
        """Fail with *reason* unless *condition* holds."""
        if not condition:
            raise self.failureException(reason)

    def note(self, text: str) -> None:
        """Say what was looked at; a report shows it beside the rule that passed."""
        self.notes = text

    def broken(self, reason: str, error: BaseException) -> NoReturn:
        """Fail because the module raised what it must not."""
        raise self.failureException(f"{reason}: {type(error).__name__}: {error}") from error

    def put(self, seed: str, size: int = 1024) -> str:
        """Store the pattern of *seed* and return a module_data that is text."""
        module_data: object = self.store.put(seed, size)
        if not isinstance(module_data, str):
            self.skipTest(f"put returned {type(module_data).__name__}, see put.module-data")
        return module_data

    def get(self, module_data: str) -> ReadStream:
        """Return a stream that is closed at the end of the test."""
        stream = self.store.module.get_read_stream(self.store.context(), module_data)
        self.addCleanup(_close, stream)
        return stream


def _close(stream: ReadStream) -> None:
    with contextlib.suppress(Exception):  # close has rules of its own
        stream.close()
