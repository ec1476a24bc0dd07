"""The one table of ZFS properties that may be chosen for a tenant or bucket, and their values.

Whoever lets a client choose properties checks them here: the volumes themselves, and the
privileged agent that runs zfs for them. Not in the table is what would let a client out of its
volume (mountpoint, setuid, exec, devices, share*), break the store (canmount, readonly, xattr,
snapdir=disabled), or lose what was acknowledged (sync=disabled, checksum=off).

Source: zfsprops(7) of OpenZFS 2.3; OpenZFS, module/zcommon/zfs_prop.c.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from modules.errors import InvalidArgument

SMALLEST_QUOTA_BYTES: Final = 32 * 1024 * 1024
"""Below this, ballast, headroom and directories leave hardly any room for objects."""

SMALLEST_RECORD_BYTES: Final = 512
LARGEST_RECORD_BYTES: Final = 16 * 1024 * 1024
"""Since OpenZFS 2.2; 2.1 refuses more than 1 MiB."""

_SIZE: Final = re.compile(r"([0-9]{1,20})([KMGTPE]?)(?:i?B)?", re.IGNORECASE | re.ASCII)
_GZIP: Final = tuple(f"gzip-{level}" for level in range(1, 10))
_ZSTD: Final = tuple(f"zstd-{level}" for level in range(1, 20))
_FAST_LEVELS: Final = (*range(1, 11), *range(20, 101, 10), 500, 1000)
_ZSTD_FAST: Final = tuple(f"zstd-fast-{level}" for level in _FAST_LEVELS)
_CACHES: Final = ("all", "none", "metadata")
_DEDUP_CHECKSUMS: Final = ("sha256", "sha512", "skein", "blake3")

Check = Callable[[str], str | None]
"""Gives a value in its one spelling, None for one that does not fit."""


@dataclass(frozen=True, slots=True)
class Rule:
    """What values a property takes.

    Attributes:
        name: of the property.
        fits: what fits, for people.
        check: gives the value as ``zfs get -p`` prints it.
        can_change: False when ZFS takes it in the creating command only.
    """

    name: str
    fits: str
    check: Check
    can_change: bool = True

    def checked(self, value: str) -> str:
        """Return *value* in its one spelling.

        Raises:
            InvalidArgument: it does not fit; ``field`` names the property.
        """
        normal = self.check(value) if isinstance(value, str) else None
        if normal is None:
            raise InvalidArgument(
                f"must be {self.fits}, not {value!r:.80}",
                field=self.name,
                operation="set property",
                subject=self.name,
            )
        return normal


def parse_size(value: str) -> int | None:
    """Return the bytes in "1073741824" or "1G" (1024-based, as ZFS reads it); None if malformed."""
    match = _SIZE.fullmatch(value)
    if match is None:
        return None
    exponent = " KMGTPE".index(match[2].upper() or " ")
    size = int(match[1]) << (10 * exponent)
    return size if size < 2**63 else None


def _limit(name: str, *, smallest_bytes: int = 1) -> Rule:
    """Return the rule of an amount of space; "none" and 0 take it away."""

    def check(value: str) -> str | None:
        size = 0 if value == "none" else parse_size(value)
        if size is None or 0 < size < smallest_bytes:
            return None
        return str(size) if size else "none"

    fits = f"none, or a size in bytes from {smallest_bytes} on (K, M, G, T: 1024-based)"
    return Rule(name, fits, check)


def _count(name: str) -> Rule:
    def check(value: str) -> str | None:
        return value if value == "none" or re.fullmatch("0|[1-9][0-9]{0,17}", value) else None

    return Rule(name, "none or a whole number", check)


def _record(name: str, *, largest_bytes: int, allow_zero: bool = False) -> Rule:
    def check(value: str) -> str | None:
        size = parse_size(value)
        if size is None or size & (size - 1):
            return None
        if size == 0:
            return "0" if allow_zero else None
        return str(size) if SMALLEST_RECORD_BYTES <= size <= largest_bytes else None

    zero = "0 or " if allow_zero else ""
    fits = f"{zero}a power of 2 from {SMALLEST_RECORD_BYTES} to {largest_bytes} bytes"
    return Rule(name, fits, check)


def _choice(name: str, *values: str, fits: str | None = None, can_change: bool = True) -> Rule:
    allowed = frozenset(values)
    described = fits or " or ".join(filter(None, (", ".join(values[:-1]), values[-1])))
    return Rule(name, described, lambda v: v if v in allowed else None, can_change)


def _iterations(value: str) -> str | None:
    is_number = re.fullmatch("[1-9][0-9]{5,9}", value) is not None
    return value if is_number and int(value) < 2**32 else None


def _table(*rules: Rule) -> Mapping[str, Rule]:
    return MappingProxyType({rule.name: rule for rule in rules})


SETTABLE: Final[Mapping[str, Rule]] = _table(
    _limit("quota", smallest_bytes=SMALLEST_QUOTA_BYTES),
    _limit("refquota", smallest_bytes=SMALLEST_QUOTA_BYTES),
    _limit("reservation"),
    _limit("refreservation"),
    _choice(
        "compression",
        *("on", "off", "lz4", "lzjb", "zle", "gzip", *_GZIP, "zstd", *_ZSTD),
        *("zstd-fast", *_ZSTD_FAST),
        fits="on, off, lz4, lzjb, zle, gzip, gzip-1 to gzip-9, zstd, zstd-1 to zstd-19, zstd-fast "
        "or zstd-fast-N",
    ),
    _record("recordsize", largest_bytes=LARGEST_RECORD_BYTES),
    _record("special_small_blocks", largest_bytes=1024 * 1024, allow_zero=True),
    _choice("checksum", "on", "fletcher4", "sha256", "sha512", "skein", "edonr", "blake3"),
    _choice("copies", "1", "2", "3"),
    _choice(
        "dedup",
        *("off", "on", "verify", *_DEDUP_CHECKSUMS, "edonr,verify"),
        *(f"{checksum},verify" for checksum in _DEDUP_CHECKSUMS),
    ),
    _choice("sync", "standard", "always"),
    _choice("logbias", "latency", "throughput"),
    _choice("primarycache", *_CACHES),
    _choice("secondarycache", *_CACHES),
    _choice("redundant_metadata", "all", "most", "some", "none"),
    _choice("snapdir", "hidden", "visible"),
    _count("snapshot_limit"),
    _count("filesystem_limit"),
)
"""What may be chosen, in the creating command and later."""

ENCRYPTION: Final[Mapping[str, Rule]] = _table(
    _choice(
        "encryption",
        *("on", *(f"aes-{bits}-{mode}" for bits in (128, 192, 256) for mode in ("gcm", "ccm"))),
        can_change=False,
    ),
    _choice("keyformat", "raw", "hex", "passphrase", can_change=False),
    _choice("keylocation", "prompt", can_change=False),
    Rule("pbkdf2iters", "a whole number from 100000 on", _iterations, can_change=False),
)
"""What the creating command of an encrypted tenant has besides; no client chooses these itself."""

READ_ONLY: Final = ("encryption", "keyformat", "keystatus", "compressratio", "used", "available")
"""Shown with the others."""


def check_chosen(properties: Mapping[str, str] | None) -> dict[str, str]:
    """Return properties that were chosen for a volume, each value in its one spelling.

    Raises:
        InvalidArgument: one is not in the table, or its value does not fit.
    """
    checked = {}
    for name, value in (properties or {}).items():
        rule = SETTABLE.get(name) if isinstance(name, str) else None
        if rule is None:
            raise InvalidArgument(
                "it may not be chosen for a volume",
                field="properties",
                operation="set property",
                subject=f"{name!s:.80}",
                hint=f"choose of {', '.join(SETTABLE)}",
            )
        checked[name] = rule.checked(value)
    return checked
