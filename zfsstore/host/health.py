"""Whether a storage module that was just made can be trusted with data."""

from __future__ import annotations

import io
import json
import secrets
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

from modules import StorageModule
from modules.context import Context
from modules.errors import NoSpace, QuotaExceeded, StorageError
from zfsstore.host.errors import ModuleRejected

PROBE_BYTES: Final = 1000


def check_health(name: str, module: StorageModule, context: Context) -> None:
    """Ask a module for its capabilities and statistics, and store, read and delete one object.

    A module whose substrate is full is healthy: it says so, and can still be read and emptied.

    Raises:
        ModuleRejected: which call did what was not promised.
    """
    steps = {
        "capabilities": _check_capabilities,
        "statistics": _check_statistics,
        "available": _check_available,
        "put": _check_round_trip,
    }
    for method, check in steps.items():
        try:
            reason = check(module, context)
        except StorageError as error:
            reason = str(error)
        except Exception as error:  # a vendor's method may raise anything
            reason = f"it raised {type(error).__name__}: {error}"
        if reason is not None:
            raise ModuleRejected(
                f"its method {method} failed: {reason}",
                operation="check module",
                subject=name,
                hint="run `zfsstore module check` for a full report",
                field="args",
            )


def _check_capabilities(module: StorageModule, context: Context) -> str | None:
    found = module.capabilities(context)
    if not isinstance(found, Mapping):
        return f"it returned {type(found).__name__}, not an object"
    json.dumps(dict(found))
    return None


def _check_statistics(module: StorageModule, context: Context) -> str | None:
    found: Any = module.statistics(context)
    capacity = found.get("capacity") if isinstance(found, Mapping) else None
    if not isinstance(capacity, Mapping):
        return 'it returned no {"capacity": {...}}'
    for key in ("total", "free", "used"):
        if isinstance(capacity.get(key), bool) or not isinstance(capacity.get(key), int):
            return f"capacity.{key} is no whole number"
    return None


def _check_available(module: StorageModule, context: Context) -> str | None:
    answer: Any = module.available(context, "no object has this module_data")
    return None if answer is False else f"it returned {answer!r} for an object that does not exist"


def _check_round_trip(module: StorageModule, context: Context) -> str | None:
    data = secrets.token_bytes(PROBE_BYTES)
    try:
        module_data: Any = module.put({**context, "content_length": len(data)}, io.BytesIO(data))
    except (QuotaExceeded, NoSpace):
        return None
    if not isinstance(module_data, str) or not module_data:
        return f"it returned {module_data!r}, not a text"
    try:
        with module.get_read_stream(context, module_data) as stream:
            parts = []
            while part := stream.read(PROBE_BYTES):
                parts.append(part)
        found = b"".join(parts)
        return None if found == data else "what was stored was read back differently"
    finally:
        with suppress(StorageError):
            module.delete(context, module_data)
