"""Exports as one durable file for each volume, which exportfs reads.

Source: exports(5), exportfs(8) of nfs-utils 2.6.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Final

from modules.durable import durable_file, fsync_directory, make_directories
from modules.errors import StorageError, translated_oserror
from zfsstore.exports.base import DEFAULT_OPTIONS, Export, Run, flush_kernel, logged
from zfsstore.exports.rules import (
    check_clients,
    check_export_options,
    check_export_path,
    check_fsid,
    safe_file_name,
)

DEFAULT_DIRECTORY: Final = "/etc/exports.d"
PREFIX: Final = "trident_"
SUFFIX: Final = ".exports"

_log = logging.getLogger(__name__)


class FileExports:
    """One file for each exported volume, ``trident_<name>.exports``, and ``exportfs -r``.

    Args:
        run: runs a command on the machine that has the directory.
        clients: who may mount: hosts, addresses, networks, "@netgroup", "*.example.org". Nobody
            when empty; then nothing is exported.
        options: for all of them; ``fsid`` is added.
        directory: which exportfs reads. Created when there is something to write.

    Raises:
        InvalidArgument: a client or an option is none.
    """

    def __init__(
        self,
        run: Run,
        clients: Sequence[str],
        *,
        options: Sequence[str] = DEFAULT_OPTIONS,
        directory: str = DEFAULT_DIRECTORY,
    ) -> None:
        self._run = run
        self._clients = check_clients(clients)
        self._options = check_export_options(options)
        self._directory = directory

    def export(self, export: Export) -> None:
        """Write the volume's file, durably, and export what it says.

        Raises:
            InvalidArgument: the path cannot stand in an exports file.
            StorageError: it is not exported; the file is as it was.
        """
        if not self._clients or not safe_file_name(export.name):
            return
        content = self._content(export)
        before = self._read(export)
        if before != content:
            self._write(export, content)
        try:
            self._run(["exportfs", "-r"], "export volume", export.name)
        except StorageError as error:
            if self._is_listed(export.path):
                _log.warning("exportfs complains about another export: %s", error)
                return
            self._restore(export, before)
            raise

    @contextmanager
    def withdrawn(self, export: Export) -> Iterator[None]:
        """Remove the volume's file and export inside the block; put them back when it fails.

        Raises:
            StorageError: it is exported still; the block did not run.
        """
        before = self._read(export)
        self._remove(export)
        try:
            self._refresh_without(export, was_exported=before is not None)
            yield
        except BaseException:
            if before is not None:
                self._restore(export, before)
                with logged("export volume", export.name):
                    self._run(["exportfs", "-r"], "export volume", export.name)
            raise

    def renamed(self, export: Export, renamed: Export) -> None:
        """Give the volume's file its new name; what it says is exported all the time."""
        content = self._read(export)
        if content is not None:
            self._write(renamed, content)
            self._remove(export)

    def flush(self) -> None:
        """Let the kernel look up all exports anew, if there may be any of ours."""
        if self._clients:
            flush_kernel(self._run)

    def is_exported(self, export: Export) -> bool:
        """Return whether the volume has a file."""
        return self._read(export) is not None

    def _content(self, export: Export) -> bytes:
        path = check_export_path(export.path)
        options = ",".join((*self._options, f"fsid={check_fsid(export.fsid)}"))
        return "".join(f"{path} {client}({options})\n" for client in self._clients).encode()

    def _refresh_without(self, export: Export, *, was_exported: bool) -> None:
        try:
            self._run(["exportfs", "-r"], "withdraw export of volume", export.name)
        except StorageError as error:
            if was_exported and self._is_listed(export.path) is not False:
                raise
            _log.warning("exportfs complains: %s", error)

    def _is_listed(self, path: str) -> bool | None:
        """Return whether a path is exported by anybody, None when that cannot be found out."""
        try:
            stdout = self._run(["exportfs", "-v"], "list exports of", path)
        except StorageError:
            return None
        return any(line.split(maxsplit=1)[:1] == [path] for line in stdout.splitlines())

    def _file(self, export: Export) -> str:
        """Return the volume's file; names that differ in odd characters alone do not share one."""
        safe = safe_file_name(export.name)
        middle = safe if safe == export.name else f"{safe}.{check_fsid(export.uuid, field='uuid')}"
        return os.path.join(self._directory, f"{PREFIX}{middle}{SUFFIX}")

    def _read(self, export: Export) -> bytes | None:
        with translated_oserror(operation="read export of volume", subject=export.name):
            try:
                fd = os.open(self._file(export), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            except FileNotFoundError:
                return None
            with open(fd, "rb") as file:
                return file.read()

    def _write(self, export: Export, content: bytes) -> None:
        with translated_oserror(operation="export volume", subject=export.name):
            make_directories(self._directory)
            with durable_file(self._file(export), mode=0o644) as file:
                file.write(content)

    def _remove(self, export: Export) -> None:
        with (
            translated_oserror(operation="withdraw export of volume", subject=export.name),
            suppress(FileNotFoundError),
        ):
            os.unlink(self._file(export))
            fsync_directory(self._directory)

    def _restore(self, export: Export, content: bytes | None) -> None:
        with logged("restore export of volume", export.name):
            if content is None:
                self._remove(export)
            else:
                self._write(export, content)
