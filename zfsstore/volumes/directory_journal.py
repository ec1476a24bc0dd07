"""Changes of several names at once in a directory store: done wholly, or not at all.

The steps of a change are written down durably before the first of them is carried out. It counts
from its first step on, a rename: a process that was killed before that changed nothing, and what
one left after that is finished by the next call of any kind, in any process. While the control
lock is held, there is one change at a time.

What is built or thrown away lies in ``.zfsstore/work`` of the root, one directory each: nothing
there is part of any volume, and what a killed process left there is removed by the next call.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import secrets
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final

from modules.durable import durable_file, fsync_directory, make_directories
from modules.errors import IntegrityError, NotSupported
from zfsstore import layout

_log = logging.getLogger(__name__)

WORK: Final = f"{layout.OWN}/work"
_INTENT: Final = f"{layout.OWN}/intent"
_FILE: Final = "change.json"
_FORMAT: Final = 1


@dataclass(frozen=True, slots=True)
class Move:
    """Rename *source* to *target*, absolute paths. Done when *target* is there."""

    source: str
    target: str


@dataclass(frozen=True, slots=True)
class Write:
    """Write a file, replacing it."""

    path: str
    content: str


@dataclass(frozen=True, slots=True)
class Unlink:
    """Remove a file; an absent one is fine."""

    path: str


Step = Move | Write | Unlink


class Journal:
    """Carries out changes below *root*. All calls but ``generation`` need the control lock."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._directory = f"{root}/{_INTENT}"
        self._path = f"{self._directory}/{_FILE}"
        self._work = f"{root}/{WORK}"

    def generation(self) -> int | None:
        """Return a number that every change changes; None while one is unfinished. No lock."""
        try:
            found = os.stat(self._directory).st_mtime_ns
        except FileNotFoundError:
            return 0
        return None if os.path.lexists(self._path) else found

    def commit(self, steps: Sequence[Step]) -> None:
        """Carry out *steps*, durably. The first is a Move, and no target may be there before.

        (But one that an earlier step moves away.)
        """
        if len(steps) > 1:
            make_directories(self._directory, mode=0o700)
            with durable_file(self._path, mode=0o600) as file:
                file.write(_format(steps, self._root))
        self._carry_out(steps)
        if len(steps) > 1:
            self._forget()

    def recover(self) -> None:
        """Finish, or forget, what a killed process left; remove what it threw away.

        Raises:
            IntegrityError: the steps cannot be read, or do not fit what is there.
        """
        try:
            with open(self._path, "rb") as file:
                steps = _parse(file.read(), self._root)
        except FileNotFoundError:
            pass
        else:
            first = steps[0] if steps else None
            if isinstance(first, Move) and os.path.lexists(first.target):
                self._carry_out(steps)
            self._forget()
        self.clean()

    def clean(self) -> None:
        """Remove what lies in the work directory, but what somebody is receiving."""
        with suppress(FileNotFoundError):
            for entry in os.listdir(self._work):
                _remove_unless_in_use(f"{self._work}/{entry}")

    @contextmanager
    def aside(self) -> Iterator[str]:
        """Give a new directory to build in, or to throw away into; it is removed at the end.

        Locked, so that it is left alone by others. Works without the control lock.
        """
        make_directories(self._work, mode=0o700)
        path = f"{self._work}/{secrets.token_hex(8)}"
        fd = _make_locked(path)
        try:
            yield path
        finally:
            _remove(path)
            os.close(fd)

    def _carry_out(self, steps: Sequence[Step]) -> None:
        touched: dict[str, None] = {}
        for step in steps:
            match step:
                case Move(source, target):
                    if not os.path.lexists(target):
                        os.rename(source, target)
                    touched[os.path.dirname(target)] = touched[os.path.dirname(source)] = None
                case Write(path, content):
                    with durable_file(path) as file:
                        file.write(content.encode())
                case Unlink(path):
                    with suppress(FileNotFoundError):
                        os.unlink(path)
                    touched[os.path.dirname(path)] = None
        for directory in touched:
            with suppress(FileNotFoundError):  # moved by a later step
                fsync_directory(directory)

    def _forget(self) -> None:
        os.unlink(self._path)
        fsync_directory(self._directory)


def _make_locked(path: str) -> int:
    """Make a directory and return a locked descriptor of it."""
    while True:
        with suppress(FileExistsError):
            os.mkdir(path, 0o700)
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        fcntl.flock(fd, fcntl.LOCK_EX)
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(fd), os.stat(path)):
                return fd
        os.close(fd)  # somebody took it for a leftover before it was locked


def _remove_unless_in_use(path: str) -> None:
    """Remove what a killed process left: whoever lives has a lock on it."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return
    else:
        _remove(path)
    finally:
        os.close(fd)


def _remove(path: str) -> None:
    """Remove a tree. What cannot be removed stays in nobody's way; the next call tries again."""
    try:
        shutil.rmtree(path)
    except OSError as error:
        _log.warning("%s cannot be removed: %s", path, error)


def _format(steps: Sequence[Step], root: str) -> bytes:
    """Return the record of a change; its paths are relative to the root, which may be moved."""
    listed = []
    for step in steps:
        match step:
            case Move(source, target):
                listed.append(["move", *(os.path.relpath(path, root) for path in (source, target))])
            case Write(path, content):
                listed.append(["write", os.path.relpath(path, root), content])
            case Unlink(path):
                listed.append(["unlink", os.path.relpath(path, root), ""])
    return json.dumps({"format": _FORMAT, "steps": listed}).encode()


def _parse(content: bytes, root: str) -> list[Step]:
    try:
        value: Any = json.loads(content)
        if value["format"] != _FORMAT:
            raise NotSupported(
                f"a change of format {value['format']!r} is unfinished",
                capability="intent_format",
                operation="change volumes",
                hint="let the release of zfsstore that began it finish it",
            )
        return [_parse_step(root, *item) for item in value["steps"]]
    except (ValueError, KeyError, TypeError) as error:
        raise IntegrityError(
            "the record of an unfinished change is damaged",
            operation="change volumes",
            hint=f"look at {_INTENT}/{_FILE} in the store's root",
        ) from error


def _parse_step(root: str, kind: str, path: str, more: str) -> Step:
    match kind:
        case "move":
            return Move(_below(root, path), _below(root, more))
        case "write":
            return Write(_below(root, path), more)
        case "unlink":
            return Unlink(_below(root, path))
    raise ValueError(kind)


def _below(root: str, path: str) -> str:
    if os.path.isabs(path) or ".." in path.split("/"):
        raise ValueError(path)
    return f"{root}/{path}"
