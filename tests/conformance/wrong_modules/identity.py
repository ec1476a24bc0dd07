"""Modules that are wrong about module_data or delete; each class breaks the one rule it names."""

from __future__ import annotations

import io
import os
from typing import Any

from modules.context import Context
from modules.errors import InvalidModuleData, ObjectNotFound
from simple.simple import SimpleStorage


class TruthyAvailable(SimpleStorage):
    """Returns what happened to be there, not a bool."""

    breaks = "available.present"

    def available(self, context: Context, module_data: str) -> Any:
        return 1 if super().available(context, module_data) else False


class AvailableRaises(SimpleStorage):
    breaks = "available.malformed"

    def available(self, context: Context, module_data: str) -> bool:
        self._path(module_data)
        return super().available(context, module_data)


def _escapes(directory: str, module_data: str) -> str | None:
    """Return the path that an unchecked join gives, when it lies outside and exists."""
    path = os.path.join(directory, module_data)
    outside = not os.path.realpath(path.replace("\0", "")).startswith(directory)
    return path if "\0" not in path and outside and os.path.isfile(path) else None


class AvailableLooksOutside(SimpleStorage):
    breaks = "available.contained"

    def available(self, context: Context, module_data: str) -> bool:
        if len(module_data) < 4000 and module_data.isascii():
            return bool(_escapes(self._directory, module_data)) or super().available(
                context, module_data
            )
        return super().available(context, module_data)


class AbsentIsMalformed(SimpleStorage):
    """Has one error for both."""

    breaks = "get.absent"

    def get_read_stream(self, context: Context, module_data: str) -> io.FileIO:
        try:
            return super().get_read_stream(context, module_data)
        except ObjectNotFound as error:
            raise InvalidModuleData(error.reason) from error


class MalformedIsAKeyError(SimpleStorage):
    breaks = "get.malformed"

    def get_read_stream(self, context: Context, module_data: str) -> io.FileIO:
        try:
            return super().get_read_stream(context, module_data)
        except InvalidModuleData:
            raise KeyError(module_data) from None


class ReadsOutside(SimpleStorage):
    breaks = "get.contained"

    def get_read_stream(self, context: Context, module_data: str) -> io.FileIO:
        if len(module_data) < 4000 and module_data.isascii():
            path = _escapes(self._directory, module_data)
            if path:
                return io.FileIO(path)
        return super().get_read_stream(context, module_data)


class DeleteReturns(SimpleStorage):
    breaks = "delete.result"

    def delete(self, context: Context, module_data: str) -> Any:
        super().delete(context, module_data)
        return True


class DeletesOnce(SimpleStorage):
    breaks = "delete.idempotent"

    def delete(self, context: Context, module_data: str) -> None:
        if not os.path.exists(self._path(module_data)):
            raise ObjectNotFound("deleted already")
        super().delete(context, module_data)


class ErasesUnderReaders(SimpleStorage):
    """Overwrites before it unlinks."""

    breaks = "delete.open-reader"

    def delete(self, context: Context, module_data: str) -> None:
        path = self._path(module_data)
        if os.path.exists(path):
            os.chmod(path, 0o644)
            os.truncate(path, 0)
        super().delete(context, module_data)


class DeleteIsLenient(SimpleStorage):
    """Strips white space from what it is to delete."""

    breaks = "delete.malformed"

    def delete(self, context: Context, module_data: str) -> None:
        super().delete(context, module_data.strip())


class DeletesOutside(SimpleStorage):
    breaks = "delete.contained"

    def delete(self, context: Context, module_data: str) -> None:
        if len(module_data) < 4000 and module_data.isascii():
            path = _escapes(self._directory, module_data)
            if path:
                os.unlink(path)
                return
        super().delete(context, module_data)
