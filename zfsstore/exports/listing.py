"""Which volumes are exported: from the files, and from the property ``sharenfs``.

Source: exports(5) of nfs-utils 2.6; what FileExports and SharenfsExports write.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from modules.errors import translated_oserror
from zfsstore.exports.base import Run
from zfsstore.exports.files import DEFAULT_DIRECTORY, PREFIX, SUFFIX

_LINE: Final = re.compile(r"(?P<path>/\S+) (?P<client>[^\s()]+)\((?P<options>[^\s()]*)\)")
_FSID: Final = re.compile(r"(?:^|,)fsid=([0-9a-f-]{36})(?:,|$)")
_UUID: Final = "zfsstore:uuid"


@dataclass(frozen=True, slots=True)
class Exported:
    """What is exported of one volume.

    Attributes:
        fsid: the volume's uuid.
        by: "files" or "sharenfs".
        rules: a client with its options each, or the property's value.
    """

    fsid: str
    by: str
    rules: tuple[str, ...]


def file_exports(directory: str = DEFAULT_DIRECTORY) -> Iterator[Exported]:
    """Yield what our files in *directory* export, by file name; what others wrote is left out.

    Raises:
        StorageError: a file cannot be read.
    """
    with translated_oserror(operation="list exports in", subject=directory):
        for path in sorted(Path(directory).glob(f"{PREFIX}*{SUFFIX}")):
            lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
            found = [match for line in lines if (match := _LINE.fullmatch(line))]
            fsids = [fsid[1] for match in found if (fsid := _FSID.search(match["options"]))]
            if fsids:
                rules = tuple(f"{match['client']}({match['options']})" for match in found)
                yield Exported(fsids[0], "files", rules)


def sharenfs_exports(run: Run) -> Iterator[Exported]:
    """Yield what ``sharenfs`` exports of datasets that are volumes; one command for all.

    Raises:
        StorageError: it failed.
    """
    argv = ["zfs", "get", "-H", "-t", "filesystem", "-o", "name,property,value"]
    argv += ["-s", "local,received", f"sharenfs,{_UUID}"]
    uuids: dict[str, str] = {}
    shared: dict[str, str] = {}
    for line in run(argv, "list", "exports").splitlines():
        name, name_of_property, value = line.split("\t", 2)
        (uuids if name_of_property == _UUID else shared)[name] = value
    for name, value in sorted(shared.items()):
        if value != "off" and name in uuids:
            yield Exported(uuids[name], "sharenfs", (value,))
