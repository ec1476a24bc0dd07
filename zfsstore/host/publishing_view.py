"""Bringing the files of one published bucket up to its keys."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol, runtime_checkable

from modules.context import Context
from modules.errors import (
    IntegrityError,
    InvalidArgument,
    NotSupported,
    ObjectNotFound,
)
from modules.extensions import Piece, SupportsPublish, SupportsStateDir
from zfsstore.host.blobs import Modules
from zfsstore.host.namespace.index import Index
from zfsstore.host.namespace.journal import BATCH, ViewState, ViewStatus
from zfsstore.host.namespace.records import Kind, Version
from zfsstore.host.publishing_mark import Mark, hold_mark

_LOOKUPS: Final = 8
_log = logging.getLogger(__name__)


@runtime_checkable
class PublishingModule(SupportsPublish, SupportsStateDir, Protocol):
    """A module that shows a bucket's objects as files, and keeps its index beside them."""


@dataclass(frozen=True, slots=True)
class ViewUpdater:
    """Brings a bucket's files up to its keys.

    Args:
        index: the bucket's; stays open as long as this is used.
        module: the one of the bucket's vendor modules that shows its files.
        modules: gives the modules that hold its objects.
        context: of calls about the bucket.
        label: "acme/photos".
    """

    index: Index
    module: PublishingModule
    modules: Modules
    context: Context
    label: str

    def update(
        self,
        *,
        until: Callable[[], bool] = lambda: False,
        patience_s: float = 0.0,
        progress: Callable[[int], None] = lambda count: None,
    ) -> bool:
        """Show what changed, and go on building; return whether the files are as the keys are.

        May be killed at any point and called again.

        Args:
            until: asked between batches; True ends it before it is done.
            patience_s: how long to wait for another process that is at it.
            progress: called with the number of keys that were looked at since the last call.

        Raises:
            Busy: another process is at it, or somebody waits to be alone in the volume.
            StorageError: it cannot go on now; what is left to do is kept.
        """
        with hold_mark(self.module.state_dir(self.context), patience_s=patience_s) as mark:
            status = self._prepare(mark)
            while status is not None:
                keys, last = self.index.journal.changes()
                state, position = status.state, status.position
                if not keys and state is ViewState.CURRENT:
                    return True
                if state is ViewState.BUILDING:
                    page, position = self._page(position)
                    keys += page
                    state = ViewState.BUILDING if position else ViewState.CURRENT
                self._show(keys)
                sequence = self.index.journal.advance(state=state, position=position, last=last)
                mark.write(sequence)
                progress(len(keys))
                if until():
                    return False
                status = self.index.journal.status()
                if status is not None and status.state is ViewState.TO_BE_CLEARED:
                    status = self._prepare(mark)
        return True

    def _prepare(self, mark: Mark) -> ViewStatus | None:
        """Return from where to go on; what is not known to be of this index is cleared first."""
        journal = self.index.journal
        status = journal.status()
        if status is None:
            return None
        seen = mark.read()
        is_ours = seen is not None and status.sequence - 1 <= seen <= status.sequence
        if status.state is ViewState.TO_BE_CLEARED or not is_ours:
            if status.state is not ViewState.TO_BE_CLEARED:
                _log.warning("%s: its files are not of this index; building them anew", self.label)
            mark.clear()
            self.module.unpublish(self.context)
            journal.advance(state=ViewState.BUILDING, sequence=(seen or 0) + 1, is_cleared=True)
            status = journal.status()
            if status is None:
                return None
        if status.sequence != seen:
            mark.write(status.sequence)
        return status

    def _page(self, position: str) -> tuple[list[str], str]:
        """Return the next keys to build, and the last of them; "" when they are the last."""
        page = self.index.list_keys(after=position or None, limit=BATCH)
        keys = [version.key for version in page.versions]
        return keys, keys[-1] if page.next_after is not None else ""

    def _show(self, keys: Sequence[str]) -> None:
        for key in keys:
            self._show_key(key)
        self.module.sync_published(self.context, [above for key in keys for above in _path(key)])

    def _show_key(self, key: str) -> None:
        """Show what a key is now. What cannot be shown has no file, and must not hold up others."""
        try:
            self._show_current(key)
        except (IntegrityError, InvalidArgument, ObjectNotFound, _NotShownError) as error:
            _log.warning("%s: no file shows key %r: %s", self.label, key[:200], error)
            self.module.publish(self.context, key, None)

    def _show_current(self, key: str) -> None:
        seen = None
        for _ in range(_LOOKUPS):
            version = self.index.get(key)
            if version is None:
                self._hide(key)
                return
            if version.version_id == seen:
                break
            try:
                self._show_version(key, version)
                return
            except ObjectNotFound:
                seen = version.version_id  # replaced just now, or its data is lost
        raise ObjectNotFound("its data is missing", operation="publish object", subject=key)

    def _show_version(self, key: str, version: Version) -> None:
        if version.kind is Kind.CONTAINER:
            self.module.publish(self.context, key, "")
            return
        extents = version.extents
        shown_by = self._module_of(version)
        if len(extents) == 1 and extents[0].length == extents[0].blob.size_bytes:
            shown_by.publish(self.context, key, extents[0].blob.module_data)
        else:
            pieces = [Piece(e.blob.module_data, e.offset, e.length) for e in extents]
            shown_by.publish_pieces(self.context, key, pieces)

    def _module_of(self, version: Version) -> SupportsPublish:
        names = {extent.blob.module for extent in version.extents}
        if not names:
            return self.module
        module: Any = self.modules(names.pop())
        if names or not isinstance(module, SupportsPublish):
            raise _NotShownError("not every module that holds it can show files")
        return module

    def _hide(self, key: str) -> None:
        """Take a key's file away, and the directories that nothing lies in any more."""
        self.module.publish(self.context, key, None)
        for above in _path(key)[1:]:
            if self.index.is_container(above):
                return
            self.module.publish(self.context, above, None)


class _NotShownError(Exception):
    """An object that cannot be a file."""


def _path(key: str) -> list[str]:
    """Return the key and those of the containers it lies in, innermost first."""
    found = [key]
    while (end := found[-1][:-1].rfind("/")) >= 0:
        found.append(found[-1][: end + 1])
    return found


def publishing_module(module: object, name: str) -> PublishingModule:
    """Return *module* when it can show files.

    Raises:
        NotSupported: it cannot.
    """
    if not isinstance(module, PublishingModule):
        raise NotSupported(
            f"the module {name!r}, which holds it, cannot show objects as files",
            capability="publish",
            operation="publish bucket",
        )
    return module


def deadline(limit_s: float) -> Callable[[], bool]:
    """Return what says True after so many seconds."""
    end = time.monotonic() + limit_s
    return lambda: time.monotonic() >= end
