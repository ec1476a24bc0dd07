"""Fences: nobody replaces a volume's content while somebody has a file in it open for writing.

Two processes with a database open corrupt it when its dataset is rolled back under them
(measured), and a put that spans a rollback would be acknowledged without its data. So whoever
keeps a database open in a volume, or writes into it, *holds* the volume's fence; whoever rolls
it back, renames it, moves it to the trash, or receives into it does so inside *exclusive*.

A fence is a file outside the volume, in which all processes on the machine meet:

- a hold is a shared flock, one for each process however many holds it has; the kernel drops it
  when the process dies;
- the one who wants to be alone first writes into the file until when it will wait. Holders look
  there (one read of mapped memory), refuse new work with Busy, and let go as soon as they can;
- then it takes the exclusive flock, acts, and counts the generation up.

A deadline, not a flag: when the one who waits is killed, its request ends by itself. Who is
killed while it is alone leaves a deadline, too: a command that it started may still be running.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from modules import fence_files
from modules.errors import Busy
from modules.fence_files import HEADER

PATIENCE_S: Final = 30.0
AFTERMATH_S: Final = 30.0
"""How long a volume stays closed off after whoever was alone in it has been killed."""

_LONGEST_WAIT_MS: Final = 3_600_000  # a deadline further off is no deadline but a changed clock
_POLL_S: Final = 0.01


class Hold:
    """One user's share in a process's hold of a fence. Ends with ``release`` or its ``with``."""

    __slots__ = ("_fence",)

    def __init__(self, fence: _Fence) -> None:
        self._fence: _Fence | None = fence

    @property
    def is_draining(self) -> bool:
        """True while somebody waits to be alone in the volume: let go soon."""
        return self._fence is not None and self._fence.is_draining

    def check(self) -> None:
        """Raise Busy when somebody waits to be alone in the volume."""
        if self.is_draining:
            raise _busy()

    def release(self) -> None:
        """Let go; again is silent."""
        fence, self._fence = self._fence, None
        if fence is not None:
            fence.leave()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()


def hold(path: str | Path) -> Hold:
    """Hold the fence at *path*, which is created when absent.

    Raises:
        Busy: somebody is alone in the volume, or waits to be.
        StorageError: the file cannot be created.
    """
    return _fence(str(path)).enter()


@contextmanager
def exclusive(paths: Iterable[str | Path], *, patience_s: float = PATIENCE_S) -> Iterator[None]:
    """Be alone in the volumes with these fences; nobody may hold one, not this process either.

    Args:
        patience_s: how long to wait, in seconds, for those who hold them.

    Raises:
        Busy: somebody did not let go in time; nothing was changed.
    """
    deadline = time.time() + patience_s
    with ExitStack() as stack:
        files = [
            stack.enter_context(fence_files.opened(path))
            for path in sorted({str(p) for p in paths})
        ]
        for fd in files:
            fence_files.set_deadline(fd, deadline)
            stack.callback(fence_files.set_deadline, fd, 0.0)
        for fd in files:
            _lock_alone(fd, deadline)
        for fd in files:
            fence_files.set_deadline(fd, time.time() + AFTERMATH_S)
            fence_files.count_up(fd)
        yield


def generation(path: str | Path) -> int:
    """Return how often somebody was alone in the volume; what was read before may be stale."""
    with fence_files.opened(str(path)) as fd:
        return fence_files.generation(fd)


def create(path: str | Path) -> None:
    """Create the fence in good time: in a full pool a new file cannot be had."""
    with fence_files.opened(str(path)):
        pass


class _Fence:
    """A fence as this process sees it: one lock for all who hold it here."""

    __slots__ = ("_count", "_fd", "_lock", "_map", "_path")

    def __init__(self, path: str) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._count = 0
        self._fd = -1
        self._map: mmap.mmap | None = None

    @property
    def is_draining(self) -> bool:
        mapped = self._map
        if mapped is None:
            return False
        try:
            deadline = fence_files.deadline_ms(mapped)
        except ValueError:  # released by another thread just now
            return False
        return bool(deadline) and 0 < deadline - time.time() * 1000 < _LONGEST_WAIT_MS

    def enter(self) -> Hold:
        with self._lock:
            if not self._count:
                try:
                    self._open()
                except BaseException:
                    _forget(self._path, self)
                    raise
            elif self.is_draining:
                raise _busy()
            self._count += 1
        return Hold(self)

    def leave(self) -> None:
        with self._lock:
            self._count -= 1
            if not self._count:
                self._close()
                _forget(self._path, self)

    def forget(self) -> None:
        """After a fork: drop what was copied; the parent keeps its lock.

        Holds that the child has copied may still be released there, without effect.
        """
        self._lock = threading.Lock()
        fd, self._fd = self._fd, -1
        mapped, self._map = self._map, None
        if mapped is not None:
            mapped.close()
        if fd >= 0:
            os.close(fd)

    def _open(self) -> None:
        fd = fence_files.open_file(self._path)
        _open_fences.add(self)
        try:
            self._map = mmap.mmap(fd, HEADER.size, prot=mmap.PROT_READ)
            fence_files.have_in_memory(self._map, fd, self._path)
            if self.is_draining:
                raise _busy()
            try:
                fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                raise _busy() from None
            self._fd = fd
            if self.is_draining:  # it came between the two: do not make it wait
                raise _busy()
        except BaseException:
            self._fd = fd
            self._close()
            raise

    def _close(self) -> None:
        fd, self._fd = self._fd, -1
        mapped, self._map = self._map, None
        if mapped is not None:
            mapped.close()
        if fd >= 0:
            fcntl.flock(fd, fcntl.LOCK_UN)  # a child between fork and exec has the descriptor too
            os.close(fd)
        _open_fences.discard(self)


_fences: Final[dict[str, _Fence]] = {}
_open_fences: Final[set[_Fence]] = set()
_fences_lock = threading.Lock()


def _fence(path: str) -> _Fence:
    found = _fences.get(path)
    if found is None:
        with _fences_lock:
            found = _fences.setdefault(path, _Fence(path))
    return found


def _forget(path: str, fence: _Fence) -> None:
    """Drop a fence that nobody holds. Who is about to enter it all the same loses nothing.

    (Then there are two for one file for a while, each with a shared lock of its own.)
    """
    with _fences_lock:
        if _fences.get(path) is fence:
            del _fences[path]


def _after_fork() -> None:
    global _fences_lock
    for fence in list(_open_fences):
        fence.forget()
    _open_fences.clear()
    _fences.clear()
    _fences_lock = threading.Lock()


os.register_at_fork(after_in_child=_after_fork)


def _lock_alone(fd: int, deadline: float) -> None:
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if fence_files.deadline_ms(fence_files.read_header(fd)) < int(
                deadline * 1000
            ):  # another who waited has taken its own back
                fence_files.set_deadline(fd, deadline)
            if time.time() >= deadline:
                raise Busy(
                    "it is in use, and was not let go in time",
                    operation="close off volume",
                    hint="uploads to it may be running; try again later",
                ) from None
            time.sleep(_POLL_S)
        else:
            return


def _busy() -> Busy:
    return Busy(
        "an operation that needs the volume for itself is under way",
        operation="use volume",
        hint="try again in a moment",
    )
