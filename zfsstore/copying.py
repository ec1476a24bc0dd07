"""Copying and joining objects without moving their bytes through the host.

On ZFS with block cloning (2.2 and later), and on other file systems that share extents,
``copy_file_range`` gives the new file the old one's blocks, also from another dataset of the same
pool; elsewhere the kernel copies, or we do. In directories a copy is a hard link where the file
system allows one: objects never change, and a delete takes away one name of several.
"""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import Final

from modules import fences
from modules.durable import fsync_directory
from modules.errors import IntegrityError, ObjectNotFound, from_oserror, translated_oserror
from zfsstore import layout, objectfile
from zfsstore.filecopy import NO_RANGES, copy_bytes
from zfsstore.places import Place, Places
from zfsstore.room import Intake, Room
from zfsstore.volumes.usage import Reservation, UsageCounter

_NO_LINK: Final = NO_RANGES | {errno.EMLINK, errno.EACCES, errno.EROFS, errno.ENOENT}
"""ENOENT: the source, or our leaf, is missing; copying finds out which."""

BeforeBlock = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Part:
    """One object to copy, as it was found."""

    module_data: str
    path: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Copier:
    """Makes one object of one or several others.

    Args:
        places, room, instance: the store's.
        path_of: gives the file of a module_data in a place.
        counters_of: makes sure that a volume is there, and gives its quotas' counters.
        create_file: opens the temporary file of a new object.
    """

    places: Places
    room: Room
    instance: str
    path_of: Callable[[Place, str], str]
    counters_of: Callable[[Place], tuple[UsageCounter, ...]]
    create_file: Callable[[Place, str], int]

    def join(self, place: Place, source: Place, parts: Sequence[str]) -> str:
        """Store the objects *parts* of *source*, one after the other, as one object in *place*.

        Durable on return, as a put; nothing is left on any exception.

        Raises:
            ObjectNotFound, InvalidModuleData: of one of *parts*.
            QuotaExceeded, NoSpace
        """
        paths = [self.path_of(source, module_data) for module_data in parts]
        counters = self.counters_of(place)
        if source is not place:
            self.places.check(source)
        object_id = secrets.token_hex(16)
        with ExitStack() as stack:
            for fence in {place.fence, source.fence}:
                stack.enter_context(fences.hold(fence))
            found = [self._find(source, *pair) for pair in zip(parts, paths, strict=True)]
            reservation = stack.enter_context(Reservation(counters))
            if len(found) != 1 or not self._link(place, found[0], object_id, reservation):
                self._copy(place, found, object_id, reservation)
        return layout.format_module_data(self.instance, object_id)

    def _find(self, source: Place, module_data: str, path: str) -> Part:
        try:
            return Part(module_data, path, os.stat(path).st_size)
        except OSError as error:
            raise self._unreadable(source, module_data, error) from error

    def _link(self, place: Place, part: Part, object_id: str, reservation: Reservation) -> bool:
        """Give the file another name; return False where that cannot be done.

        The time is set first, because a sweep goes by it: until the index knows the copy, it
        must be as young as any other upload.
        """
        if self.places.are_datasets:
            return False
        subject = place.label
        with translated_oserror(operation="copy object into", subject=subject):
            reservation.grow(part.size_bytes)
            self.room.require(place, 0)
        leaf = f"{place.objects}/{object_id[:2]}"
        name = f"{leaf}/{object_id}"
        try:
            os.utime(part.path)
            os.link(part.path, name, follow_symlinks=False)
        except OSError as error:
            if error.errno in _NO_LINK:
                return False
            raise from_oserror(error, operation="copy object into", subject=subject) from error
        try:
            with translated_oserror(operation="copy object into", subject=subject):
                fsync_directory(leaf)
        except BaseException:
            with suppress(OSError):
                os.unlink(name)
            raise
        return True

    def _copy(
        self, place: Place, parts: Sequence[Part], object_id: str, reservation: Reservation
    ) -> None:
        total = sum(part.size_bytes for part in parts)
        intake = Intake(place, self.room, reservation, total)
        target = self.create_file(place, object_id)

        def fill() -> int:
            done = 0
            for part in parts:
                _append(part, target, done, intake.before_block, subject=place.label)
                done += part.size_bytes
            return done

        leaf = f"{place.objects}/{object_id[:2]}"
        objectfile.finish(target, leaf, object_id, fill, subject=place.label)

    def _unreadable(self, source: Place, module_data: str, error: OSError) -> Exception:
        if isinstance(error, FileNotFoundError):
            self.places.check(source)  # not mounted is not gone
            return ObjectNotFound("it does not exist", operation="copy object", subject=module_data)
        return from_oserror(error, operation="copy object", subject=module_data)


def _append(
    part: Part, target: int, done_bytes: int, before_block: BeforeBlock, *, subject: str
) -> None:
    """Append all of *part* to *target*, of which *done_bytes* are written."""
    with translated_oserror(operation="copy object", subject=part.module_data):
        source = os.open(part.path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        with translated_oserror(operation="copy object into", subject=subject):
            copied = copy_bytes(
                source,
                target,
                part.size_bytes,
                before_block=lambda done, size: before_block(done_bytes + done, size),
            )
    finally:
        os.close(source)
    if copied < part.size_bytes:
        raise _shorter(part, copied)


def _shorter(part: Part, copied: int) -> IntegrityError:
    return IntegrityError(
        f"it ended after {copied} of {part.size_bytes} bytes",
        operation="copy object",
        subject=part.module_data,
    )
