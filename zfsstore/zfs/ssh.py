"""A runner for another machine: one ssh connection for any number of commands."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import tempfile
import threading
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Self

from modules.errors import (
    ConfigurationError,
    InvalidArgument,
    PermissionDenied,
    StorageError,
    Unavailable,
)
from zfsstore.zfs import process
from zfsstore.zfs.process import Child, Drain
from zfsstore.zfs.runner import TIMEOUT_S, run_to_end
from zfsstore.zfs.seam import RunResult
from zfsstore.zfs.streams import STALL_S, ProcessReader, ProcessWriter, failed

_DESTINATION: Final = re.compile(r"(?!-)(?:[A-Za-z0-9_.][A-Za-z0-9_.-]*@)?[A-Za-z0-9_.:\[\]%-]+")
_CONNECT_S: Final = 20
_MAX_SOCKET_PATH: Final = 60  # sun_path is 108, and ssh appends a suffix while it binds
_LOST: Final = 255
_ZFS_255: Final = 254

_REMOTE: Final = (
    "PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin LC_ALL=C; export PATH LC_ALL; "
    '"$@"; status=$?; [ $status -ne 255 ] || status=254; exit $status'
)
"""255 must mean ssh's own failure, and zfs(8) ends with it, too."""

_MASTER: Final = "echo ready; exec cat"
"""Tells that the connection stands, and ends when we do: its input is a pipe that we hold."""


class SshRunner:
    """Runs commands on another machine with OpenSSH, whose configuration and agent count.

    All commands share one connection, made with the first and anew after it broke. Its socket is
    in a private directory. A command that times out is left to itself over there.

    Args:
        destination: "host" or "user@host".
        options: of ssh, before the destination: ("-p", "2222", "-i", "/root/.ssh/replication").
        prefix: put before every argv over there: ("sudo", "-n").
        timeout_s: after which we wait for a command no longer.
        stall_s: after which a stream that does not move is given up.
    """

    def __init__(
        self,
        destination: str,
        *,
        options: Sequence[str] = (),
        prefix: Sequence[str] = (),
        timeout_s: float = TIMEOUT_S,
        stall_s: float = STALL_S,
    ) -> None:
        if _DESTINATION.fullmatch(destination) is None:
            raise InvalidArgument(
                'it is neither "host" nor "user@host"',
                field="destination",
                operation="use ssh destination",
                subject=repr(destination),
            )
        self.destination = destination
        self._options = tuple(options)
        self._prefix = tuple(prefix)
        self._timeout_s = timeout_s
        self._stall_s = stall_s
        self._connection = _Connection(destination, self._options)

    def __call__(self, argv: Sequence[str]) -> RunResult:
        """Run *argv* over there to its end.

        Raises:
            CommandTimeout: it took too long; it may be running still.
            Unavailable: there is no connection, or it broke: then it may have run.
        """
        result = run_to_end(self._argv(argv), timeout_s=self._timeout_s)
        exit_code = result.get("exit_code")
        if exit_code == _LOST:
            raise self._connection.lost(result.get("stderr", ""))
        if exit_code == _ZFS_255:
            result["exit_code"] = 255
        return result

    def open_read(self, argv: Sequence[str]) -> ProcessReader:
        """Start a command over there whose output is to be read."""
        return ProcessReader(self._argv(argv), stall_s=self._stall_s, explain=self._explain)

    def open_write(self, argv: Sequence[str]) -> ProcessWriter:
        """Start a command over there whose input is to be written."""
        return ProcessWriter(self._argv(argv), stall_s=self._stall_s, explain=self._explain)

    def with_timeout(self, timeout_s: float) -> SshRunner:
        """Return a runner like this one, over the same connection, with another timeout."""
        other = SshRunner(
            self.destination,
            options=self._options,
            prefix=self._prefix,
            timeout_s=timeout_s,
            stall_s=self._stall_s,
        )
        other._connection = self._connection
        return other

    def close(self) -> None:
        """End the connection; the next command would make it anew."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _argv(self, argv: Sequence[str]) -> list[str]:
        command = shlex.join(["sh", "-c", _REMOTE, "sh", *self._prefix, *argv])
        return [*self._connection.open(), "--", self.destination, command]

    def _explain(self, argv: Sequence[str], exit_code: int, stderr: str) -> StorageError:
        if exit_code == _LOST:
            return self._connection.lost(stderr)
        return failed(argv, 255 if exit_code == _ZFS_255 else exit_code, stderr)


class _Connection:
    """The one connection: a master process whose end ends it, and a socket in a directory."""

    def __init__(self, destination: str, options: Sequence[str]) -> None:
        self._destination = destination
        self._options = tuple(options)
        self._lock = threading.Lock()
        self._master: Child | None = None
        self._socket = ""
        self._pid = 0
        self._drop: weakref.finalize[..., object] | None = None

    def open(self) -> list[str]:
        """Return ssh with the options that use the connection; it stands.

        Raises:
            Unavailable, PermissionDenied, ConfigurationError: it cannot be made.
        """
        with self._lock:
            if self._master is None or self._pid != os.getpid() or self._master.poll() is not None:
                self._close()
                self._connect()
            return [*self._base("no"), "-T"]

    def close(self) -> None:
        with self._lock:
            self._close()

    def lost(self, stderr: str) -> StorageError:
        """Return the error for what ssh said when it failed."""
        lines = [line.strip() for line in stderr.splitlines() if line.strip()]
        reason = lines[-1] if lines else "the connection was lost"
        operation, subject = "connect by ssh to", self._destination
        if "Host key verification failed" in stderr or "HOST IDENTIFICATION" in stderr:
            return ConfigurationError(
                reason,
                field="destination",
                operation=operation,
                subject=subject,
                hint="add the machine's key to known_hosts, once and by hand",
            )
        if "Permission denied (" in stderr:
            return PermissionDenied(
                reason,
                operation=operation,
                subject=subject,
                hint="is our key in its authorized_keys? try `ssh -o BatchMode=yes`",
            )
        return Unavailable(reason, operation=operation, subject=subject)

    def _base(self, master: str) -> list[str]:
        return [
            *("ssh", "-o", "BatchMode=yes", "-o", f"ControlPath={self._socket}"),
            *("-o", f"ControlMaster={master}", "-o", "ControlPersist=no"),
            *("-o", f"ConnectTimeout={_CONNECT_S}", "-o", "ServerAliveInterval=15"),
            *("-o", "ServerAliveCountMax=4", *self._options),
        ]

    def _connect(self) -> None:
        directory = _private_directory()
        self._socket = f"{directory}/master"
        argv = [*self._base("yes"), "-T", "--", self._destination, _MASTER]
        try:
            master = process.start(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        except OSError as error:
            shutil.rmtree(directory, ignore_errors=True)
            raise self.lost(f"ssh: {error.strerror or error}") from error
        self._drop = weakref.finalize(self, _end_master, master, directory, os.getpid())
        assert master.stderr is not None
        assert master.stdout is not None
        stderr = Drain(master.stderr)
        timer = threading.Timer(2 * _CONNECT_S, process.end, (master,))
        timer.start()
        try:
            is_ready = master.stdout.readline() == b"ready\n"
        finally:
            timer.cancel()
        if not is_ready:
            self._close()
            raise self.lost(stderr.text())
        self._master, self._pid = master, os.getpid()

    def _close(self) -> None:
        if self._drop is not None:
            self._drop()
        self._master = self._drop = None


def _end_master(master: Child, directory: str, pid: int) -> None:
    """End the connection; not that of the process that we were forked from."""
    if os.getpid() == pid:
        process.end(master, master.stdin)
        if master.stdout is not None:
            master.stdout.close()
        shutil.rmtree(directory, ignore_errors=True)


def _private_directory() -> str:
    """Return a new directory of ours alone, with a path short enough for a socket in it."""
    path = tempfile.mkdtemp(prefix="zfsstore-")
    if len(path) <= _MAX_SOCKET_PATH:
        return path
    Path(path).rmdir()
    return tempfile.mkdtemp(prefix="zfsstore-", dir="/tmp")  # mkdtemp makes it 0700
