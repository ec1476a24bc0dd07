"""Sending and receiving snapshots of directory volumes. The stream: directory_stream."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace

from modules.durable import fsync_directory, make_directories
from modules.errors import InvalidArgument, SnapshotExists, VolumeExists, translated_oserror
from modules.streams import SupportsRead
from modules.volumes import Volume
from zfsstore import layout
from zfsstore.layout import VolumeRecord
from zfsstore.volumes import common, directory_trees
from zfsstore.volumes.directory_base import Found
from zfsstore.volumes.directory_clones import CloneCalls
from zfsstore.volumes.directory_journal import Move
from zfsstore.volumes.directory_receiving import Incoming
from zfsstore.volumes.directory_records import SnapshotRecord, check_snapshot
from zfsstore.volumes.directory_sending import send
from zfsstore.volumes.directory_snapshots import place, seal
from zfsstore.volumes.directory_stream import Header, InStream, OutStream, broken
from zfsstore.zfs.errors import Diverged
from zfsstore.zfs.names import split_volume_name


class ReplicationCalls(CloneCalls):
    """The calls of ReplicationBackend. Volumes and snapshots go by name here."""

    def send_stream(self, volume: str, snapshot: str, base: str | None = None) -> OutStream:
        """Return the snapshot, or what changed since *base*, as a stream to be read and closed.

        Looks at every object first. A snapshot that is deleted meanwhile ends the stream with
        SnapshotNotFound.

        Raises:
            InvalidArgument: the volume has no such snapshot, or base, or base is not older.
            VolumeNotFound: there is no such volume.
        """
        with translated_oserror(operation="send snapshot of volume", subject=volume):
            found = self._settled(lambda: self._named(volume, "send snapshot of volume"))
            target = self._snapshot_named(found, snapshot, "snapshot")
            since = None if base is None else self._snapshot_named(found, base, "base")
            if since is not None and since.created_ns >= target.created_ns:
                raise InvalidArgument(f"{base!r} is not older than {snapshot!r}", field="base")
            path = place(found, target.name)
            base_path = None if since is None else place(found, since.name)
            header = _header(found, target, since)
            return OutStream(send(header, path, base_path, subject=f"{found.name}@{snapshot}"))

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
        """Make a volume of a whole stream, update one with an incremental one; durable.

        It is received aside, and takes effect at once at the end or not at all. The volume then
        holds what the snapshot holds, and keeps the snapshot under its name and uuid.

        Args:
            destination: the volume's name.
            stream: read to its end; what it raises passes, and leaves nothing behind.
            uuid: of a new volume. None: the one it has where it comes from, unless a volume here
                has that, then a new one.
            read_only: a new volume is (``vol_type`` "dp"), so that the next stream fits;
                :meth:`break_off_volume` ends that.
            rollback: throw away what was changed in the volume since its newest snapshot.
            on_progress: called now and then with the bytes so far.

        Returns:
            The bytes of the stream.

        Raises:
            VolumeExists: of a whole stream, or another volume has the uuid.
            Diverged: the volume's newest snapshot is not the stream's base, or it was changed.
            SnapshotExists: it has a snapshot of that name.
            InvalidStream: the stream is broken, or none.
            Busy: the volume is in use.
        """
        split_volume_name(destination)
        if uuid is not None and (uuid := common.parse_uuid(uuid)) is None:
            raise InvalidArgument("it is no uuid", field="uuid", operation="receive volume")
        incoming = InStream(stream)
        with (
            translated_oserror(operation="receive volume", subject=destination),
            self._journal.aside() as work,
        ):
            header = incoming.header()
            if header.base is None:
                self._refuse_present(destination, uuid)
            else:
                self._require_base(destination, header)
            tree = f"{work}/snapshot"
            os.mkdir(tree)
            unpacking = Incoming(incoming, header, tree, on_progress)
            unpacking.receive()
            if header.base is None:
                self._install(destination, header, work, uuid, read_only=read_only)
            else:
                self._update(destination, header, work, unpacking, rollback=rollback)
        return incoming.total_bytes

    def break_off_volume(self, uuid: str) -> Volume:
        """Let a received volume be written to, and return it; streams no longer fit it then."""
        with self._control("break off volume", uuid):
            found = self._need(uuid, "break off volume")
            writable = replace(found, record=replace(found.record, is_read_only=None))
            with self._alone([found.name]):  # hosts have its databases open as a replica's
                layout.write_volume_file(found.path, writable.record)
            return self._volume(writable)

    def _snapshot_named(self, found: Found, name: str, field: str) -> SnapshotRecord:
        check_snapshot(name)
        for snapshot in self._snapshots(found):
            if snapshot.name == name:
                return snapshot
        raise InvalidArgument(
            f"the volume {found.name} has no snapshot {name!r}",
            field=field,
            operation="send snapshot",
            subject=f"{found.name}@{name}",
        )

    def _refuse_present(self, destination: str, uuid: str | None) -> None:
        self._settled(lambda: self._require_free(destination, "receive volume"))
        if uuid is not None and self._settled(lambda: self._find(uuid)) is not None:
            raise VolumeExists("a volume has this uuid", operation="receive volume", subject=uuid)

    def _require_base(self, destination: str, header: Header) -> Found:
        """Return the volume that an incremental stream fits."""
        found = self._settled(lambda: self._named(destination, "receive volume"))
        snapshots = self._snapshots(found)
        newest = snapshots[-1] if snapshots else None
        if newest is None or newest.uuid != header.base:
            raise Diverged(
                f"the stream builds on the snapshot {header.base_name!r}, and its newest is "
                + ("none" if newest is None else repr(newest.name)),
                operation="receive volume",
                subject=destination,
                hint="send from its newest snapshot, or receive into a new volume",
            )
        if header.created_ns <= newest.created_ns:
            raise broken("it is older than its base")
        if os.path.lexists(place(found, header.name)):
            raise SnapshotExists(
                "it exists already",
                operation="receive snapshot",
                subject=f"{destination}@{header.name}",
            )
        return found

    def _install(
        self, destination: str, header: Header, work: str, uuid: str | None, *, read_only: bool
    ) -> None:
        """Make the volume that a whole stream holds."""
        tree, volume = f"{work}/snapshot", f"{work}/volume"
        own_name = split_volume_name(destination)[-1]
        record = VolumeRecord(header.key_domain, header.volume_uuid, own_name)
        _seal(tree, header, record)
        os.mkdir(volume)
        directory_trees.make_live(tree, volume, self._instance)
        make_directories(f"{volume}/{layout.SNAPSHOTS}", mode=0o700)
        os.rename(tree, layout.snapshot_path(volume, header.name, is_dataset=False))
        fsync_directory(f"{volume}/{layout.SNAPSHOTS}")
        with self._control("receive volume", destination):
            self._refuse_present(destination, uuid)
            path = self._require_free(destination, "receive volume")
            own = uuid or header.volume_uuid
            if uuid is None and self._find(own) is not None:
                own = common.new_uuid()
            record = replace(record, uuid=own, is_read_only=read_only or None)
            layout.write_volume_file(volume, record)
            fsync_directory(volume)
            directory_trees.give_to_owner(volume, os.path.dirname(path))
            self._make_fences(destination)
            self._journal.commit([Move(volume, path), *self._counted_again(destination)])

    def _update(
        self, destination: str, header: Header, work: str, unpacking: Incoming, *, rollback: bool
    ) -> None:
        """Bring a volume from the stream's base to the stream's snapshot."""
        tree = f"{work}/snapshot"
        with self._control("receive volume", destination):
            found = self._require_base(destination, header)
            newest = place(found, self._snapshots(found)[-1].name)
            unpacking.add_base(newest)
            _seal(tree, header, replace(found.record, key_domain=header.key_domain))
            directory_trees.give_to_owner(tree, found.path)
            self._prepare(found, tree, work)
            with self._alone([found.name]):
                if not rollback and not directory_trees.is_unchanged(found.path, newest, work):
                    raise Diverged(
                        "it was changed since its newest snapshot",
                        operation="receive volume",
                        subject=destination,
                        hint="roll it back to that, or receive into a new volume",
                    )
                self._switch(found, work, come=[Move(tree, place(found, header.name))])


def _header(found: Found, target: SnapshotRecord, since: SnapshotRecord | None) -> Header:
    path = place(found, target.name)
    return Header(
        name=target.name,
        uuid=target.uuid,
        created_ns=target.created_ns,
        volume=found.name,
        volume_uuid=found.record.uuid,
        key_domain=layout.read_volume_file(path, subject=found.name).key_domain,
        objects=0,
        object_bytes=0,
        base=None if since is None else since.uuid,
        base_name=None if since is None else since.name,
    )


def _seal(tree: str, header: Header, record: VolumeRecord) -> None:
    size = sum(header.databases.values())
    seal(tree, SnapshotRecord(header.uuid, header.name, header.created_ns, size), record)
