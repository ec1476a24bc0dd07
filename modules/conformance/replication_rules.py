"""Rules about streams of snapshots: modules.volumes.ReplicationBackend."""

from __future__ import annotations

import contextlib
import io
from functools import partial
from typing import Final

from modules.conformance.payload import read_exactly
from modules.conformance.rule import rule
from modules.conformance.scale import MIB
from modules.conformance.volume_help import VolumeHelp
from modules.errors import Conflict, InvalidArgument, NotFound, StorageError, VolumeExists
from modules.volumes import ReplicationBackend

_SOURCE: Final = "source"
_MAX_BYTES: Final = 256 * MIB


class ReplicationRules(VolumeHelp):
    """What must hold of streams; skipped when none are offered.

    The source has two snapshots. In both is "stays"; "goes" is in the first, "comes" in the
    second alone.
    """

    @rule("replication.full", "a stream makes a volume with the snapshot, and what it holds")
    def test_replication_full(self) -> None:
        backend = self._source()
        stream = self._sent("one")
        size = backend.receive_stream(f"{self.store.tenant}/copy", io.BytesIO(stream))
        self._remember("copy")
        self.require(size == len(stream), f"receive_stream returned {size!r} of {len(stream)}")
        for snapshot in (None, "one"):
            context = self.inside("copy", snapshot)
            for seed in ("stays", "goes"):
                self.holds(context, self.shared[f"{_SOURCE}:{seed}"], seed, "in the copy")
            self.lacks(context, self.shared[f"{_SOURCE}:comes"], "in the copy")
        uuid = self._uuid("copy")
        listed = [snapshot["name"] for snapshot in backend.list_snapshots(uuid)]
        self.require(listed == ["one"], f"the copy's snapshots are {listed}, not ['one']")

    @rule("replication.state", "the databases come with the stream")
    def test_replication_state(self) -> None:
        backend = self._source()
        self.state_dir(self.store.context())
        backend.receive_stream(f"{self.store.tenant}/state-copy", io.BytesIO(self._sent("one")))
        self._remember("state-copy")
        found = self.frozen_items("state-copy", "one")
        self.require(found == {"one": ""}, f"the rows in the copy are {sorted(found)}")

    @rule("replication.incremental", "a stream with a base brings the copy up to date")
    def test_replication_incremental(self) -> None:
        backend = self._source()
        name = f"{self.store.tenant}/follower"
        backend.receive_stream(name, io.BytesIO(self._sent("one")))
        self._remember("follower")
        backend.receive_stream(name, io.BytesIO(self._sent("two", "one")))
        for snapshot, here, absent in (
            ("one", "goes", "comes"),
            ("two", "comes", "goes"),
            (None, "comes", "goes"),
        ):
            context = self.inside("follower", snapshot)
            for seed in ("stays", here):
                self.holds(context, self.shared[f"{_SOURCE}:{seed}"], seed, f"in {snapshot}")
            self.lacks(context, self.shared[f"{_SOURCE}:{absent}"], f"in {snapshot}")
        listed = [one["name"] for one in backend.list_snapshots(self._uuid("follower"))]
        self.require(listed == ["one", "two"], f"the copy's snapshots are {listed}")

    @rule("replication.unknown", "sending an unknown snapshot, base or volume is refused at once")
    def test_replication_unknown(self) -> None:
        backend = self._source()
        name = f"{self.store.tenant}/{_SOURCE}"
        refused = (InvalidArgument, NotFound)
        calls = {
            "an unknown snapshot": partial(backend.send_stream, name, "unknown"),
            "an unknown base": partial(backend.send_stream, name, "two", "unknown"),
            "a base that is younger": partial(backend.send_stream, name, "one", "two"),
            "an unknown volume": partial(backend.send_stream, f"{name}-absent", "one"),
        }
        for what, call in calls.items():
            self.raises(refused, f"send_stream of {what}", call)

    @rule("replication.exists", "a whole stream does not replace a volume")
    def test_replication_exists(self) -> None:
        backend = self._source()
        stream = self._sent("two")
        receive = partial(backend.receive_stream, f"{self.store.tenant}/{_SOURCE}")
        self.raises(VolumeExists, "receiving over a volume", partial(receive, io.BytesIO(stream)))

    @rule("replication.diverged", "a stream that does not fit the volume raises Conflict")
    def test_replication_diverged(self) -> None:
        backend = self._source()
        self.new_volume("stranger")
        kept = self.put_into("stranger", "stranger")
        receive = partial(backend.receive_stream, f"{self.store.tenant}/stranger")
        stream = io.BytesIO(self._sent("two", "one"))
        self.raises(Conflict, "receiving without the base", partial(receive, stream))
        self.holds(self.inside("stranger"), kept, "stranger", "in the volume")

    @rule("replication.broken", "a stream that is cut off raises, and leaves no volume")
    def test_replication_broken(self) -> None:
        backend = self._source()
        stream = self._sent("one")
        name = f"{self.store.tenant}/broken"
        for half in (stream[: len(stream) // 2], b"no stream at all", b""):
            receive = partial(backend.receive_stream, name, io.BytesIO(half))
            self.raises(StorageError, f"receiving {len(half)} of {len(stream)} bytes", receive)
            self.require(name not in self.names(), "half a stream made a volume")

    def _replicating(self) -> ReplicationBackend:
        volumes = self.volumes()
        if not isinstance(volumes, ReplicationBackend):
            self.skipTest("it offers no replication")
        return volumes

    def _source(self) -> ReplicationBackend:
        backend = self._replicating()
        volume = self.shared_volume(_SOURCE)
        if f"{_SOURCE}:comes" not in self.shared:
            self._put("stays")
            self._put("goes")
            if self.has_state_dir():
                with self.database(_SOURCE) as connection:
                    connection.execute("INSERT INTO item VALUES ('one', '')")
            backend.create_snapshot(volume, "one")
            self.store.delete(self.shared[f"{_SOURCE}:goes"], context=self.inside(_SOURCE))
            self._put("comes")
            backend.create_snapshot(volume, "two")
        return backend

    def _put(self, seed: str) -> None:
        self.shared[f"{_SOURCE}:{seed}"] = self.put_into(_SOURCE, seed)

    def _sent(self, snapshot: str, base: str | None = None) -> bytes:
        name = f"{self.store.tenant}/{_SOURCE}"
        backend = self._replicating()
        with contextlib.closing(backend.send_stream(name, snapshot, base)) as stream:
            return read_exactly(stream, _MAX_BYTES)

    def _uuid(self, name: str) -> str:
        full = f"{self.store.tenant}/{name}"
        found = [
            volume["uuid"] for volume in self.volumes().list_volumes() if volume["name"] == full
        ]
        self.require(len(found) == 1, f"list_volumes shows {len(found)} volumes called {full!r}")
        return found[0]

    def _remember(self, name: str) -> None:
        self.passing({"uuid": self._uuid(name)})
