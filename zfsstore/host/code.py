"""Which code the workers run: digests of python-path entries, recorded in the catalog.

Python imports a package once, so changed code would be ignored by the workers that have it and
used by those that start later. Therefore one rule: what the catalog records is what the workers
run, and only who starts *all* workers anew (a server that starts or reloads) records other code.
Everybody else, be it a worker restarted after a crash or a command, takes no other code.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Final

from modules.errors import StorageError
from modules.loader import check_entry, entry_digest
from zfsstore.host.catalog import Catalog
from zfsstore.host.config import Config

_log: Final = logging.getLogger(__name__)


def code_digests(entries: Iterable[str]) -> dict[str, str]:
    """Return the digest of the code in each python-path entry, by its absolute path.

    Raises:
        ModuleLoadError: an entry cannot be imported from.
    """
    return {path: entry_digest(path) for path in map(check_entry, entries)}


def record_code(config: Config) -> None:
    """Record the code that lies in the python-path entries now; for who starts all workers anew.

    An entry that cannot be read is left out: the module that needs it says so when it is loaded.

    Raises:
        StorageError: the catalog cannot be used.
    """
    catalog = Catalog(config.catalog_url)
    try:
        for module in catalog.list_modules():
            digests: dict[str, str] = {}
            for entry in (*module.python_path, *config.python_path):
                try:
                    digests |= code_digests([entry])
                except (StorageError, OSError) as error:
                    _log.warning("module %s: %s", module.name, error)
            for path in sorted(set(digests) & set(module.code_digests)):
                if digests[path] != module.code_digests[path]:
                    _log.info("workers that start from here on run the changed code in %s", path)
            if digests != module.code_digests:
                catalog.set_code_digests(module.name, digests)
    finally:
        catalog.close()
