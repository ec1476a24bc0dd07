"""What may stand in an exports file: clients, options, paths, file names.

Everything is compared with what is allowed, never searched for what is forbidden.

Source: exports(5) of nfs-utils 2.6, Machine Name Formats and General Options.
"""

from __future__ import annotations

import ipaddress
import re
import uuid
from collections.abc import Iterable, Sequence
from typing import Final

from modules.errors import InvalidArgument

MAX_PATH_BYTES: Final = 1023

_LABEL: Final = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_HOST: Final = re.compile(rf"{_LABEL}(?:\.{_LABEL})*\.?")
_NETGROUP: Final = re.compile(r"@[A-Za-z0-9_][A-Za-z0-9_.-]*")
_WILDCARD: Final = re.compile(r"(?!-)(?:[A-Za-z0-9_.*?-]|\[[A-Za-z0-9-]+\])+")
_COMPONENT: Final = re.compile(r"[A-Za-z0-9_.:@+-]+")

_FLAGS: Final = frozenset(
    (
        *("rw", "ro", "sync", "async", "secure", "insecure", "wdelay", "no_wdelay"),
        *("root_squash", "no_root_squash", "all_squash", "no_all_squash"),
        *("subtree_check", "no_subtree_check", "crossmnt", "hide", "nohide", "mountpoint", "mp"),
        *("secure_locks", "insecure_locks", "auth_nlm", "no_auth_nlm", "acl", "no_acl"),
        *("pnfs", "no_pnfs", "security_label", "nordirplus"),
    )
)
_VALUES: Final = {
    "anonuid": re.compile(r"[0-9]{1,10}"),
    "anongid": re.compile(r"[0-9]{1,10}"),
    "sec": re.compile(r"(?:none|sys|krb5|krb5i|krb5p)(?::(?:none|sys|krb5|krb5i|krb5p))*"),
    "xprtsec": re.compile(r"(?:none|tls|mtls)(?::(?:none|tls|mtls))*"),
}


def check_clients(clients: Sequence[str]) -> tuple[str, ...]:
    """Return *clients* when each is a host, address, network, @netgroup or wildcard name.

    Raises:
        InvalidArgument: one is none of these, or stands there twice.
    """
    if isinstance(clients, str):
        raise InvalidArgument("must be a list of texts, not one text", field="nfs_clients")
    for client in clients:
        if not _is_client(client):
            raise InvalidArgument(
                f"{client!r:.200} is no host, address, network, @netgroup or wildcard name",
                field="nfs_clients",
                hint='write "host.example.org", "10.0.0.7", "10.0.0.0/8", "@group" or "*.example"',
            )
    if len(set(clients)) != len(clients):
        raise InvalidArgument("a client is named twice", field="nfs_clients")
    return tuple(clients)


def check_server(server: str, *, field: str = "data_lif") -> str:
    """Return *server* when it is a host or an address.

    Raises:
        InvalidArgument: it is none.
    """
    if not _is_client(server) or re.search(r"[@*?/\[]", server):
        raise InvalidArgument(f"{server!r:.200} is no host or address", field=field)
    return server


def check_export_options(options: Iterable[str]) -> tuple[str, ...]:
    """Return *options* when every one is an option of exports(5) that names no other place.

    ``fsid`` is not among them: it comes from the volume.

    Raises:
        InvalidArgument: one is not.
    """
    if isinstance(options, str):
        raise InvalidArgument("must be a list of texts, not one text", field="export_options")
    chosen = tuple(options)
    for option in chosen:
        name, equals, value = option.partition("=") if isinstance(option, str) else ("", "", "")
        pattern = _VALUES.get(name)
        valid = pattern.fullmatch(value) is not None if pattern and equals else option in _FLAGS
        if not valid:
            raise InvalidArgument(
                f"{option!r:.200} is no export option that can be chosen",
                field="export_options",
                hint=f"choose from {', '.join(sorted(_FLAGS))}, "
                f"{', '.join(f'{name}=' for name in sorted(_VALUES))}",
            )
    return chosen


def check_export_path(path: str, *, field: str = "path") -> str:
    """Return *path* when it can stand in an exports file without quotes: absolute, no "..".

    Raises:
        InvalidArgument: it cannot.
    """
    components = path.split("/")[1:] if isinstance(path, str) and path.startswith("/") else []
    valid = (
        components
        and len(path) <= MAX_PATH_BYTES
        and all(_COMPONENT.fullmatch(part) and part not in (".", "..") for part in components)
    )
    if not valid:
        raise InvalidArgument(
            f"{path!r:.300} cannot be exported",
            field=field,
            hint='write an absolute path with letters, digits and _ . : @ + - only, without ".."',
        )
    return path


def check_fsid(fsid: str, *, field: str = "fsid") -> str:
    """Return *fsid* in its one spelling when it is a uuid.

    Raises:
        InvalidArgument: it is none. Small numbers are for exports made by hand.
    """
    try:
        return str(uuid.UUID(fsid))
    except (ValueError, TypeError, AttributeError):
        raise InvalidArgument(f"{fsid!r:.100} is no uuid", field=field) from None


def safe_file_name(name: str) -> str:
    """Return what of *name* may be part of a file name; "" when nothing is left."""
    return re.sub(r"[^A-Za-z0-9_.-]", "", name).lstrip(".")


def _is_client(client: str) -> bool:
    if not isinstance(client, str) or not client or len(client) > 255 or not client.isascii():
        return False
    if _NETGROUP.fullmatch(client):
        return True
    if ":" in client or "/" in client or re.fullmatch(r"[0-9.]+", client):
        return _is_network(client)
    return _HOST.fullmatch(client) is not None or _WILDCARD.fullmatch(client) is not None


def _is_network(client: str) -> bool:
    if re.fullmatch(r"[0-9A-Fa-f.:]+(?:/[0-9.]+)?", client) is None:
        return False
    try:
        ipaddress.ip_network(client, strict=False)
    except ValueError:
        return False
    return True
