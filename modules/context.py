"""What a host tells a module about the call: a plain dict, any part of which may be absent.

| key            | value |
|----------------|-------|
| func           | ``{"getModule": callable(name) -> StorageModule}``: how a wrapper finds another |
| tenant         | "acme" or "acme/photos": whose data, and in which bucket |
| snapshot       | name of the snapshot to read from; reads only |
| volume_id      | uuid of the volume, for a module that says ``needs_volume_identity`` |
| key_domain     | with it, the id that encryption and deduplication bind to (design.md, Identity) |
| content_length | how many bytes a put will be given, and must not accept any other number |
| request_id     | for logs |

A module that ignores all of it works; one that uses it must also work with ``{}``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from modules.errors import ConfigurationError, InvalidArgument

if TYPE_CHECKING:
    from modules import StorageModule

Context = Mapping[str, Any]


def text(context: Context, key: str) -> str | None:
    """Return the text under *key*, or None when the host did not give it.

    Raises:
        InvalidArgument: it is there but no text.
    """
    value = context.get(key)
    if value is None or isinstance(value, str):
        return value
    raise InvalidArgument(f"must be text, not {type(value).__name__}", field=f"context.{key}")


def content_length(context: Context) -> int | None:
    """Return how many bytes a put must receive, or None when that is unknown.

    Raises:
        InvalidArgument: it is there but no whole number of at least 0.
    """
    value = context.get("content_length")
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise InvalidArgument("must be a whole number, 0 or more", field="context.content_length")
    return value


def get_module(context: Context, name: str) -> StorageModule:
    """Return the configured module called *name*, through the host's ``getModule``.

    Raises:
        ConfigurationError: the host gave no ``getModule``, or it knows no such module.
    """
    func = context.get("func")
    lookup = func.get("getModule") if isinstance(func, Mapping) else None
    if not callable(lookup):
        raise ConfigurationError(
            "this host offers no getModule",
            operation="find module",
            subject=name,
            hint="a wrapper module works only under a host that passes context['func']",
        )
    module: StorageModule = lookup(name)
    return module
