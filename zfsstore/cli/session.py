"""From the shared options to the host's services, opened for one command and closed after it."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from modules.errors import ConfigurationError

if TYPE_CHECKING:
    from zfsstore.host.admin import Administration
    from zfsstore.host.config import Config
    from zfsstore.host.services import Services

DATA_VARIABLE = "ZFSSTORE_DATA"


def load_config(args: argparse.Namespace, **changes: object) -> Config:
    """Return the host's settings: the file of --config, then --data, then *changes*.

    Args:
        changes: settings given on the command line; None means not given.

    Raises:
        ConfigurationError: the file or a setting is wrong.
    """
    from dataclasses import replace

    from zfsstore.host.config import Config

    config = Config.from_file(args.config) if args.config else Config()
    data = args.data or (None if args.config else os.environ.get(DATA_VARIABLE))
    if data:
        changes["data_dir"] = data
    given = {name: value for name, value in changes.items() if value is not None}
    return replace(config, **given) if given else config  # type: ignore[arg-type]  # checked there


def require_data(config: Config) -> None:
    """Refuse to make up an empty store where the user expected an existing one.

    Raises:
        ConfigurationError: the data folder does not exist.
    """
    if not config.data_dir.is_dir():
        raise ConfigurationError(
            "there is no such folder",
            operation="open the data folder",
            subject=str(config.data_dir),
            hint="name it with --data, or create it with `zfsstore --data DIR serve`",
            field="data_dir",
        )


@contextmanager
def administration(args: argparse.Namespace) -> Iterator[Administration]:
    """Open the administration of the data folder and close it afterwards."""
    with services(args) as opened:
        yield opened.administration


@contextmanager
def services(args: argparse.Namespace) -> Iterator[Services]:
    """Open what the host runs on, without a server, and close it afterwards.

    Raises:
        ConfigurationError: the settings are wrong, or there is no data folder.
    """
    config = load_config(args)
    require_data(config)
    from zfsstore.host.bootstrap import bootstrap
    from zfsstore.host.services import open_services

    bootstrap(config)
    with open_services(config) as opened:
        yield opened
