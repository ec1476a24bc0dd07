"""From the request line to path components, decoded once, each on its own.

WSGI's PATH_INFO is decoded before it is split, so it cannot tell ``a%2Fb`` from ``a/b``. The raw
target is in RAW_URI (gunicorn) or REQUEST_URI (mod_wsgi).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote, unquote_to_bytes

from modules.errors import InvalidArgument, InvalidName

_ABSOLUTE_FORM: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^/?#]*")
_BAD_PERCENT: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")
_UNRESERVED: Final = "!$&'()*+,;=:@~"  # of RFC 3986 pchar, what quote() would escape


@dataclass(frozen=True, slots=True)
class RequestPath:
    """The path of a request.

    Attributes:
        components: decoded, without the application's mount point.
        is_container: the path ends in a slash.
        mount: the raw mount point (SCRIPT_NAME), "" or "/something".
    """

    components: tuple[str, ...]
    is_container: bool
    mount: str = ""


def request_path(environ: Mapping[str, Any]) -> RequestPath:
    """Return the path of a WSGI request, strictly decoded.

    Raises:
        InvalidArgument: a broken percent escape or no UTF-8.
        InvalidName: an empty, ``.`` or ``..`` component, or one with a NUL or a slash in it.
    """
    raw = environ.get("RAW_URI") or environ.get("REQUEST_URI")
    if raw is None:  # a server without the raw target: escaped slashes are lost there
        decoded = environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")
        raw = quote(decoded.encode("latin-1"))
    raw = _ABSOLUTE_FORM.sub("", raw, count=1) if not raw.startswith("/") else raw
    raw = re.split(r"[?#]", raw, maxsplit=1)[0]
    mounted = environ.get("SCRIPT_NAME", "").strip("/").split("/")
    depth = len(mounted) if mounted != [""] else 0
    parts = raw.split("/")
    mount = "/".join(parts[: depth + 1])
    return parse_path("/" + "/".join(parts[depth + 1 :]), mount=mount)


def parse_path(raw: str, *, mount: str = "") -> RequestPath:
    """Return the components of a raw path that starts with ``/``.

    Raises:
        InvalidArgument, InvalidName: as ``request_path``.
    """
    parts = raw.split("/")[1:]
    is_container = parts[-1] == ""
    if is_container:
        parts.pop()
    return RequestPath(tuple(_decode(part) for part in parts), is_container, mount)


def format_path(components: Sequence[str], *, is_container: bool, mount: str = "") -> str:
    """Return the raw path of *components*: what ``parse_path`` reads."""
    quoted = "/".join(quote(component, safe=_UNRESERVED) for component in components)
    return f"{mount}/{quoted}" + ("/" if is_container and components else "")


def _decode(part: str) -> str:
    if bad := _BAD_PERCENT.search(part):
        raise InvalidArgument(
            f"the path has {part[bad.start() : bad.start() + 3]!r}, which is no percent escape",
            field="path",
            hint="write a percent sign as %25",
        )
    try:
        name = unquote_to_bytes(part.encode("latin-1")).decode()
    except (UnicodeDecodeError, UnicodeEncodeError):
        raise InvalidArgument(
            f"the path component {part[:80]!r} is no UTF-8",
            field="path",
            hint="encode names as UTF-8, then percent-encode them",
        ) from None
    reason = None
    if name == "":
        reason = "the path has two slashes in a row"
    elif name in (".", ".."):
        reason = f"{name!r} is no name"
    elif "\0" in name:
        reason = "a name cannot hold a NUL"
    elif "/" in name:
        reason = "a name cannot hold an escaped slash (%2F)"
    if reason:
        raise InvalidName(reason, field="path", hint="separate names by one plain /")
    return name
