"""NFS exports of volumes: a durable file each, or ZFS's own ``sharenfs``.

An export keeps its ``fsid`` when its volume is renamed, promoted, moved to another path or
served by another machine, so clients keep their handles. What must not happen to an exported
volume goes into ``with exports.withdrawn(export):``; when the block fails, the export is back.

``zfs set sharenfs`` runs ``exportfs -ra``, which drops what ``exportfs -o`` added by hand, so
exports stand in files only.
"""

from zfsstore.exports.base import DEFAULT_OPTIONS, Export, Exports, NoExports
from zfsstore.exports.files import DEFAULT_DIRECTORY, FileExports
from zfsstore.exports.listing import Exported, file_exports, sharenfs_exports
from zfsstore.exports.rules import (
    check_clients,
    check_export_options,
    check_export_path,
    check_fsid,
    check_server,
    safe_file_name,
)
from zfsstore.exports.sharenfs import SharenfsExports

__all__ = [
    "DEFAULT_DIRECTORY",
    "DEFAULT_OPTIONS",
    "Export",
    "Exported",
    "Exports",
    "FileExports",
    "NoExports",
    "SharenfsExports",
    "check_clients",
    "check_export_options",
    "check_export_path",
    "check_fsid",
    "check_server",
    "file_exports",
    "safe_file_name",
    "sharenfs_exports",
]
