"""Rules about module_data on its way in: absent, malformed, forged; and about delete."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from typing import Any, Final

from modules.conformance.base import SuiteBase
from modules.conformance.hostile import MALFORMED, corrupted, forgeries
from modules.conformance.payload import pattern, read_exactly
from modules.conformance.rule import rule
from modules.errors import InvalidModuleData, ObjectNotFound, StorageError

_CANARY: Final = b"the content of a file outside the store"


def _short(text: str) -> str:
    """Return *text* quoted, cut to a length that fits on a line."""
    return repr(text) if len(text) <= 60 else f"{text[:40]!r}... ({len(text)} characters)"


class IdentityRules(SuiteBase):
    """What must hold for any string that claims to be a module_data."""

    @rule("available.present", "available is True for an object and False once it is deleted")
    def test_available_present(self) -> None:
        module_data = self.put("available")
        for expected, when in ((True, "after put"), (False, "after delete")):
            found: Any = self.store.module.available(self.store.context(), module_data)
            self.require(
                found is expected, f"{when}, available must return {expected}, not {found!r}"
            )
            if expected:
                self.store.delete(module_data)

    @rule("available.malformed", "available is False for any other string, and never raises")
    def test_available_malformed(self) -> None:
        for text in self._malformed():
            try:
                found: Any = self.store.module.available(self.store.context(), text)
            except Exception as error:
                self.broken(f"available({_short(text)}) must return False", error)
            self.require(
                found is False, f"available({_short(text)}) must return False, not {found!r}"
            )

    def _malformed(self) -> list[str]:
        module_data = self.put("malformed")
        forged = forgeries(module_data, "/nonexistent/canary")
        return [*MALFORMED, *corrupted(module_data), *forged]

    @rule("available.contained", "available looks at nothing outside the store")
    def test_available_contained(self) -> None:
        with self._canary() as path:
            for text in forgeries(self.put("contained"), path):
                found: Any = None
                with contextlib.suppress(Exception):  # available.malformed has it
                    found = self.store.module.available(self.store.context(), text)
                self.require(not found, f"available({_short(text)}) found a file outside the store")

    @rule("get.absent", "get of a deleted object raises ObjectNotFound")
    def test_get_absent(self) -> None:
        module_data = self.put("absent")
        self.store.delete(module_data)
        try:
            self.store.module.get_read_stream(self.store.context(), module_data).close()
        except ObjectNotFound:
            return
        except Exception as error:
            self.broken("must raise modules.errors.ObjectNotFound", error)
        self.require(False, "a deleted object can still be read")

    @rule("get.malformed", "get of a malformed module_data raises InvalidModuleData")
    def test_get_malformed(self) -> None:
        for text in self._malformed():
            call = f"get_read_stream({_short(text)})"
            try:
                stream = self.store.module.get_read_stream(self.store.context(), text)
            except (InvalidModuleData, ObjectNotFound):
                continue
            except Exception as error:
                self.broken(f"{call} must raise modules.errors.InvalidModuleData", error)
            with contextlib.closing(stream):
                self.require(False, f"{call} must raise InvalidModuleData; it returned a stream")

    @rule("get.contained", "get opens nothing outside the store")
    def test_get_contained(self) -> None:
        with self._canary() as path:
            for text in forgeries(self.put("contained"), path):
                found = b""
                with (
                    contextlib.suppress(Exception),  # get.malformed has it
                    contextlib.closing(
                        self.store.module.get_read_stream(self.store.context(), text)
                    ) as stream,
                ):
                    found = stream.read(100)
                self.require(
                    not found, f"get_read_stream({_short(text)}) read a file outside the store"
                )

    @rule("delete.result", "delete returns None")
    def test_delete_result(self) -> None:
        module_data = self.put("delete")
        module: Any = self.store.module
        found = module.delete(self.store.context(), module_data)
        self.require(found is None, f"delete must return None, not {found!r}")

    @rule("delete.idempotent", "deleting an absent object is silent")
    def test_delete_idempotent(self) -> None:
        module_data = self.put("twice")
        self.store.delete(module_data)
        try:
            self.store.module.delete(self.store.context(), module_data)
        except Exception as error:
            self.broken("deleting the same object again must do nothing", error)

    @rule("delete.open-reader", "an open reader keeps reading after a delete")
    def test_delete_open_reader(self) -> None:
        size = 300_000
        module_data = self.put("open reader", size)
        stream = self.get(module_data)
        found = read_exactly(stream, 1000)
        self.store.delete(module_data)
        try:
            found += read_exactly(stream, size)
        except StorageError:
            return  # a clean refusal: a remote service may have no other choice
        except Exception as error:
            self.broken("reading on must work, or raise an error of modules.errors", error)
        self.require(found == pattern("open reader", size), "reading on gave wrong bytes")

    @rule("delete.malformed", "delete of a malformed module_data removes nothing")
    def test_delete_malformed(self) -> None:
        module_data = self.put("malformed")
        for text in [*self._malformed(), *corrupted(module_data)]:
            call = f"delete({_short(text)})"
            try:
                self.store.module.delete(self.store.context(), text)
            except (InvalidModuleData, ObjectNotFound):
                pass
            except Exception as error:
                self.broken(f"{call} may only raise modules.errors.InvalidModuleData", error)
            found = self.store.module.available(self.store.context(), module_data)
            self.require(found, f"{call} deleted the object {module_data!r}")

    @rule("delete.contained", "delete removes nothing outside the store")
    def test_delete_contained(self) -> None:
        with self._canary() as path:
            for text in forgeries(self.put("contained"), path):
                with contextlib.suppress(Exception):  # delete.malformed has it
                    self.store.module.delete(self.store.context(), text)
                self.require(os.path.exists(path), f"delete({_short(text)}) removed a file outside")

    @contextlib.contextmanager
    def _canary(self) -> Iterator[str]:
        """Give a file outside the store that nothing may touch."""
        with tempfile.TemporaryDirectory(prefix="outside-") as directory:
            path = os.path.join(os.path.realpath(directory), "canary")
            with open(path, "wb") as file:
                file.write(_CANARY)
            yield path
