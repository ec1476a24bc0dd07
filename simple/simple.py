"""SimpleStorage: every object is one file in one directory."""

from __future__ import annotations

import io
import os
import re
import uuid
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

from modules import StorageModule
from modules.context import Context, content_length
from modules.durable import durable_file, fsync_directory, make_directories
from modules.errors import (
    ConfigurationError,
    InvalidModuleData,
    ObjectNotFound,
    Unavailable,
    from_oserror,
    translated_oserror,
)
from modules.streams import SupportsRead, copy

_MODULE_DATA: Final = re.compile(r"[0-9a-f]{32}\.dat")


class SimpleStorage(StorageModule):
    """Objects as files ``<32 hex digits>.dat``, for any number of threads and processes.

    Source: Mezeo Vendor Storage Module SDK, ``simple.simple.SimpleStorage``.

    Args:
        storage_dir: directory for the files; created when it is absent.
    """

    def __init__(self, storage_dir: str = "/tmp/storage") -> None:  # noqa: S108 - the SDK's
        if not isinstance(storage_dir, str) or not os.path.isabs(storage_dir):
            raise ConfigurationError(
                f"must be an absolute path, not {storage_dir!r}", field="storage_dir"
            )
        try:
            make_directories(storage_dir)
        except (OSError, ValueError) as error:
            raise ConfigurationError(
                str(error),
                operation="create directory",
                subject=storage_dir,
                hint="name a directory that this process may write to",
                field="storage_dir",
            ) from error
        self._directory = storage_dir

    def available(self, context: Context, module_data: str) -> bool:
        return _MODULE_DATA.fullmatch(module_data) is not None and os.access(
            os.path.join(self._directory, module_data), os.R_OK
        )

    def put(self, context: Context, stream: SupportsRead) -> str:
        module_data = f"{uuid.uuid4().hex}.dat"
        expected_bytes = content_length(context)
        path = os.path.join(self._directory, module_data)
        target = durable_file(path, is_name_secret=True)  # nobody knows it before we return it
        try:
            with translated_oserror(operation="put object", subject=module_data), target as file:
                copy(stream, file.write, expected_bytes=expected_bytes)
        except ObjectNotFound:
            self._check_directory("put object")
            raise
        return module_data

    def get_read_stream(self, context: Context, module_data: str) -> io.FileIO:
        path = self._path(module_data)
        try:
            return io.FileIO(path, "rb")
        except OSError as error:
            raise from_oserror(error, operation="get object", subject=module_data) from error

    def delete(self, context: Context, module_data: str) -> None:
        path = self._path(module_data)
        with (
            translated_oserror(operation="delete object", subject=module_data),
            suppress(FileNotFoundError),
        ):
            os.unlink(path)
            fsync_directory(self._directory)

    def statistics(self, context: Context) -> dict[str, Any]:
        """Return the file system's numbers; ``total`` leaves out what is reserved for root."""
        self._check_directory("read statistics")
        with translated_oserror(operation="read statistics", subject=self._directory):
            fs = os.statvfs(self._directory)
        used = fs.f_frsize * (fs.f_blocks - fs.f_bfree)
        free = fs.f_frsize * fs.f_bavail
        return {"capacity": {"total": used + free, "free": free, "used": used}}

    def capabilities(self, context: Context) -> Mapping[str, Any]:
        return {}

    def _path(self, module_data: str) -> str:
        """Return where an object lies; only a name that ``put`` can have made is ever opened."""
        if not _MODULE_DATA.fullmatch(module_data):
            raise InvalidModuleData("not one of this module's", subject=repr(module_data)[:80])
        return f"{self._directory}/{module_data}"

    def _check_directory(self, operation: str) -> None:
        """Tell a missing directory, such as one not mounted, from a missing object."""
        if not os.path.isdir(self._directory):
            raise Unavailable(
                "the directory is not there",
                operation=operation,
                subject=self._directory,
                hint="is its file system mounted?",
            )
