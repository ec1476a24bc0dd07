"""DedupStorage: what it stores in its inner module is in format D1."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from functools import partial
from typing import Any, Final

from modules import StorageModule
from modules.context import Context, content_length
from modules.errors import (
    InvalidArgument,
    InvalidModuleData,
    ObjectNotFound,
    StorageError,
    SubstrateError,
    VolumeNotFound,
)
from modules.extensions import SupportsRewrap, SupportsSweep, SupportsUpkeep, SweepReport
from modules.fences import PATIENCE_S
from modules.streams import SupportsRead
from modules.wrappers.dedup import sweeping
from modules.wrappers.dedup.blobs import BlobReader
from modules.wrappers.dedup.collecting import GRACE, CollectReport, ShouldStop, never
from modules.wrappers.dedup.compacting import CompactReport, compact
from modules.wrappers.dedup.delete_fence import hold_deletes
from modules.wrappers.dedup.domain import Domain
from modules.wrappers.dedup.format import ModuleData, parse_module_data, unknown_module_data
from modules.wrappers.dedup.fsck import FsckReport, check
from modules.wrappers.dedup.index import Index
from modules.wrappers.dedup.indexed import IndexedWrapper
from modules.wrappers.dedup.opening import Opened
from modules.wrappers.dedup.packs import PackStream
from modules.wrappers.dedup.reader import DedupStream
from modules.wrappers.dedup.rebuilding import RebuildReport, rebuild
from modules.wrappers.dedup.renewing import known_packs, renew
from modules.wrappers.dedup.rewrapping import rewrap_packs
from modules.wrappers.dedup.tools import Tools
from modules.wrappers.dedup.upkeep import collect, keep_up
from modules.wrappers.dedup.writer import Put

_READ: Final = "read deduplicated object"


class DedupStorage(IndexedWrapper):
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
        index: the same in PostgreSQL, for several hosts: ``postgresql+psycopg://...``. Only for an
            inner module without snapshots: the index would not follow them.
        keys: as for EncryptedStorage: the key of chunk ids is then wrapped by the tenant's key, and
            destroyed with it; for new volumes.
        key_domain: the domain where nobody knows the volume's.
    """

    def offers(self, inner: StorageModule) -> dict[str, Any]:
        """Return what holds around *inner*.

        Raises:
            ConfigurationError: nobody, or both, say where the index is.
        """
        self._check_state_dir(inner)
        found = super().offers(inner)
        found.pop("upkeep", None)  # our own does the inner module's, too
        if self.keys is not None or isinstance(inner, SupportsRewrap):
            found["rewrap"], found["rewrap_kept"] = self._rewrap, self._rewrap_kept
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
            if not opened.domain.is_locked:
                self._check_mac(opened.domain, parsed, module_data)
            elif not opened.index.has_object(parsed.uid, parsed.root, parsed.length):
                return
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
        with self._changing(context) as opened:
            report = rebuild(
                opened.index,
                self.key_domain(context),
                partial(inner.get_read_stream, context),
                packs,
                objects,
                self._unlock,
            )
        self._indexes.close_volume(self._location(context))
        return report

    def has_index(self, context: Context) -> bool:
        """Tell whether anything was ever put there, or the index is lost; makes none."""
        return self._location(context).has_index

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
        key_domain = self.key_domain(context)

        def make(index: Index) -> RebuildReport:
            return rebuild(index, key_domain, open_pack, packs, objects, self._unlock)

        return renew(location, make, patience_s)

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
        """Return *module_data*: it has no key in it; those of packs and ids are ``rewrap_kept``."""
        parse_module_data(module_data)
        return module_data

    def _rewrap_kept(self, context: Context) -> Iterator[bool]:
        inner = self.inner(context)
        if not self.has_index(context):
            return
        with self._changing(context) as opened:  # wraps the id key anew
            if not isinstance(inner, SupportsRewrap):
                return
            yield from inner.rewrap_kept(context)

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

    def _inner_data(self, module_data: str) -> str:
        raise InvalidModuleData(
            "a deduplicated object is not one object of the inner module", field="module_data"
        )
