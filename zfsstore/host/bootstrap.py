"""The first start: data directory, catalog, administrator, and a module to store into."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

from modules.durable import durable_file, make_directories
from modules.errors import translated_oserror
from zfsstore.host.auth import generate_password
from zfsstore.host.catalog import Catalog, Role
from zfsstore.host.config import Config
from zfsstore.host.services import Services

ADMINISTRATOR: Final = "administrator"
DEFAULT_MODULE: Final = "default"
_DEFAULT_CLASS: Final = "zfsstore.ZFSStorage"


def bootstrap(config: Config) -> None:
    """Make *config*'s data directory usable; does nothing to one that has an administrator.

    Atomic against other processes that start at the same time, and may be repeated after a crash
    at any point. The generated password is written to ``config.password_file`` (mode 0600), once.

    Raises:
        StorageError: the directory, the database or the default module cannot be used.
    """
    with translated_oserror(operation="prepare data directory", subject=str(config.data_dir)):
        make_directories(config.data_dir, mode=0o700)
        with _locked(config.data_dir / "bootstrap.lock"):
            if config.database_url is None:
                _create_private(config.data_dir / "catalog.db")
            if not _has_administrator(config):
                _create_administrator(config)


def _has_administrator(config: Config) -> bool:
    catalog = Catalog(config.catalog_url)
    try:
        return any(user.role is Role.ADMINISTRATOR for user in catalog.list_users())
    finally:
        catalog.close()


def _create_administrator(config: Config) -> None:
    """Password file first, the user last: only the user says that all of it is done."""
    with closing(Services.open(config, has_workers=False)) as services:
        administration = services.administration
        if not services.catalog.list_modules():
            administration.put_module(
                DEFAULT_MODULE,
                {
                    "module": _DEFAULT_CLASS,
                    "label": "Plain directories below the data directory",
                    "args": {"directory": str(config.data_dir / "objects")},
                },
            )
        administration.create_user(
            ADMINISTRATOR,
            policy=services.catalog.list_modules()[0].name,
            role=Role.ADMINISTRATOR,
            password=_written_password(config.password_file),
        )


def _written_password(path: Path) -> str:
    """Return the password in the file, which an interrupted first start may have left."""
    if not path.exists():
        with durable_file(path, mode=0o600) as file:
            file.write(generate_password().encode() + b"\n")
    return path.read_text(encoding="utf-8").strip()


def _create_private(path: Path) -> None:
    """SQLite gives its other files the mode of the database: it holds secrets of modules."""
    os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    fd = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)
