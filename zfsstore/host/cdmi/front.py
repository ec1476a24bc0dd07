"""Which resource a path under /cdmi/ means."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from modules.errors import VolumeNotFound
from zfsstore.host.admin import Administration
from zfsstore.host.cdmi.containers import Containers
from zfsstore.host.cdmi.objects import Objects
from zfsstore.host.cdmi.system import SYSTEM_CONFIGURATION, SystemConfiguration
from zfsstore.host.exchange import Exchange
from zfsstore.host.objects import ObjectService
from zfsstore.host.paths import format_path

PREFIX: Final = "cdmi"


class CdmiFrontEnd:
    """Translates requests under /cdmi/ to the services.

    ``/cdmi/`` is the root container of the user's tenant, its children are the buckets, and what
    follows is a key. A path that ends in a slash means a container.
    """

    def __init__(self, objects: ObjectService, administration: Administration) -> None:
        self._containers = Containers(objects)
        self._objects = Objects(objects)
        self._system = SystemConfiguration(administration)

    def handle(self, exchange: Exchange) -> None:
        """Answer a request whose path starts with /cdmi.

        Raises:
            StorageError: to be answered by the table of statuses.
        """
        names = exchange.path.components[1:]
        try:
            self._handle(exchange, names)
        except VolumeNotFound as error:
            if len(names) == 1 and exchange.method == "PUT":  # the tenant's own is missing
                raise
            raise _no_container(exchange, names[0]) from error

    def _handle(self, exchange: Exchange, names: Sequence[str]) -> None:
        if not names:
            self._containers.handle_root(exchange)
        elif names[0] == SYSTEM_CONFIGURATION:
            self._system.handle(exchange, names[1:])
        elif len(names) == 1:
            self._containers.handle_bucket(exchange, names[0])
        elif exchange.path.is_container:
            self._containers.handle_nested(exchange, names[0], "/".join(names[1:]) + "/")
        else:
            self._objects.handle(exchange, names[0], "/".join(names[1:]))


def _no_container(exchange: Exchange, bucket: str) -> VolumeNotFound:
    """Return the error for a bucket that is not there in the words of HTTP."""
    path = format_path((PREFIX, bucket), is_container=True, mount=exchange.path.mount)
    return VolumeNotFound(
        "there is no such container",
        operation=exchange.method,
        subject=path,
        hint=None if exchange.method == "DELETE" else f"create the container first: PUT {path}",
    )
