"""The backend's calls that send and receive streams of snapshots."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Final

from modules.errors import InvalidArgument, NotFound, VolumeExists
from modules.volumes import Volume
from zfsstore.backend.keeping_calls import KeepingCalls
from zfsstore.backend.lookup import named_errors
from zfsstore.backend.rows import FSID, VolumeRow
from zfsstore.volumes.common import new_uuid, no_such_volume, parse_uuid
from zfsstore.volumes.datasets import NAME
from zfsstore.zfs.names import check_short_name
from zfsstore.zfs.seam import CommandReader
from zfsstore.zfs.stream_commands import SendFlags
from zfsstore.zfs.transfer import SupportsRead, copy_stream

_NOT_TAKEN_OVER: Final = ("sharenfs", "sharesmb", "canmount", FSID, NAME)


class ReplicationCalls(KeepingCalls):
    """Streams. Volumes and snapshots go by name here: the other side knows no uuid of ours."""

    def send_stream(
        self, volume: str, snapshot: str, base: str | None = None, *, raw: bool = False
    ) -> CommandReader:
        """Return the snapshot as a stream of bytes, to be read and closed.

        What the command fails of is raised by a read, at the latest by the one that would have
        returned the end. Closed early, or dropped, it kills the command.

        Args:
            volume: its name.
            snapshot: its name.
            base: an older snapshot that the receiver has, or "#NAME" for a bookmark of it: only
                what changed since.
            raw: send encrypted blocks as they are.

        Raises:
            InvalidArgument: the volume has no such snapshot, or base, or base is not older.
            VolumeNotFound: there is no such volume.
            NotSupported: the runner cannot stream.
        """
        row = self._named(volume, "send snapshot of volume")
        flags = SendFlags(raw=raw)
        source, full_base = f"{row.dataset}@{snapshot}", None
        known = [found.name for found in self._lookup.snapshots(row)]
        self._check_known(row, "snapshot", snapshot, known)
        if base is not None and base.startswith("#"):
            marks = [f"#{mark['name']}" for mark in self._bookmarks(row)]
            self._check_known(row, "base", base, marks)
            full_base = f"{row.dataset}{base}"
            self._zfs.plan_send(source, base=full_base, flags=flags)  # refuses one not older
        elif base is not None:
            self._check_known(row, "base", base, known)
            if known.index(base) >= known.index(snapshot):
                raise InvalidArgument(f"{base!r} is not older than {snapshot!r}", field="base")
            full_base = f"{row.dataset}@{base}"
        return self._zfs.open_send(source, base=full_base, flags=flags)

    def _check_known(self, row: VolumeRow, field: str, name: str, known: Sequence[str]) -> None:
        """Make sure that a volume has a snapshot, or with "#" a bookmark, of that name.

        Raises:
            InvalidArgument: it has none, or it can have none.
        """
        check_short_name(name.removeprefix("#") if isinstance(name, str) else name, field=field)
        if name not in known:
            kind = "bookmark" if name.startswith("#") else "snapshot"
            raise InvalidArgument(
                f"the volume {row.name} has no {kind} {name!r}",
                field=field,
                operation="send snapshot",
                subject=row.name,
            )

    def receive_stream(
        self,
        destination: str,
        stream: SupportsRead,
        *,
        uuid: str | None = None,
        read_only: bool = True,
        rollback: bool = False,
        on_progress: Callable[[int], None] | None = None,
    ) -> int:
        """Receive a whole stream as a new volume, an incremental one into a volume.

        Args:
            destination: the volume's name; what a full stream makes is mounted and exported like
                a new volume, with the owner and mode that came with it.
            stream: read to its end; one that raises leaves nothing behind.
            uuid: of the new volume: the one it has where it comes from, so that it is found under
                the same uuid here. A new one when None.
            read_only: a new volume is (``vol_type`` "dp"), so that no reader's access time keeps
                it from the next stream. :meth:`break_off_volume` ends that.
            rollback: throw away what was changed in the volume since the last snapshot that it
                has in common with the stream (``zfs receive -F``).
            on_progress: called with the bytes so far.

        Returns:
            The bytes of the stream.

        Raises:
            VolumeExists: another dataset has the name, or another volume the uuid.
            Diverged: the volume was changed, or does not have the stream's base.
            InvalidStream: the stream is broken, or none.
            NotSupported: the runner cannot stream.
        """
        self._settings.check_name(destination)
        present = self._present(destination)
        if present is None:
            return self._receive_new(destination, stream, uuid, read_only, on_progress)
        if uuid is not None and present.uuid != parse_uuid(uuid):
            raise VolumeExists(
                "it exists with another uuid", operation="receive volume", subject=destination
            )
        with named_errors("receive volume", destination):
            sink = self._zfs.open_receive(present.dataset, mount=True, rollback=rollback)
            return copy_stream(stream, sink, on_progress=on_progress)

    def break_off_volume(self, uuid: str) -> Volume:
        """Let a received volume be written to, and return it; streams no longer fit it then."""
        with self._lookup.turn():
            row = self._lookup.need(uuid, "break off volume")
            with named_errors("break off volume", row.name):
                self._zfs.set(row.dataset, {"readonly": "off"})
            return self._lookup.at(row.dataset).to_dict()

    def _receive_new(
        self,
        name: str,
        stream: SupportsRead,
        uuid: str | None,
        read_only: bool,
        on_progress: Callable[[int], None] | None,
    ) -> int:
        if uuid is not None and self._lookup.find(uuid) is not None:
            raise VolumeExists("a volume has this uuid", operation="receive volume", subject=uuid)
        counted = 0

        def receive(own: Mapping[str, str]) -> None:
            nonlocal counted
            sink = self._zfs.open_receive(
                self._settings.dataset(name),
                mount=True,
                properties={**own, "readonly": "on" if read_only else "off"},
                exclude=_NOT_TAKEN_OVER,
            )
            counted = copy_stream(stream, sink, on_progress=on_progress)

        publication = replace(self._publisher.as_configured, owner=None, mode=None)
        self._placement.bring_up(
            "receive volume",
            name,
            receive,
            publication,
            uuid=new_uuid() if uuid is None else parse_uuid(uuid),
        )
        return counted

    def _present(self, name: str) -> VolumeRow | None:
        """Return the volume of that name, None when nothing has it.

        Raises:
            VolumeExists: what has it is no volume of ours.
        """
        try:
            return self._named(name, "receive volume")
        except NotFound:
            pass
        try:
            self._lookup.at(self._settings.dataset(name))
        except NotFound:
            return None
        raise VolumeExists(
            "a dataset that is no volume has its name", operation="receive volume", subject=name
        )

    def _named(self, name: str, operation: str) -> VolumeRow:
        self._settings.check_name(name)
        for row in self._lookup.walk():
            if row.name == name:
                return row
        raise no_such_volume(name, operation=operation)
