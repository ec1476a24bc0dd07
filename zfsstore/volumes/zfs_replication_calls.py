"""Streams of snapshots, from volume to volume; by name, for the other side has uuids of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from modules.errors import Conflict, InvalidArgument, VolumeExists, VolumeNotFound
from modules.volumes import Volume
from zfsstore import layout
from zfsstore.volumes import common
from zfsstore.volumes.datasets import (
    OBJECT_RECORDSIZE,
    UUID,
    Found,
    creation_properties,
    is_complete,
    require_mounted,
    settle,
)
from zfsstore.volumes.zfs_naming import named_errors
from zfsstore.volumes.zfs_stream_head import StreamHead, read_head
from zfsstore.volumes.zfs_trash_calls import TrashCalls
from zfsstore.volumes.zfs_volume_calls import to_dict
from zfsstore.zfs.names import check_short_name, split_volume_name
from zfsstore.zfs.seam import CommandReader, CommandWriter
from zfsstore.zfs.stream_commands import SendFlags
from zfsstore.zfs.streams import CHUNK_BYTES
from zfsstore.zfs.transfer import SupportsRead, copy_stream

Progress = Callable[[int], None]

_TAKE_OVER_PATIENCE_S: Final = 120.0
"""A transfer of hours is not to be thrown away for an upload of minutes."""


class ReplicationCalls(TrashCalls):
    """The tier of replication."""

    def send_stream(
        self, volume: str, snapshot: str, base: str | None = None, *, raw: bool = False
    ) -> CommandReader:
        """Return the snapshot as a stream of bytes, to be read and closed.

        What the command fails of is raised by a read, at the latest by the one that would have
        returned the end. Closed early, or dropped, it kills the command.

        Args:
            volume: its name.
            snapshot: its name.
            base: an older snapshot that the receiver has: only what changed since.
            raw: send encrypted blocks as they are, without the key.

        Raises:
            InvalidArgument: the volume has no such snapshot, or base, or base is not older.
            VolumeNotFound: there is no such volume.
            NotSupported: the runner cannot stream.
        """
        found = self._lookup.named(volume)
        if found is None:
            raise VolumeNotFound("it does not exist", operation="send volume", subject=volume)
        known = [one.name for one in self._snapshots(found)]
        for field, name in (("snapshot", snapshot), ("base", base)):
            if name is not None and check_short_name(name, field=field) not in known:
                raise InvalidArgument(
                    f"the volume {volume!r} has no snapshot {name!r}",
                    field=field,
                    operation="send snapshot",
                    subject=f"{volume}@{snapshot}",
                )
        if base is not None and known.index(base) >= known.index(snapshot):
            raise InvalidArgument(f"{base!r} is not older than {snapshot!r}", field="base")
        return self._zfs.open_send(
            f"{found.dataset}@{snapshot}",
            base=None if base is None else f"{found.dataset}@{base}",
            flags=SendFlags(raw=raw, compressed=True, large_blocks=True),
        )

    def receive_stream(
        self,
        destination: str,
        stream: SupportsRead,
        *,
        uuid: str | None = None,
        read_only: bool = True,
        rollback: bool = False,
        on_progress: Progress | None = None,
    ) -> int:
        """Make a volume of a full stream, or bring one up to date with an incremental one.

        Clients may read the volume until the last bytes have come; then they are held off for
        the moment of the change.

        Args:
            destination: the volume's name.
            stream: read to its end; one that raises changes nothing.
            uuid: of a new volume. None: the one it has where it comes from, unless a volume of
                this pool has that, then a new one.
            read_only: a new volume is (``vol_type`` "dp"), so that the next stream fits;
                :meth:`break_off_volume` ends that.
            rollback: throw away what was changed in the volume since the last snapshot that it
                has in common with the stream.
            on_progress: called with the bytes so far.

        Returns:
            The bytes of the stream.

        Raises:
            VolumeExists: a full stream, and the name, or the *uuid*, is taken.
            VolumeNotFound: an incremental one and no such volume, or not the tenant.
            Diverged: the volume was changed, or does not have the stream's base.
            InvalidStream: the stream is broken, or none.
            InvalidArgument: it is several streams in one, or holds no volume.
            Busy: the volume was not let go in time.
        """
        split_volume_name(destination)
        if uuid is not None and common.parse_uuid(uuid) is None:
            raise InvalidArgument(f"{uuid!r:.100} is no uuid", field="uuid")
        head = read_head(stream)
        present = self._lookup.named(destination)
        if head.base_guid is None:
            with self._lookup.control("receive volume", destination):
                self._check_target(destination, "receive volume")
                self._lookup.create_fence(destination)
            return self._receive_new(
                destination, _Whole(head, stream), uuid, on_progress, read_only=read_only
            )
        if present is None:
            raise VolumeNotFound(
                "it does not exist, and the stream holds only what changed",
                operation="receive volume",
                subject=destination,
                hint="send it without a base first",
            )
        sink = self._zfs.open_receive(present.dataset, mount=True, rollback=rollback)
        with sink, named_errors("receive volume", destination):
            return self._receive_into(present, sink, _Whole(head, stream), on_progress)

    def break_off_volume(self, uuid: str) -> Volume:
        """Let a received volume be written to, and return it; streams no longer fit it then.

        Raises:
            Busy: it was not let go in time.
        """
        with self._lookup.control("break off volume", uuid):
            found = self._lookup.need(uuid, "break off volume")
            with self._lookup.alone([found.name], patience_s=self.patience_s):
                self._zfs.set(found.dataset, {"readonly": "off"})
                found = self._lookup.need(uuid, "break off volume")
                settle(found)
            return to_dict(found)

    def _receive_new(
        self,
        name: str,
        stream: SupportsRead,
        uuid: str | None,
        on_progress: Progress | None,
        *,
        read_only: bool,
    ) -> int:
        parts = split_volume_name(name)
        dataset = self._lookup.dataset(parts)
        own = common.parse_uuid(uuid) or common.new_uuid()
        if uuid is not None and self._lookup.is_taken(own):
            raise VolumeExists("a volume has this uuid", operation="receive volume", subject=own)
        properties = {
            **creation_properties(own, parts[-1], None),
            "recordsize": OBJECT_RECORDSIZE,
            "readonly": "on" if read_only else "off",
        }
        undone = self._undone(dataset, own, with_snapshots=True)
        with undone, named_errors("receive volume", name):
            sink = self._zfs.open_receive(dataset, mount=True, properties=properties)
            total = copy_stream(stream, sink, on_progress=on_progress)
            with self._lookup.control("receive volume", name):
                self._adopt(dataset, own, name, keeps_uuid=uuid is None)
        return total

    def _adopt(self, dataset: str, own: str, name: str, *, keeps_uuid: bool) -> None:
        """Make sure that a volume has come, and give it the uuid it had when that is free.

        Raises:
            InvalidArgument: something else has come.
        """
        self._lookup.remember(own, dataset)
        found = self._lookup.need(own, "receive volume")
        if not found.is_mounted:
            require_mounted(dataset, found.path, operation="receive volume")
        if not is_complete(found):
            raise InvalidArgument(
                "what was sent is no volume of an object store",
                field="stream",
                operation="receive volume",
                subject=name,
            )
        if keeps_uuid:
            record = layout.read_volume_file(found.path, subject=name)
            sent = common.parse_uuid(record.uuid)
            if sent is not None and not self._lookup.is_taken(sent):
                self._zfs.set(dataset, {UUID: sent})
                self._lookup.remember(sent, dataset)
                found = self._lookup.need(sent, "receive volume")
        settle(found)

    def _receive_into(
        self,
        found: Found,
        sink: CommandWriter,
        stream: SupportsRead,
        on_progress: Progress | None,
    ) -> int:
        """Write the stream to *sink*, its last bytes when nobody uses the volume any more.

        ZFS builds the new state aside, and puts it in the place of the old one when the last
        record has come.
        """
        total = 0
        held = stream.read(CHUNK_BYTES)
        while data := stream.read(CHUNK_BYTES):
            sink.write(held)
            total += len(held)
            held = data
            if on_progress is not None:
                on_progress(total)
        patience_s = max(self.patience_s, _TAKE_OVER_PATIENCE_S)
        with self._lookup.control("receive volume", found.name):
            present = self._lookup.need(found.uuid, "receive volume")
            if present.dataset != found.dataset:
                raise Conflict(
                    f"it was renamed to {present.name!r}",
                    operation="receive volume",
                    subject=found.name,
                    hint="send the stream again",
                )
            with self._lookup.alone([found.name], patience_s=patience_s):
                sink.write(held)
                sink.finish()
                settle(present)
        if on_progress is not None:
            on_progress(total + len(held))
        return total + len(held)


class _Whole:
    """A stream whose first record was read already, from its beginning."""

    def __init__(self, head: StreamHead, stream: SupportsRead) -> None:
        self._head = head.data
        self._stream = stream

    def read(self, size: int, /) -> bytes:
        if self._head:
            data, self._head = self._head[:size], self._head[size:]
            return data
        return self._stream.read(size)
