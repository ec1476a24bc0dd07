"""Taking a file in from elsewhere on this machine, without its bytes passing through the host."""

from __future__ import annotations

import errno
import os
import secrets
import stat
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from modules import fences
from modules.durable import TEMPORARY_PREFIX, fsync_directory
from modules.errors import Conflict, InvalidArgument, NotSupported, translated_oserror
from zfsstore import layout, objectfile
from zfsstore.filecopy import copy_bytes
from zfsstore.places import Place
from zfsstore.room import Intake, Room
from zfsstore.volumes.usage import Reservation, UsageCounter

_READ_ONLY: Final = 0o444


@dataclass(frozen=True, slots=True)
class Adopter:
    """Makes an object of an open file; see SupportsAdopt.

    Args:
        room, instance: the store's.
        counters_of: makes sure that a volume is there, and gives its quotas' counters.
        create_file: opens the temporary file of a new object.
    """

    room: Room
    instance: str
    counters_of: Callable[[Place], tuple[UsageCounter, ...]]
    create_file: Callable[[Place, str], int]

    def adopt(self, place: Place, fd: int, *, link: bool) -> str:
        """Store the file that is open as *fd* in *place*; return its module_data."""
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            raise InvalidArgument("it is no regular file", field="fd", operation="adopt file")
        counters = self.counters_of(place)
        object_id = secrets.token_hex(16)
        with fences.hold(place.fence), Reservation(counters) as reservation:
            if not link or not self._link(place, fd, found, object_id, reservation):
                self._copy(place, fd, found, object_id, reservation)
        return layout.format_module_data(self.instance, object_id)

    def _copy(
        self,
        place: Place,
        fd: int,
        found: os.stat_result,
        object_id: str,
        reservation: Reservation,
    ) -> None:
        intake = Intake(place, self.room, reservation, found.st_size)
        target = self.create_file(place, object_id)

        def fill() -> int:
            with translated_oserror(operation="adopt file into", subject=place.label):
                os.lseek(fd, 0, os.SEEK_SET)
                copied = copy_bytes(fd, target, found.st_size, before_block=intake.before_block)
                if copied != found.st_size or _is_changed(found, os.fstat(fd)):
                    raise _changed(place)
                os.utime(target, ns=(found.st_atime_ns, found.st_mtime_ns))
            return copied

        leaf = f"{place.objects}/{object_id[:2]}"
        objectfile.finish(target, leaf, object_id, fill, subject=place.label)

    def _link(
        self,
        place: Place,
        fd: int,
        found: os.stat_result,
        object_id: str,
        reservation: Reservation,
    ) -> bool:
        """Give the file a name in the volume; return False when it has as many as it may."""
        with translated_oserror(operation="adopt file into", subject=place.label):
            reservation.grow(found.st_size)
            self.room.require(place, 0)
            leaf = f"{place.objects}/{object_id[:2]}"
            os.close(self.create_file(place, object_id))  # which makes the leaf when it is missing
            os.unlink(f"{leaf}/{TEMPORARY_PREFIX}{object_id}")
            os.fchmod(fd, _READ_ONLY)
            try:
                _link_descriptor(fd, leaf, object_id)
            except OSError as error:
                os.fchmod(fd, stat.S_IMODE(found.st_mode))
                if error.errno == errno.EMLINK:
                    return False
                if error.errno != errno.EXDEV:
                    raise
                raise NotSupported(
                    "it lies on another file system, so it cannot get a name there",
                    capability="link",
                    operation="adopt file into",
                    subject=place.label,
                    hint="leave out --link: then it is copied, sharing blocks where that works",
                ) from error
            try:
                os.fsync(fd)
                fsync_directory(leaf)
            except BaseException:
                with suppress(OSError):
                    os.unlink(f"{leaf}/{object_id}")
                raise
        return True


def _link_descriptor(fd: int, directory: str, name: str) -> None:
    """Link the very file that is open, whatever its path leads to by now."""
    directory_fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.link(
            f"/proc/self/fd/{fd}",
            name,
            src_dir_fd=directory_fd,  # without it Python 3.11 calls link(), which fails
            dst_dir_fd=directory_fd,
            follow_symlinks=True,
        )
    finally:
        os.close(directory_fd)


def _is_changed(before: os.stat_result, after: os.stat_result) -> bool:
    return (before.st_size, before.st_mtime_ns, before.st_ctime_ns) != (
        after.st_size,
        after.st_mtime_ns,
        after.st_ctime_ns,
    )


def _changed(place: Place) -> Conflict:
    return Conflict(
        "it changed while it was read",
        operation="adopt file into",
        subject=place.label,
        hint="adopt it again when nobody writes to it",
    )
