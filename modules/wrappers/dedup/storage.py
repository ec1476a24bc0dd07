"""DedupStorage: what it stores in its inner module is in format D1."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final

from modules import StorageModule
from modules.context import Context, content_length
from modules.errors import (
    ConfigurationError,
    IntegrityError,
    InvalidArgument,
    InvalidModuleData,
    ObjectNotFound,
    PermissionDenied,
    StorageError,
    SubstrateError,
    VolumeNotFound,
    translated_oserror,
)
from modules.extensions import (
    SupportsFence,
    SupportsRewrap,
    SupportsStateDir,
    SupportsSweep,
    SupportsUpkeep,
    SupportsVolumeIdentity,
    SweepReport,
)
from modules.fences import PATIENCE_S
from modules.streams import SupportsRead
from modules.wrappers.base import DEFAULT_DOMAIN, Wrapper
from modules.wrappers.dedup import sweeping
from modules.wrappers.dedup.collecting import GRACE, CollectReport, ShouldStop, never
from modules.wrappers.dedup.compacting import CompactReport, compact
from modules.wrappers.dedup.delete_fence import hold_deletes
from modules.wrappers.dedup.domain import AVERAGES, MIB, Domain, check_parameters
from modules.wrappers.dedup.format import ModuleData, parse_module_data, unknown_module_data
from modules.wrappers.dedup.fsck import FsckReport, check
from modules.wrappers.dedup.opening import Location, Opened, OpenIndexes
from modules.wrappers.dedup.packs import PackStream
from modules.wrappers.dedup.reader import BlobReader, DedupStream
from modules.wrappers.dedup.rebuilding import RebuildReport, rebuild
from modules.wrappers.dedup.renewing import known_packs, renew
from modules.wrappers.dedup.rewrapping import rewrap_packs
from modules.wrappers.dedup.schema import DATABASE_NAME
from modules.wrappers.dedup.tools import Tools
from modules.wrappers.dedup.upkeep import collect, keep_up
from modules.wrappers.dedup.writer import Put

_READ: Final = "read deduplicated object"


class DedupStorage(Wrapper):
    """Stores equal chunks of content once, in packs that it keeps in another module.

    Chunks are shared within a key domain: a volume and its clones. Put it above encryption, never
    below: what is encrypted has no equal chunks. The index is a database in the volume's state
    directory, so it is snapshotted, cloned and rolled back with the packs.

    Args:
        inner: the name of the configured module that keeps the packs.
        average_bytes: of a chunk: 65536, 262144 or 1048576; for new volumes.
        pack_bytes: when a pack is full; for new volumes. A put holds at most two in memory.
        codec: "zstd" or "none", for each chunk; for new volumes.
        state_dir: where the indexes are, for an inner module that has no state directories.
        key_domain: the domain where nobody knows the volume's.
    """

    binds_to_domain = True

    def __init__(
        self,
        *,
        inner: str,
        average_bytes: int = AVERAGES[0],
        pack_bytes: int = 16 * MIB,
        codec: str = "zstd",
        state_dir: str | None = None,
        key_domain: str = DEFAULT_DOMAIN,
    ) -> None:
        super().__init__(inner=inner, key_domain=key_domain)
        check_parameters(average_bytes, pack_bytes, codec)
        if state_dir is not None and not (isinstance(state_dir, str) and os.path.isabs(state_dir)):
            raise ConfigurationError("must be an absolute path", field="state_dir")
        self._average_bytes = average_bytes
        self._pack_bytes = pack_bytes
        self._is_compressed = codec == "zstd"
        self._state_dir = state_dir
        self._indexes = OpenIndexes()

    def offers(self, inner: StorageModule) -> dict[str, Any]:
        """Return what holds around *inner*.

        Raises:
            ConfigurationError: nobody, or both, say where the index is.
        """
        self._check_state_dir(inner)
        found = super().offers(inner)
        found.pop("upkeep", None)  # our own does the inner module's, too
        if "rewrap_kept" in found:
            found["rewrap_kept"] = self._rewrap_kept
        return found

    def available(self, context: Context, module_data: str) -> bool:
        """Return True when the object is in the index, and its root's pack in the inner module."""
        with suppress(StorageError), self._opened(context) as opened:
            found = self._object(opened, module_data)
            place = opened.index.find([found.root]).get(found.root)
            return place is not None and self.inner(context).available(context, place.pack)
        return False

    def put(self, context: Context, stream: SupportsRead) -> str:
        """Store what is new of *stream*; durable on return, as the inner module makes it.

        Raises:
            Busy: it took too long, or the volume is to be let go; send it again.
        """
        expected_bytes = content_length(context)
        with self._changing(context) as opened:
            assert opened.domain is not None
            assert opened.packer is not None
            store = partial(self._store_pack, context)
            put = Put(opened.index, opened.domain, opened.packer, store, opened.check)
            return put.run(stream, expected_bytes)

    def get_read_stream(self, context: Context, module_data: str) -> DedupStream:
        """Return the object's content; every chunk is proven when it is read.

        Raises:
            IntegrityError: it is not what was put.
        """
        with self._opened(context) as opened:
            found = self._object(opened, module_data)
            assert opened.domain is not None
            blobs = self._blob_reader(context, opened.domain, module_data)
            try:
                place = blobs.find([found.root])[found.root]
                kind = place.blob.kind
                return DedupStream(blobs, found.root, kind, found.length, module_data)
            except BaseException:
                blobs.close()
                raise

    def delete(self, context: Context, module_data: str) -> None:
        """Forget the object. Its chunks go when they are collected, if nobody needs them."""
        parsed = parse_module_data(module_data)
        with suppress(VolumeNotFound), self._changing(context) as opened:
            if opened.domain is None or opened.domain.id != parsed.domain:
                return
            self._check_mac(opened.domain, parsed, module_data)
            with hold_deletes(self._fence(context)):
                opened.index.delete_object(parsed.uid)

    def statistics(self, context: Context) -> dict[str, Any]:
        """Return the inner module's statistics, and what deduplication saves.

        ``deduplication.logical_bytes`` is what clients stored, ``stored_bytes`` what packs take.
        """
        with self._opened(context) as opened:
            own = opened.index.statistics()
        return {**self.inner(context).statistics(context), "deduplication": own}

    def collect(
        self, context: Context, *, grace: timedelta = GRACE, should_stop: ShouldStop = never
    ) -> CollectReport:
        """Remove the chunks that nobody needs, and packs of which nothing is left; beside puts.

        Args:
            grace: how long packs stay for those who read in them.
            should_stop: asked now and then; what is left, a later call does.
        """
        with self._tools(context) as tools:
            return collect(tools, should_stop, grace=grace)

    def compact(self, context: Context, *, should_stop: ShouldStop = never) -> CompactReport:
        """Copy what is needed out of small and half-empty packs; beside puts and readers.

        The old packs go with a later :meth:`collect`.
        """
        with self._tools(context) as tools:
            return compact(tools, should_stop)

    def upkeep(self, context: Context, *, should_stop: Callable[[], bool]) -> bool:
        """Collect and compact, a part of it, as modules.extensions.SupportsUpkeep has it."""
        inner = self.inner(context)
        is_left = isinstance(inner, SupportsUpkeep) and inner.upkeep(
            context, should_stop=should_stop
        )
        if self._location(context).is_read_only or not self.has_index(context):
            return is_left
        with self._tools(context) as tools:
            return keep_up(tools, should_stop, grace=GRACE) or is_left

    def fsck(
        self,
        context: Context,
        *,
        level: int = 1,
        repair: bool = False,
        progress: Callable[[int], None] = lambda packs: None,
    ) -> FsckReport:
        """Compare index and packs, up to *level*; see :mod:`modules.wrappers.dedup.fsck`."""
        with self._tools(context) as tools:
            return check(tools, level=level, repair=repair, progress=progress)

    def rebuild_index(
        self, context: Context, objects: Iterable[str], packs: Iterable[str] | None = None
    ) -> RebuildReport:
        """Make a lost index again; see :mod:`modules.wrappers.dedup.rebuilding`.

        Args:
            objects: module_data that this module returned, of every object that must stay.
            packs: their module_data in the inner module; None when its sweep names them, as
                that of ZFSStorage does, and that of a wrapper does not.
        """
        inner = self.inner(context)
        if packs is None:
            if not isinstance(inner, SupportsSweep):
                raise InvalidArgument("the inner module cannot name its objects", field="packs")
            packs = inner.sweep(context, (), older_than=timedelta(0)).unreferenced
        with self._opened(context) as opened:
            report = rebuild(
                opened.index,
                self.key_domain(context),
                partial(inner.get_read_stream, context),
                packs,
                objects,
            )
        self._indexes.close_volume(self._location(context))
        return report

    def has_index(self, context: Context) -> bool:
        """Tell whether anything was ever put there, or the index is lost; makes none."""
        return (self._location(context).directory / f"{DATABASE_NAME}.db").exists()

    def known_packs(self, context: Context) -> list[str]:
        """Return the inner module_data of all packs that the index has, as far as it is readable.

        Also as of a snapshot, which may have what a damaged index does not tell any more.
        """
        return known_packs(self._location(context))

    def renew_index(
        self,
        context: Context,
        objects: Iterable[str],
        packs: Iterable[str],
        *,
        patience_s: float = PATIENCE_S,
    ) -> RebuildReport:
        """Make an index anew as :meth:`rebuild_index` does, in place of what is there.

        Where there are fences, nobody else is in the volume meanwhile; elsewhere see to it that
        nobody is.

        Raises:
            Busy: somebody did not let go of the volume in time; nothing was changed.
        """
        location = self._location(context)
        self._indexes.close_volume(location)
        open_pack = partial(self.inner(context).get_read_stream, context)
        return renew(location, self.key_domain(context), open_pack, packs, objects, patience_s)

    @contextmanager
    def _tools(self, context: Context) -> Iterator[Tools]:
        with self._changing(context) as opened:
            inner = self.inner(context)
            assert opened.domain is not None
            yield Tools(
                opened.index,
                opened.domain,
                opened.index.find,
                partial(inner.get_read_stream, context),
                partial(self._store_pack, context),
                partial(inner.delete, context),
                opened.hold,
            )

    def _blob_reader(self, context: Context, domain: Domain, subject: str) -> BlobReader:
        """Return what reads chunks of the context's volume; it holds no index open."""

        def find(ids: list[bytes]) -> Any:
            with self._opened(context) as opened:
                return opened.index.find(ids)

        return BlobReader(
            domain, find, lambda pack: self.inner(context).get_read_stream(context, pack), subject
        )

    def _store_pack(self, context: Context, stream: SupportsRead, size_bytes: int) -> str:
        """Store a pack in the inner module and return its module_data there."""
        inner = self.inner(context)
        made = inner.put(self.inner_context(context, content_length=size_bytes), stream)
        if isinstance(stream, PackStream) and not stream.is_complete:
            with suppress(StorageError):
                inner.delete(context, made)
            raise SubstrateError(
                "it did not read the stream to its end",
                operation="put into module",
                subject=self._inner_name,
                hint="run zfsstore module check on it",
            )
        return made

    def _rewrap(self, context: Context, module_data: str) -> str:
        """Return *module_data*: it has no key in it; those of the packs are ``rewrap_kept``."""
        parse_module_data(module_data)
        return module_data

    def _rewrap_kept(self, context: Context) -> Iterator[bool]:
        inner = self.inner(context)
        assert isinstance(inner, SupportsRewrap)
        yield from inner.rewrap_kept(context)
        with self._changing(context) as opened:

            def rewrap(pack: str) -> str:
                opened.check()
                return inner.rewrap(context, pack)

            yield from rewrap_packs(opened.index, rewrap)

    def _sweep(
        self, context: Context, live: Iterable[str], *, older_than: timedelta, dry_run: bool = True
    ) -> SweepReport:
        """Sweep our objects by *live*, and the inner module by the packs of the index."""
        inner = self.inner(context)
        assert isinstance(inner, SupportsSweep)
        with self._tools(context) as tools:
            with hold_deletes(self._fence(context)):
                ours = sweeping.sweep_objects(
                    tools.index, tools.domain, live, older_than=older_than, dry_run=dry_run
                )
            packs = sweeping.pack_names(tools.index)
            theirs = inner.sweep(context, packs, older_than=older_than, dry_run=dry_run)
            missing = frozenset(theirs.missing)
            lost = sweeping.objects_in(tools, missing) if missing else ()
        return sweeping.joined(ours, theirs, lost)

    def _object(self, opened: Opened, module_data: str) -> ModuleData:
        """Return what *module_data* says, proven, of an object that is there.

        Raises:
            InvalidModuleData: it is forged.
            ObjectNotFound: there is no such object here.
        """
        parsed = parse_module_data(module_data)
        domain = opened.domain
        if domain is not None and domain.id == parsed.domain:
            self._check_mac(domain, parsed, module_data)
            if opened.index.has_object(parsed.uid, parsed.root, parsed.length):
                return parsed
        raise ObjectNotFound("it does not exist", operation=_READ, subject=module_data)

    def _check_mac(self, domain: Domain, parsed: ModuleData, module_data: str) -> None:
        if not domain.check_mac(parsed.mac, parsed.uid, parsed.root, parsed.length):
            raise unknown_module_data(module_data)

    @contextmanager
    def _opened(self, context: Context) -> Iterator[Opened]:
        key_domain = self.key_domain(context)
        with self._indexes.lease(self._location(context)) as opened:
            if opened.domain is not None and opened.domain.key_domain != key_domain:
                raise IntegrityError(
                    "it belongs to another key domain",
                    operation="open index",
                    subject=opened.index.database.name,
                    hint="was it copied from another volume?",
                )
            yield opened

    @contextmanager
    def _changing(self, context: Context) -> Iterator[Opened]:
        """Open the index of a volume that may be changed.

        Raises:
            InvalidArgument: the context asks for a snapshot.
            PermissionDenied: the volume is a replica.
        """
        if context.get("snapshot") is not None:
            raise InvalidArgument(
                "a snapshot cannot be changed",
                field="context.snapshot",
                operation="change snapshot",
                subject=str(context["snapshot"])[:80],
                hint="clone it, and change the clone",
            )
        with self._opened(context) as opened:
            if opened.index.database.is_read_only:
                raise PermissionDenied(
                    "it is a read-only replica",
                    operation="change volume",
                    subject=str(context.get("tenant"))[:80],
                    hint="break it off from what it is a replica of first",
                )
            yield opened

    def _location(self, context: Context) -> Location:
        inner = self.inner(context)
        is_read_only = context.get("snapshot") is not None
        if isinstance(inner, SupportsStateDir):
            directory = inner.state_dir(context)
            if not is_read_only and isinstance(inner, SupportsVolumeIdentity):
                is_read_only = inner.identity(context).is_read_only
        else:
            directory = self._own_directory(self.key_domain(context))
        return Location(directory, self._fence(context), is_read_only, partial(self._new, context))

    def _fence(self, context: Context) -> Path | None:
        inner = self.inner(context)
        return inner.fence(context) if isinstance(inner, SupportsFence) else None

    def _own_directory(self, key_domain: str) -> Path:
        if self._state_dir is None:
            raise self._no_state_dir()
        name = hashlib.sha256(key_domain.encode("utf-8", "surrogatepass")).hexdigest()[:32]
        path = Path(self._state_dir, name)
        with translated_oserror(operation="make directory for index", subject=str(path)):
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
        return path

    def _new(self, context: Context) -> Domain:
        return Domain.make(
            self.key_domain(context),
            average_bytes=self._average_bytes,
            pack_bytes=self._pack_bytes,
            is_compressed=self._is_compressed,
        )

    def _check_state_dir(self, inner: StorageModule) -> None:
        if isinstance(inner, SupportsStateDir):
            if self._state_dir is not None:
                raise ConfigurationError(
                    "the inner module has state directories: an index elsewhere would not be"
                    " snapshotted and rolled back with the packs",
                    field="state_dir",
                )
        elif self._state_dir is None:
            raise self._no_state_dir()

    def _no_state_dir(self) -> ConfigurationError:
        return ConfigurationError(
            f"{self._inner_name} has no state directories: say where the index is to be",
            field="state_dir",
        )

    def _inner_data(self, module_data: str) -> str:
        raise InvalidModuleData(
            "a deduplicated object is not one object of the inner module", field="module_data"
        )
