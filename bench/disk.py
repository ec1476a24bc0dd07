"""What lies below: the file system of a folder, and the machine, in general terms."""

from __future__ import annotations

import os
import platform
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

MEMORY_FILE_SYSTEMS: Final = frozenset({"tmpfs", "ramfs", "devtmpfs"})


@dataclass(frozen=True, slots=True)
class FileSystem:
    """The file system that holds a folder; ``pool`` is the ZFS pool, None elsewhere."""

    kind: str
    pool: str | None


def file_system(folder: Path, *, mountinfo: Path = Path("/proc/self/mountinfo")) -> FileSystem:
    """Return the file system of an existing folder.

    Source: proc(5), /proc/pid/mountinfo.
    """
    target = os.path.realpath(folder)
    best = ("", "unknown", "")
    for line in mountinfo.read_text(encoding="utf-8", errors="surrogateescape").splitlines():
        mounted, _, described = line.partition(" - ")
        point = mounted.split()[4].replace("\\040", " ")
        kind, source = described.split()[:2]
        is_above = target == point or target.startswith(point.rstrip("/") + "/")
        if is_above and len(point) >= len(best[0]):
            best = (point, kind, source)
    _, kind, source = best
    return FileSystem(kind, source.split("/")[0] if kind == "zfs" else None)


def newest_txg(pool: str | None) -> int | None:
    """Return the newest transaction group of a ZFS pool, None when that is not known.

    Source: OpenZFS, /proc/spl/kstat/zfs/POOL/txgs; its first column is the number.
    """
    if pool is None:
        return None
    try:
        lines = Path(f"/proc/spl/kstat/zfs/{pool}/txgs").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    numbers = [int(line.split()[0]) for line in lines if line.split()[:1][0:1][0].isdigit()]
    return max(numbers, default=None)


def machine(folder: Path) -> dict[str, Any]:
    """Return the machine in general terms: nothing that names a host, a person or a path."""
    return {
        "cores": len(os.sched_getaffinity(0)),
        "processor": _processor(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "file_system": file_system(folder).kind,
        "kernel": f"{platform.system()} {'.'.join(platform.release().split('.')[:2])}",
        "load": os.getloadavg()[0],
        "python": ".".join(map(str, sys.version_info[:3])),
    }


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.machine()
