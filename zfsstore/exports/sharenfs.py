"""Exports through the property ``sharenfs``.

Source: zfsprops(7), sharenfs; OpenZFS, lib/libshare/os/linux/nfs.c (get_linux_hostspec).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from modules.errors import InvalidArgument, NotSupported
from zfsstore.exports.base import DEFAULT_OPTIONS, Export, Run, flush_kernel, logged
from zfsstore.exports.rules import (
    check_clients,
    check_export_options,
    check_export_path,
    check_fsid,
)


class SharenfsExports:
    """Exports through the property ``sharenfs``: ZFS exports a dataset whenever it is mounted.

    Args:
        run: runs a command on the machine that has the pool.
        clients: as for :class:`FileExports`, without netgroups, for which ZFS has no spelling.
        options: as for :class:`FileExports`; ``mountpoint`` is left out, as ZFS takes care of it.

    Raises:
        InvalidArgument, NotSupported: a client or an option cannot be used.
    """

    def __init__(
        self, run: Run, clients: Sequence[str], *, options: Sequence[str] = DEFAULT_OPTIONS
    ) -> None:
        self._run = run
        self._clients = tuple(_sharenfs_host(client) for client in check_clients(clients))
        chosen = check_export_options(options)
        access = [option for option in chosen if option in ("rw", "ro")] or ["ro"]
        if len(set(access)) != 1:
            raise InvalidArgument("choose one of rw and ro", field="export_options")
        self._access = access[0]
        self._options = [
            option for option in chosen if option not in ("rw", "ro", "mp", "mountpoint")
        ]

    def export(self, export: Export) -> None:
        """Set the property, and with it export the dataset.

        Raises:
            StorageError: it could not be set.
        """
        if not self._clients:
            return
        check_export_path(export.path)
        hosts = f"{self._access}={':'.join(self._clients)}"
        value = ",".join((hosts, *self._options, f"fsid={check_fsid(export.fsid)}"))
        self._set(export, value)

    @contextmanager
    def withdrawn(self, export: Export) -> Iterator[None]:
        """Turn the property off inside the block; set it as it was when that fails."""
        before = self._get(export)
        if before != "off":
            self._set(export, "off")
        try:
            yield
        except BaseException:
            if before != "off":
                with logged("export volume", export.name):
                    self._set(export, before)
            raise

    def renamed(self, export: Export, renamed: Export) -> None:
        """Do nothing: the property goes with the dataset."""

    def flush(self) -> None:
        """Let the kernel look up all exports anew, if there may be any of ours."""
        if self._clients:
            flush_kernel(self._run)

    def is_exported(self, export: Export) -> bool:
        """Return whether the property is on."""
        return self._get(export) != "off"

    def _get(self, export: Export) -> str:
        argv = ["zfs", "get", "-H", "-o", "value", "sharenfs", export.dataset]
        return self._run(argv, "read export of volume", export.name).rstrip("\n")

    def _set(self, export: Export, value: str) -> None:
        argv = ["zfs", "set", f"sharenfs={value}", export.dataset]
        self._run(argv, "export volume", export.name)


def _sharenfs_host(client: str) -> str:
    if client.startswith("@"):
        raise NotSupported(
            f"ZFS cannot share with the netgroup {client}",
            capability="netgroups",
            operation="export volumes",
            hint='use exports="files"',
        )
    with suppress(ValueError):
        if ipaddress.ip_network(client, strict=False).version == 6:
            address, slash, bits = client.partition("/")
            return f"[{address}]{slash}{bits}"
    return client
