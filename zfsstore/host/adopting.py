"""Taking in an existing tree of files: shared blocks where the file system can, else copies.

Files become objects under their relative paths, with their times and the content types that their
names suggest. A batch of them is stored, durably, then their keys are committed together. A crash
leaves at most one batch of objects that nothing refers to, and the next run goes on: what is there
with the same size and time is left alone.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final

from modules.errors import (
    Busy,
    Conflict,
    NoSpace,
    NotFound,
    NotSupported,
    QuotaExceeded,
    StorageError,
    Unavailable,
    VolumeNotFound,
    translated_oserror,
)
from modules.extensions import SupportsAdopt
from zfsstore.host.adopting_lock import adoption
from zfsstore.host.adopting_tree import EmptyDirectory, Problem, Tree, TreeFile
from zfsstore.host.blobs import Blobs, MakeContext, call_context
from zfsstore.host.catalog.records import Tenant
from zfsstore.host.errors import CommitUncertain
from zfsstore.host.namespace.records import Blob, Draft, Extent, Kind, PutOutcome
from zfsstore.host.namespace.request import Request
from zfsstore.host.opening import BucketOpener, OpenBucket

BATCH: Final = 256
_THREADS: Final = 8
"""They wait for the disk most of the time; those that wait together share its commits."""

_FINAL: Final = (Busy, Unavailable, QuotaExceeded, NoSpace, NotSupported, VolumeNotFound)
"""What the next file would meet, too."""


@dataclass(slots=True)
class AdoptReport:
    """What an adoption did, or would do.

    Attributes:
        adopted, adopted_bytes: files that became objects.
        unchanged: files whose objects were there with the same size and time.
        newer: files whose objects were changed since; those stay.
        containers: empty directories that became containers.
        problems: what was left out.
    """

    adopted: int = 0
    adopted_bytes: int = 0
    unchanged: int = 0
    newer: int = 0
    containers: int = 0
    problems: int = 0


Progress = Callable[[AdoptReport], None]


class Adoption:
    """Adopts files into buckets.

    Args:
        opener, blobs, context: the object service's.
    """

    def __init__(self, opener: BucketOpener, blobs: Blobs, context: MakeContext) -> None:
        self._opener = opener
        self._blobs = blobs
        self._context = context

    def adopt(
        self,
        tenant: Tenant,
        bucket: str,
        directory: Path,
        *,
        link: bool = False,
        dry_run: bool = False,
        problem: Problem = lambda path, reason: None,
        progress: Progress = lambda report: None,
    ) -> AdoptReport:
        """Take in all files below *directory*; durable when this returns. May be called again.

        Empty directories become containers. Links are not followed. An object that was changed
        after its file stays.

        Args:
            link: let the files themselves become the objects, read-only for everybody; whoever
                writes to one all the same changes the object.
            dry_run: only look.
            problem: called with path and reason for whatever is left out.
            progress: called after each batch.

        Raises:
            NotFound, PermissionDenied, InvalidArgument: of *directory*.
            VolumeNotFound: there is no such bucket.
            QuotaExceeded, NoSpace, Busy: what was committed until then stays.
            NotSupported: *link*, and the files lie on another file system, or the module cannot.
        """
        report = AdoptReport()

        def left_out(path: str, reason: str) -> None:
            report.problems += 1
            problem(path, reason)

        with self._opener.open(tenant, bucket) as opened:
            if link and not isinstance(opened.module, SupportsAdopt):
                raise NotSupported(
                    f"the module {opened.module_name!r} cannot link to files",
                    capability="link",
                    operation="adopt files into",
                    subject=opened.path,
                    hint="leave out --link",
                )
        with closing(Tree(directory)) as tree, ThreadPoolExecutor(_THREADS) as threads:
            entries = tree.walk(left_out)
            while batch := list(islice(entries, BATCH)):
                with self._opener.open(tenant, bucket) as opened:
                    context = call_context(opened.module, self._context, opened.path)
                    with adoption(opened.module, context):
                        taker = _Taker(opened, tree, self._blobs, context, link, dry_run)
                        taker.take_in(batch, threads, report, left_out)
                progress(report)
        return report


@dataclass(frozen=True, slots=True)
class _Taker:
    """Takes one batch in, while the bucket is open and sweeps are held off."""

    opened: OpenBucket
    tree: Tree
    blobs: Blobs
    context: dict[str, object]
    link: bool
    dry_run: bool

    def take_in(
        self,
        batch: Sequence[TreeFile | EmptyDirectory],
        threads: Executor,
        report: AdoptReport,
        left_out: Problem,
    ) -> None:
        files = [entry for entry in batch if isinstance(entry, TreeFile)]
        stored: list[tuple[TreeFile, Blob]] = []
        final = None
        for file, outcome in zip(files, threads.map(self._store, files), strict=True):
            match outcome:
                case Blob():
                    stored.append((file, outcome))
                case StorageError():
                    left_out(file.key, outcome.reason)
                    final = outcome if isinstance(outcome, _FINAL) else final
                case _:
                    _count(report, outcome, file)
        self._commit(stored, report, left_out)
        if final is not None:
            raise final
        for entry in batch:
            if isinstance(entry, EmptyDirectory):
                self._create_container(entry, report, left_out)

    def _store(self, file: TreeFile) -> Blob | StorageError | str:
        """Store a file's content, or tell why not: an error, or the name of what it counts as."""
        try:
            if self.opened.hold is not None:
                self.opened.hold.check()
            known = self._known(file)
            if known is not None:
                return known
            self._check_names(file)
            if self.dry_run:
                return "adopted"
            with self.tree.open(file) as fd:
                return self._store_open(file, fd)
        except StorageError as error:
            return error

    def _store_open(self, file: TreeFile, fd: int) -> Blob:
        before = os.fstat(fd)
        name, module = self.opened.module_name, self.opened.module
        if isinstance(module, SupportsAdopt):
            blob = Blob(name, module.adopt(self.context, fd, link=self.link), before.st_size)
        else:
            with (
                translated_oserror(operation="adopt", subject=file.key),
                open(fd, "rb", buffering=0, closefd=False) as stream,
            ):
                blob = self.blobs.put(
                    name, self.opened.path, stream, before.st_size, hold=self.opened.hold
                )
        after = os.fstat(fd)
        if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
            self.blobs.discard(self.opened.path, blob)
            raise Conflict("it changed while it was read", operation="adopt", subject=file.key)
        return blob

    def _known(self, file: TreeFile) -> str | None:
        """Return as what a file counts whose object is there and stays."""
        version = self.opened.index.get(file.key)
        if version is None or version.kind is not Kind.OBJECT or file.modified_at is None:
            return None
        if (version.size_bytes, version.modified_at) == (file.size_bytes, file.modified_at):
            return "unchanged"
        return "newer" if version.modified_at > file.modified_at else None

    def _check_names(self, file: TreeFile) -> None:
        """Refuse what would make one name both an object and a container.

        Raises:
            Conflict: it would.
        """
        index = self.opened.index
        if index.is_container(f"{file.key}/"):
            raise Conflict("a container of that name exists", operation="adopt", subject=file.key)
        for depth in range(1, len(file.names)):
            above = "/".join(file.names[:depth])
            version = index.get(above)
            if version is not None and version.kind is Kind.OBJECT:
                raise Conflict(
                    f"{above!r} is an object, and no container",
                    operation="adopt",
                    subject=file.key,
                )

    def _commit(
        self, stored: Sequence[tuple[TreeFile, Blob]], report: AdoptReport, left_out: Problem
    ) -> None:
        """Commit the keys of one batch together."""
        requests: list[tuple[TreeFile, Blob, Request[PutOutcome]]] = []
        for file, blob in stored:
            draft = Draft(
                extents=(Extent(blob, 0, blob.size_bytes),),
                content_type=file.content_type,
                modified_at=file.modified_at,
            )
            requests.append((file, blob, self.opened.index.submit_put(file.key, draft)))
        for file, blob, request in requests:
            try:
                outcome = request.wait()
            except CommitUncertain:
                raise  # the key may refer to the blob: if not, a sweep finds it
            except StorageError as error:
                self.blobs.discard(self.opened.path, blob)
                left_out(file.key, error.reason)
            else:
                self.blobs.delete(self.opened.path, self.opened.index, outcome.released)
                report.adopted += 1
                report.adopted_bytes += blob.size_bytes

    def _create_container(
        self, entry: EmptyDirectory, report: AdoptReport, left_out: Problem
    ) -> None:
        index = self.opened.index
        if index.is_container(entry.key):
            return
        try:
            for depth in range(1, len(entry.names) + 1):
                if not self.dry_run:
                    index.create_container("/".join(entry.names[:depth]) + "/")
        except (Conflict, NotFound) as error:
            left_out(entry.key, error.reason)
        else:
            report.containers += 1


def _count(report: AdoptReport, outcome: str, file: TreeFile) -> None:
    setattr(report, outcome, getattr(report, outcome) + 1)
    if outcome == "adopted":
        report.adopted_bytes += file.size_bytes
