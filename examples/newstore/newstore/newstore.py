"""NewStorage: objects as files below one directory, with some space always kept free."""

from __future__ import annotations

import io
import os
import re
import uuid
from collections.abc import Mapping
from typing import Any

from modules import StorageModule
from modules.context import Context, content_length
from modules.durable import durable_file, fsync_directory, make_directories
from modules.errors import ConfigurationError, InvalidModuleData, NoSpace, translated_oserror
from modules.streams import SupportsRead, copy

_MODULE_DATA = re.compile(r"[0-9a-f]{32}")


class NewStorage(StorageModule):
    """Objects as files ``<storage_dir>/ab/abcd....obj``; all state is in the file system.

    Args:
        storage_dir: absolute path of a directory; created when it is absent.
        reserve_bytes: a put fails rather than leave less than this free.
    """

    def __init__(self, storage_dir: str, reserve_bytes: int = 0) -> None:
        if not isinstance(storage_dir, str) or not os.path.isabs(storage_dir):
            raise ConfigurationError("must be an absolute path", field="storage_dir")
        if isinstance(reserve_bytes, bool) or not isinstance(reserve_bytes, int):
            raise ConfigurationError("must be a whole number", field="reserve_bytes")
        if reserve_bytes < 0:
            raise ConfigurationError("must be 0 or more", field="reserve_bytes")
        self._root = storage_dir
        self._reserve_bytes = reserve_bytes
        with translated_oserror(operation="create directory", subject=storage_dir):
            make_directories(storage_dir)

    def available(self, context: Context, module_data: str) -> bool:
        if not _MODULE_DATA.fullmatch(module_data):
            return False
        return os.access(self._path(module_data), os.R_OK)

    def put(self, context: Context, stream: SupportsRead) -> str:
        expected_bytes = content_length(context)
        module_data = uuid.uuid4().hex
        path = self._path(module_data)
        with translated_oserror(operation="put object", subject=module_data):
            make_directories(os.path.dirname(path))
            with durable_file(path) as file:
                copy(
                    stream,
                    file.write,
                    expected_bytes=expected_bytes,
                    before_block=self._check_reserve,
                )
        return module_data

    def get_read_stream(self, context: Context, module_data: str) -> io.FileIO:
        path = self._path(module_data)
        with translated_oserror(operation="get object", subject=module_data):
            return io.FileIO(path, "rb")

    def delete(self, context: Context, module_data: str) -> None:
        path = self._path(module_data)
        with translated_oserror(operation="delete object", subject=module_data):
            try:
                os.unlink(path)
            except FileNotFoundError:
                return
            fsync_directory(os.path.dirname(path))

    def statistics(self, context: Context) -> dict[str, Any]:
        total, free = self._space()
        free = max(0, free - self._reserve_bytes)
        return {"capacity": {"total": total, "free": free, "used": total - free}}

    def capabilities(self, context: Context) -> Mapping[str, Any]:
        return {}

    def _path(self, module_data: str) -> str:
        if not _MODULE_DATA.fullmatch(module_data):
            raise InvalidModuleData("not one of this module's", subject=repr(module_data)[:80])
        return os.path.join(self._root, module_data[:2], f"{module_data}.obj")

    def _space(self) -> tuple[int, int]:
        """Return what the file system holds for users and what is left, in bytes."""
        with translated_oserror(operation="read statistics", subject=self._root):
            fs = os.statvfs(self._root)
        used = fs.f_frsize * (fs.f_blocks - fs.f_bfree)
        free = fs.f_frsize * fs.f_bavail
        return used + free, free

    def _check_reserve(self, _written_bytes: int, block_bytes: int) -> None:
        if self._space()[1] - block_bytes < self._reserve_bytes:
            raise NoSpace(
                f"less than {self._reserve_bytes} bytes would be left free",
                operation="put object",
                subject=self._root,
                hint="delete objects, enlarge the file system, or lower reserve_bytes",
            )
