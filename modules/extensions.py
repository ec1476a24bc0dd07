"""The optional contracts: what a module may offer beyond the seven methods.

A module offers one by having the attribute or method; a host asks with ``isinstance``:

    if isinstance(module, SupportsVolumes):
        module.volumes.create_volume("acme/photos")

A wrapper passes on, truthfully, what it can keep true of its inner module.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from modules.context import Context
from modules.volumes import VolumeBackend

if TYPE_CHECKING:
    from modules import StorageModule


@runtime_checkable
class SupportsBinding(Protocol):
    """A wrapper: a module that must know its inner module before it can say what it offers."""

    def bind(self, get_module: Callable[[str], StorageModule], /) -> None:
        """Look up the modules that this one stores through; called once, before anything else.

        A host makes a wrapper, and binds it, anew when one of these is replaced. Who is never
        bound finds them with each call, through the context's getModule.

        Raises:
            modules.errors.ConfigurationError: there is no such module, or it wraps this one.
        """


@runtime_checkable
class SupportsVolumes(Protocol):
    """A module that keeps each tenant and bucket in a volume of its own."""

    @property
    def volumes(self) -> VolumeBackend:
        """The backend that creates and lists the volumes this module stores into."""


@dataclass(frozen=True, slots=True)
class VolumeIdentity:
    """Which volume it is: the context's ``volume_id`` and ``key_domain``.

    Attributes:
        volume_id: the volume's uuid; a clone has one of its own.
        key_domain: what encryption and deduplication bind to; rides along with rename, clone,
            rollback and replication.
        is_read_only: it is a replica: nothing in it may be changed, nor its databases.
    """

    volume_id: str
    key_domain: str
    is_read_only: bool = False


@runtime_checkable
class SupportsVolumeIdentity(Protocol):
    """A module that knows the lasting identity of its volumes; a wrapper asks its inner module."""

    def identity(self, context: Context) -> VolumeIdentity:
        """Return the identity of the context's volume; cheap enough for every call.

        Raises:
            modules.errors.VolumeNotFound, modules.errors.Unavailable
        """


@runtime_checkable
class NeedsVolumeIdentity(SupportsVolumeIdentity, Protocol):
    """A module whose calls need ``volume_id`` and ``key_domain`` in their context.

    A host asks for ``identity`` before each call of a module that has this, true, and of no
    other. So who needs nothing pays nothing.
    """

    @property
    def needs_volume_identity(self) -> bool:
        """True when the two must be in the context."""


@runtime_checkable
class SupportsStateDir(Protocol):
    """A module that keeps databases beside the objects, inside the volume.

    What lies there is snapshotted, cloned and replicated together with the objects. It holds
    only databases opened through :mod:`modules.state`.
    """

    def state_dir(self, context: Context) -> Path:
        """Return the existing directory for databases of the context's volume.

        Raises:
            modules.errors.VolumeNotFound: no such tenant or bucket.
        """


@runtime_checkable
class SupportsFence(Protocol):
    """A module whose volumes can be rolled back, renamed or replaced while hosts are running."""

    def fence(self, context: Context) -> Path:
        """Return the fence of the context's volume, for :mod:`modules.fences`.

        Whoever keeps a database in the volume open, or is between a put and the record of it,
        holds that. Without any I/O.
        """


@dataclass(frozen=True, slots=True)
class SweepReport:
    """What a sweep found in one volume, and what it did.

    Attributes:
        scanned: how many stored objects and temporary files were looked at.
        unreferenced: module_data (or, for temporary files, relative names) that nothing needs,
            sorted; older than the limit.
        unreferenced_bytes: their size in bytes.
        quarantined: True when they were moved aside; False for a dry run.
        too_young: how many unreferenced ones were left alone because of their age.
        missing: live module_data with no data behind it, sorted. Not empty means damage.
    """

    scanned: int
    unreferenced: tuple[str, ...] = ()
    unreferenced_bytes: int = 0
    quarantined: bool = False
    too_young: int = 0
    missing: tuple[str, ...] = field(default=())


@runtime_checkable
class SupportsSweep(Protocol):
    """A module that can find what no live object needs. One without it is never swept."""

    def sweep(
        self, context: Context, live: Iterable[str], *, older_than: timedelta, dry_run: bool = True
    ) -> SweepReport:
        """Find, and unless *dry_run* quarantine, what is in the context's volume but not *live*.

        The host alone knows what is live. Nothing is deleted: quarantined files can be put back.

        Args:
            live: the module_data of every object of this volume that must stay.
            older_than: leave alone whatever is younger, so that no upload in flight is hit.
        """


@runtime_checkable
class SupportsUpkeep(Protocol):
    """A module that has work to do of its own from time to time, such as collecting garbage.

    A host does it in the background, a little at a time, and every volume's turn comes again.
    """

    def upkeep(self, context: Context, *, should_stop: Callable[[], bool]) -> bool:
        """Do some of the work in the context's volume, beside readers, writers and other upkeep.

        Whatever it is cut off in, a later call goes on with. Cheap when there is nothing to do.

        Args:
            should_stop: asked every now and then; True means to return soon.

        Returns:
            True when there is more to do at once.

        Raises:
            StorageError: it cannot be done now.
        """


@runtime_checkable
class SupportsRewrap(Protocol):
    """A module whose objects have keys that are wrapped by others, which are rotated.

    A host calls both for all that it has, so that nothing needs the older keys any more.
    """

    def rewrap(self, context: Context, module_data: str) -> str:
        """Return the module_data to keep instead, for which the newest key is enough.

        The stored bytes stay as they are, and *module_data* stays valid while the older key is
        there. Returns *module_data* itself when there is nothing to do.

        Raises:
            StorageError: the object cannot be opened as it is.
        """

    def rewrap_kept(self, context: Context) -> Iterator[bool]:
        """Do the same for what the module itself keeps module_data of in the context's volume.

        Yields True for each that was changed, durably, and False for each that needed no change.
        """


@runtime_checkable
class SupportsCopy(Protocol):
    """A module that copies or joins objects without moving their bytes through the host."""

    def copy(self, source_context: Context, module_data: str, context: Context) -> str:
        """Store a copy of an object in the context's volume; return its module_data."""

    def compose(self, context: Context, parts: Iterable[str]) -> str:
        """Store one object made of *parts* in order; return its module_data."""


@dataclass(frozen=True, slots=True)
class Piece:
    """*length* bytes from *offset* of the object called *module_data*."""

    module_data: str
    offset: int
    length: int


@runtime_checkable
class SupportsPublish(Protocol):
    """A leaf module that can show a bucket's objects as read-only files under natural names.

    The files are a view that can be made again at any time: whoever publishes does so after the
    fact, in any order, and twice when in doubt. Two keys never share a file.
    """

    def publish(self, context: Context, key: str, module_data: str | None) -> None:
        """Show the object as ``files/<key>``, or take that name away for None.

        A key that ends in a slash shows a directory for ``""`` (a container holds no data). For
        None its file goes, and its directory when nothing lies in it.

        Raises:
            modules.errors.ObjectNotFound: there is no such object; what was shown stays.
            modules.errors.NotSupported: not this volume, or not on this file system.
        """

    def publish_pieces(self, context: Context, key: str, pieces: Sequence[Piece]) -> None:
        """Show an object that is made of pieces, joined, as ``files/<key>``."""

    def sync_published(self, context: Context, keys: Iterable[str]) -> None:
        """Make durable what was published under these keys."""

    def unpublish(self, context: Context) -> None:
        """Take all names away, also those that were published by mistake."""


@runtime_checkable
class SupportsAdopt(Protocol):
    """A module that takes a file of its own machine in without its bytes passing the host."""

    def adopt(self, context: Context, fd: int, *, link: bool = False) -> str:
        """Store the content of a regular file that is open for reading; return its module_data.

        Durable on return, as a put; shares the file's blocks where the file system can, and has
        its modification time. Sweeps must not run until the host has recorded it, because that
        time may be long ago.

        Args:
            link: give the file itself another name, and take everybody's permission to write
                to it away. Whoever writes to it all the same changes the object.

        Raises:
            modules.errors.Conflict: the file changed meanwhile.
            modules.errors.NotSupported: no link can be made to it from here.
            modules.errors.QuotaExceeded, modules.errors.NoSpace
        """


__all__ = [
    "NeedsVolumeIdentity",
    "Piece",
    "SupportsAdopt",
    "SupportsBinding",
    "SupportsCopy",
    "SupportsFence",
    "SupportsPublish",
    "SupportsRewrap",
    "SupportsStateDir",
    "SupportsSweep",
    "SupportsUpkeep",
    "SupportsVolumeIdentity",
    "SupportsVolumes",
    "SweepReport",
    "VolumeIdentity",
]
