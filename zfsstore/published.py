"""The published view of a bucket: ``files/<key>``, hard links to its objects (published_names).

A view is nobody's only copy of anything, and can be made again. Each file appears whole, by a
rename. It is the object's own inode, so it costs no space and cannot be written to (0444): a view
is exported read-only, because whoever writes through it changes the object. What must be copied
(objects of several pieces, inodes with as many names as the file system allows) shares blocks
where the file system can.
"""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Final

from modules import fences
from modules.context import Context
from modules.durable import TEMPORARY_PREFIX
from modules.errors import NotSupported, ObjectNotFound, translated_oserror
from modules.extensions import Piece
from zfsstore import layout, viewfiles
from zfsstore.filecopy import copy_bytes
from zfsstore.places import Place, Places
from zfsstore.published_names import beside_directory, container_path, moved_name, object_path
from zfsstore.room import Room

_READABLE: Final = 0o444
_CREATE: Final = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class PublishedViews:
    """The views of a store's buckets.

    Args:
        places, room: the store's.
        path_of: gives the file of a module_data in a place.
    """

    places: Places
    room: Room
    path_of: Callable[[Place, str], str]

    def publish(self, context: Context, key: str, module_data: str | None) -> None:
        """See SupportsPublish."""
        with self._view(context, key) as (place, root):
            if module_data is None:
                _hide(root, key)
                return
            self.room.require(place, 0)
            if not module_data:
                _show_container(root, key)
                return
            self._link(place, root, key, self.path_of(place, module_data))

    def publish_pieces(self, context: Context, key: str, pieces: Sequence[Piece]) -> None:
        """See SupportsPublish."""
        with self._view(context, key) as (place, root):
            found = [(self.path_of(place, p.module_data), p.offset, p.length) for p in pieces]
            self.room.require(place, sum(piece.length for piece in pieces))
            self._copy(place, root, key, found)

    def sync_published(self, context: Context, keys: Iterable[str]) -> None:
        """See SupportsPublish."""
        written: set[tuple[str, ...]] = {()}
        for key in keys:
            names = object_path(key)
            written.update(names[:depth] for depth in range(1, len(names) + 1))
        with self._view(context) as (place, root):
            for names in sorted(written):
                with (
                    suppress(FileNotFoundError, NotADirectoryError),
                    viewfiles.directory(root, names) as fd,
                ):
                    os.fsync(fd)
            fd = os.open(place.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(fd)
            finally:
                os.close(fd)

    def unpublish(self, context: Context) -> None:
        """See SupportsPublish."""
        place = self._find(context)
        with (
            fences.hold(place.fence),
            translated_oserror(operation="unpublish bucket", subject=place.label),
            suppress(FileNotFoundError),
        ):
            shutil.rmtree(f"{place.path}/{layout.FILES}")

    @contextmanager
    def _view(self, context: Context, key: str | None = None) -> Iterator[tuple[Place, int]]:
        """Give the place, and a descriptor of its view's root."""
        place = self._find(context)
        subject = place.label if key is None else f"{place.label}/{key}"
        with (
            fences.hold(place.fence),
            translated_oserror(operation="publish", subject=subject),
        ):
            root = viewfiles.open_root(f"{place.path}/{layout.FILES}")
            try:
                yield place, root
            finally:
                os.close(root)

    def _find(self, context: Context) -> Place:
        place = self.places.find(context)
        if "/" not in place.name:
            raise NotSupported(
                "only a bucket can be published: beside its files a tenant has its buckets",
                capability="publish",
                operation="publish",
                subject=place.label,
            )
        self.places.check(place)
        return place

    def _link(self, place: Place, root: int, key: str, source: str) -> None:
        with self._slot(root, key) as (parent, name):
            found = _lstat(source, key)
            if _is_entry(parent, name, found):
                return
            if found.st_mode & _READABLE != _READABLE:  # a host with a strict umask
                os.chmod(source, _READABLE)
            temporary = _temporary(place)
            try:
                os.link(source, temporary, follow_symlinks=False)
            except FileNotFoundError as error:
                raise _no_object(key) from error
            except OSError as error:
                if error.errno != errno.EMLINK:
                    raise
                self._copy_into(place, parent, name, [(source, 0, found.st_size)], found)
            else:
                _replace(temporary, parent, name)

    def _copy(
        self, place: Place, root: int, key: str, pieces: Sequence[tuple[str, int, int]]
    ) -> None:
        newest = max(
            (_lstat(path, key) for path, _, _ in pieces),
            key=lambda status: status.st_mtime_ns,
            default=None,
        )
        with self._slot(root, key) as (parent, name):
            self._copy_into(place, parent, name, pieces, newest)

    def _copy_into(
        self,
        place: Place,
        parent: int,
        name: str,
        pieces: Sequence[tuple[str, int, int]],
        like: os.stat_result | None,
    ) -> None:
        """Write a copy and let it appear; its time is that of its newest piece."""
        temporary = _temporary(place)
        target = os.open(temporary, _CREATE, _READABLE)
        try:
            for path, offset, length in pieces:
                _append(target, path, offset, length)
            os.fchmod(target, _READABLE)
            if like is not None:
                os.utime(target, ns=(like.st_atime_ns, like.st_mtime_ns))
            os.fsync(target)
            _replace(temporary, parent, name)
        except BaseException:
            with suppress(FileNotFoundError):
                os.unlink(temporary)
            raise
        finally:
            os.close(target)

    @contextmanager
    def _slot(self, root: int, key: str) -> Iterator[tuple[int, str]]:
        """Give the directory that shows an object, and the name it has there just now."""
        *above, name = object_path(key)
        with viewfiles.directory(root, above, create=True) as parent:
            if viewfiles.is_directory(parent, name):
                name = beside_directory(key)
            yield parent, name


def _show_container(root: int, key: str) -> None:
    names = container_path(key)
    if names is not None:
        with viewfiles.directory(root, names, create=True):
            pass


def _hide(root: int, key: str) -> None:
    """Take a key's file away; a container's key stands for an empty directory, too."""
    *above, name = object_path(key)
    with (
        suppress(FileNotFoundError, NotADirectoryError),
        viewfiles.directory(root, above) as parent,
    ):
        for shown in (name, beside_directory(key)):
            if not viewfiles.is_directory(parent, shown):
                with suppress(FileNotFoundError):
                    os.unlink(shown, dir_fd=parent)
    names = container_path(key) if key.endswith("/") else None
    if names:
        _remove_directory(root, names)


def _remove_directory(root: int, names: Sequence[str]) -> None:
    """Remove a directory if it is empty; the object of its name gets its plain name back."""
    *above, name = names
    with (
        suppress(FileNotFoundError, NotADirectoryError),
        viewfiles.directory(root, above) as parent,
    ):
        try:
            os.rmdir(name, dir_fd=parent)
        except FileNotFoundError:
            pass  # a crash came between the two steps
        except OSError as error:
            if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                return
            raise
        beside = moved_name(name)
        if viewfiles.is_file(parent, beside):
            os.rename(beside, name, src_dir_fd=parent, dst_dir_fd=parent)


def _replace(temporary: str, parent: int, name: str) -> None:
    """Let a file appear under a name, in place of what had it.

    A rename onto another name of the same file does nothing at all, so the old name is removed
    in any case. Source: rename(2).
    """
    try:
        if viewfiles.is_directory(parent, name):  # only a hand can have made that
            shutil.rmtree(name, dir_fd=parent)
        os.rename(temporary, name, dst_dir_fd=parent)
    finally:
        with suppress(FileNotFoundError):
            os.unlink(temporary)


def _append(target: int, path: str, offset: int, length: int) -> None:
    source = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        os.lseek(source, offset, os.SEEK_SET)
        copied = copy_bytes(source, target, length)
    finally:
        os.close(source)
    if copied != length:
        raise OSError(errno.EIO, f"a piece has {copied} of {length} bytes")


def _temporary(place: Place) -> str:
    """Return a new name outside of the view; a sweep removes what a crash leaves there."""
    return f"{place.path}/{layout.OWN}/{TEMPORARY_PREFIX}view-{secrets.token_hex(8)}"


def _lstat(path: str, key: str) -> os.stat_result:
    try:
        return os.lstat(path)
    except FileNotFoundError as error:
        raise _no_object(key) from error


def _is_entry(parent: int, name: str, file: os.stat_result) -> bool:
    """Return whether a name is one of this very file's."""
    try:
        present = os.lstat(name, dir_fd=parent)
    except FileNotFoundError:
        return False
    return (present.st_dev, present.st_ino) == (file.st_dev, file.st_ino)


def _no_object(key: str) -> ObjectNotFound:
    return ObjectNotFound("its data does not exist", operation="publish object", subject=key)
