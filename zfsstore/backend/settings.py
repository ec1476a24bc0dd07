"""The backend's arguments, checked once."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from modules.errors import InvalidArgument, InvalidName
from zfsstore.exports import (
    DEFAULT_DIRECTORY,
    DEFAULT_OPTIONS,
    check_clients,
    check_export_options,
    check_export_path,
    check_server,
)
from zfsstore.zfs.names import MAX_DATASET_NAME, check_dataset_name

ExportKind = Literal["files", "sharenfs", "none"]

_USER: Final = r"[A-Za-z0-9_][A-Za-z0-9_.-]*"
_OWNER: Final = re.compile(rf"{_USER}(?::{_USER})?|:{_USER}")
_MODE: Final = re.compile(r"[0-7]{3,4}")
_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")


@dataclass(frozen=True, slots=True)
class Settings:
    """What a ZfsBackend is told at construction; see there."""

    pool: str
    data_lif: str
    nfs_clients: tuple[str, ...]
    owner: str | None
    mode: str | None
    exports_dir: str
    srv_root: str
    export_options: tuple[str, ...]
    exports: ExportKind
    retry_base_s: float
    max_destroy_retries: int

    @classmethod
    def checked(
        cls,
        *,
        pool: str | None,
        data_lif: str | None,
        nfs_clients: Sequence[str] | None,
        dataset_owner: str | None,
        dataset_mode: str | None,
        exports_dir: str | None,
        srv_root: str | None,
        export_options: Sequence[str] | None,
        exports: ExportKind,
        retry_base_s: float,
        max_destroy_retries: int,
    ) -> Settings:
        """Return the settings, defaults in place of None.

        Raises:
            InvalidArgument: one is not valid; ``field`` names it.
        """
        if exports not in ("files", "sharenfs", "none"):
            raise InvalidArgument('must be "files", "sharenfs" or "none"', field="exports")
        if not 0 <= retry_base_s <= 3600 or not 0 <= max_destroy_retries <= 100:
            raise InvalidArgument("0 to 3600 seconds, 0 to 100 times", field="retry_base_s")
        root = (srv_root or "/srv").rstrip("/")
        return cls(
            pool=check_dataset_name(pool or "ontap-sim", field="pool"),
            data_lif=check_server(data_lif or "127.0.0.1"),
            nfs_clients=check_clients(nfs_clients or ()),
            owner=None if dataset_owner is None else check_owner(dataset_owner),
            mode=None if dataset_mode is None else check_mode(dataset_mode),
            exports_dir=exports_dir or DEFAULT_DIRECTORY,
            srv_root=check_export_path(root, field="srv_root"),
            export_options=check_export_options(
                DEFAULT_OPTIONS if export_options is None else export_options
            ),
            exports=exports,
            retry_base_s=retry_base_s,
            max_destroy_retries=max_destroy_retries,
        )

    def dataset(self, name: str) -> str:
        """Return the dataset of the volume called *name*."""
        return f"{self.pool}/{name}"

    def path(self, name: str) -> str:
        """Return where the volume called *name* is mounted when it is new."""
        return f"{self.srv_root}/{name}"

    def junction(self, junction_path: str) -> str:
        """Return the mountpoint for a client's *junction_path*.

        Raises:
            InvalidArgument: it does not begin with "/", or cannot stand in an exports file.
        """
        if not isinstance(junction_path, str) or not junction_path.startswith("/"):
            raise InvalidArgument(
                f'must begin with "/", not {junction_path!r:.200}', field="junction_path"
            )
        return check_export_path(self.srv_root + junction_path, field="junction_path")

    def check_name(self, name: str) -> str:
        """Return *name* when a volume can be called that.

        Raises:
            InvalidName: it cannot.
        """
        valid = isinstance(name, str) and _NAME.fullmatch(name)
        if not valid or len(self.dataset(name)) > MAX_DATASET_NAME:
            raise InvalidName(
                "it is no valid name of a volume",
                field="name",
                operation="use name",
                subject=f"{name!r:.300}",
                hint="use letters, digits and _ . - only, beginning with none of . and -, "
                f"and {MAX_DATASET_NAME} characters with the pool",
            )
        return name


def check_owner(owner: str, *, field: str = "dataset_owner") -> str:
    """Return *owner* when chown takes it for a user, or a user and a group.

    Raises:
        InvalidArgument: it is neither.
    """
    if not isinstance(owner, str) or _OWNER.fullmatch(owner) is None:
        raise InvalidArgument(
            f"{owner!r:.100} is no owner", field=field, hint='write "user", "user:group" or "0:0"'
        )
    return owner


def check_mode(mode: str, *, field: str = "dataset_mode") -> str:
    """Return *mode* when it is three or four octal digits.

    Raises:
        InvalidArgument: it is not.
    """
    if not isinstance(mode, str) or _MODE.fullmatch(mode) is None:
        raise InvalidArgument(f"{mode!r:.100} is no mode", field=field, hint='write "0755"')
    return mode
