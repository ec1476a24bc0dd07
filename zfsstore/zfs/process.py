"""Child processes: how one is started, how its output is kept, how it is ended.

Each child leads a process group of its own, so that ending it ends what it has started, too.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import IO, Final

_EXTRA_PATH: Final = "/usr/local/sbin:/usr/sbin:/sbin"
_GRACE_S: Final = 2.0
_KEPT_BYTES: Final = 32 * 1024
_CHUNK_BYTES: Final = 8 * 1024

Child = subprocess.Popen[bytes]


def start(argv: Sequence[str], *, stdin: int, stdout: int) -> Child:
    """Start *argv* in the C locale, its standard error in a pipe.

    Raises:
        OSError: there is no such program, or it cannot be run.
    """
    path = f"{os.environ.get('PATH', os.defpath)}:{_EXTRA_PATH}"
    return subprocess.Popen(
        list(argv),
        stdin=stdin,
        stdout=stdout,
        stderr=subprocess.PIPE,
        env=os.environ | {"LC_ALL": "C", "PATH": path},
        process_group=0,
    )


def end(child: Child, pipe: IO[bytes] | None = None) -> None:
    """Kill the child with its group, close our end of *pipe*; never blocks for long.

    The pipe is closed after the child's end, which must not take it for the end of its input. A
    child that cannot be killed (of another user, as under sudo, or stuck in the kernel on a
    suspended pool) is left to a thread that waits for it, so that it is no zombie later.
    """
    is_mine = True
    if child.returncode is None:  # not reaped, so its id is still its own
        try:
            os.killpg(child.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        except PermissionError:
            is_mine = False
    if is_mine:
        _wait(child)
    if pipe is not None:
        with suppress(OSError):
            pipe.close()
    if not _wait(child):
        threading.Thread(target=child.wait, name=f"reap-{child.pid}", daemon=True).start()


def _wait(child: Child) -> bool:
    """Return whether the child ends soon."""
    with suppress(subprocess.TimeoutExpired):
        child.wait(_GRACE_S)
    return child.returncode is not None


def decode(data: bytes) -> str:
    """Return output as text; bytes that are no UTF-8 survive as surrogates."""
    return data.decode("utf-8", "surrogateescape")


class Drain:
    """Reads a pipe to its end in a thread, so that its writer never blocks.

    Keeps the first and the last 32 KiB and lets go of what is between.
    """

    def __init__(self, pipe: IO[bytes]) -> None:
        self._first = bytearray()
        self._last = bytearray()
        self._thread = threading.Thread(target=self._read, args=(pipe,), name="drain", daemon=True)
        self._thread.start()

    def text(self) -> str:
        """Return what was kept, after the pipe's end (or after a while without it)."""
        self._thread.join(_GRACE_S)
        return decode(bytes(self._first + self._last))

    def _read(self, pipe: IO[bytes]) -> None:
        with pipe, suppress(OSError, ValueError):
            while chunk := os.read(pipe.fileno(), _CHUNK_BYTES):
                room = _KEPT_BYTES - len(self._first)
                self._first += chunk[:room] if room > 0 else b""
                self._last += chunk[max(room, 0) :]
                del self._last[:-_KEPT_BYTES]
