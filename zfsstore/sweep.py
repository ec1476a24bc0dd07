"""Finding, and moving aside, what no live object needs. Nothing is ever deleted.

Memory stays bounded for any number of objects: the live ids are spread over 256 buckets by
their first two characters, spilled to a temporary directory when they are many (16 bytes
each), and compared with one leaf directory at a time.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, Self

from modules.durable import fsync_directory, make_directories
from modules.errors import InvalidArgument
from modules.extensions import SweepReport
from zfsstore import layout
from zfsstore.places import Place

_SPILL_BYTES: Final = 64 * 1024
_ID_BYTES: Final = 16


def sweep_volume(
    place: Place,
    instance: str,
    live: Iterable[str],
    *,
    older_than: timedelta,
    dry_run: bool,
    moving: Callable[[], AbstractContextManager[object]] = nullcontext,
) -> SweepReport:
    """Compare the files of *instance* in a volume with *live*; see SupportsSweep.sweep.

    Args:
        moving: entered while files of one directory are moved.

    Raises:
        InvalidModuleData: *live* holds what this instance cannot have returned; nothing was
            moved, because then the rest of it cannot be trusted either.
        OSError: as the file system gave it.
    """
    if older_than < timedelta(0):
        raise InvalidArgument("must not be negative", field="older_than")
    oldest_kept = time.time() - older_than.total_seconds()
    findings = _Findings()
    quarantine = None if dry_run else _Quarantine(place.path, instance, moving)
    with LiveIds() as ids:
        pattern = layout.module_data_pattern(instance)
        for module_data in live:
            ids.add(layout.parse_module_data(pattern, module_data))
        for leaf in layout.LEAVES:
            _sweep_leaf(place, instance, leaf, ids.of_leaf(leaf), oldest_kept, findings)
            if quarantine is not None:
                quarantine.take(f"{place.objects}/{leaf}", findings.leaf_names)
        for directory in (layout.OWN, layout.STATE):
            _sweep_temporaries(place, directory, oldest_kept, findings)
            if quarantine is not None:
                quarantine.take(f"{place.path}/{directory}", findings.leaf_names)
    return SweepReport(
        scanned=findings.scanned,
        unreferenced=tuple(sorted(findings.unreferenced)),
        unreferenced_bytes=findings.unreferenced_bytes,
        quarantined=not dry_run,
        too_young=findings.too_young,
        missing=tuple(sorted(findings.missing)),
    )


@dataclass(slots=True)
class _Findings:
    scanned: int = 0
    unreferenced: list[str] = field(default_factory=list)
    unreferenced_bytes: int = 0
    too_young: int = 0
    missing: list[str] = field(default_factory=list)
    leaf_names: list[str] = field(default_factory=list)


def _sweep_leaf(
    place: Place, instance: str, leaf: str, live: set[bytes], oldest_kept: float, out: _Findings
) -> None:
    """Look at one leaf; *live* is used up, what remains of it has no file."""
    out.leaf_names = []
    with suppress(FileNotFoundError), os.scandir(f"{place.objects}/{leaf}") as entries:
        for entry in entries:
            if layout.OBJECT_ID.fullmatch(entry.name):
                out.scanned += 1
                object_id = bytes.fromhex(entry.name)
                if object_id in live:
                    live.discard(object_id)
                else:
                    module_data = layout.format_module_data(instance, entry.name)
                    _judge(entry, module_data, oldest_kept, out)
            elif layout.is_temporary(entry.name):
                out.scanned += 1
                _judge(entry, f"{leaf}/{entry.name}", oldest_kept, out)
    out.missing += [layout.format_module_data(instance, object_id.hex()) for object_id in live]


def _sweep_temporaries(place: Place, directory: str, oldest_kept: float, out: _Findings) -> None:
    """Look at what a killed process left beside volume.json or the databases."""
    out.leaf_names = []
    with os.scandir(f"{place.path}/{directory}") as entries:
        for entry in entries:
            if layout.is_temporary(entry.name):
                out.scanned += 1
                _judge(entry, f"{directory}/{entry.name}", oldest_kept, out)


def _judge(entry: os.DirEntry[str], name: str, oldest_kept: float, out: _Findings) -> None:
    with suppress(FileNotFoundError):  # finished, or deleted, just now
        stat = entry.stat(follow_symlinks=False)
        if stat.st_mtime > oldest_kept:
            out.too_young += 1
            return
        out.leaf_names.append(entry.name)
        out.unreferenced_bytes += stat.st_size
        out.unreferenced.append(name)


class _Quarantine:
    """Where one sweep moves files: ``.zfsstore/quarantine/<UTC time>/<instance>/``."""

    def __init__(
        self, volume: str, instance: str, moving: Callable[[], AbstractContextManager[object]]
    ) -> None:
        self._moving = moving
        stamp = f"{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}"
        self._path = f"{volume}/{layout.QUARANTINE}/{stamp}/{instance}"

    def take(self, leaf: str, names: list[str]) -> None:
        """Move files of a leaf, durably: first their new entries, then the loss of the old."""
        if not names:
            return
        make_directories(self._path, mode=0o700)
        with self._moving():
            for name in names:
                with suppress(FileNotFoundError):
                    os.rename(f"{leaf}/{name}", f"{self._path}/{name}")
        fsync_directory(self._path)
        fsync_directory(leaf)


class LiveIds:
    """Sets of object ids by leaf, in bounded memory. Used in ``with``."""

    def __init__(self, *, spill_bytes: int = _SPILL_BYTES) -> None:
        self._buffers: dict[str, bytearray] = {}
        self._spill_bytes = spill_bytes
        self._directory: tempfile.TemporaryDirectory[str] | None = None

    def add(self, object_id: str) -> None:
        """Add an object id of 32 hexadecimal characters; adding one twice is harmless."""
        leaf = object_id[:2]
        buffer = self._buffers.setdefault(leaf, bytearray())
        buffer += bytes.fromhex(object_id)
        if len(buffer) >= self._spill_bytes:
            self._spill(leaf, buffer)

    def of_leaf(self, leaf: str) -> set[bytes]:
        """Return the ids that begin with *leaf*."""
        content = bytes(self._buffers.get(leaf, b""))
        if self._directory is not None:
            with suppress(FileNotFoundError):
                content += Path(self._directory.name, leaf).read_bytes()
        return set(_split(content))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._directory is not None:
            self._directory.cleanup()

    def _spill(self, leaf: str, buffer: bytearray) -> None:
        if self._directory is None:
            self._directory = tempfile.TemporaryDirectory(prefix="zfsstore-sweep-")
        with open(Path(self._directory.name, leaf), "ab") as file:
            file.write(buffer)
        buffer.clear()


def _split(content: bytes) -> Iterator[bytes]:
    for start in range(0, len(content), _ID_BYTES):
        yield content[start : start + _ID_BYTES]
