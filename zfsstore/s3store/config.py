"""The arguments of S3Storage, checked once."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

from modules.errors import ConfigurationError
from zfsstore.s3store.layout import BLOCK_BYTES

MIB: Final = 1024 * 1024
MIN_PART_BYTES: Final = 5 * MIB
MAX_PART_BYTES: Final = 5 * 1024 * MIB
CHECKSUMS: Final = ("sha256", "crc32", "md5")
ADDRESSING: Final = ("auto", "path", "virtual")
_BUCKET: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,253}[A-Za-z0-9]")
_ENVIRONMENT: Final = re.compile(r"[A-Z_][A-Z0-9_]{0,63}")
_MAX_PREFIX_BYTES: Final = 256
_CREDENTIALS: Final = "credentials"
_FORMS: Final = (
    {"access_key_id", "secret_access_key"},
    {"access_key_id", "secret_access_key", "session_token"},
    {"file"},
    {"file", "profile"},
    {"environment"},
    {"profile"},
)


@dataclass(frozen=True, slots=True)
class S3Config:
    """Where objects are kept, and how the service is talked to.

    Attributes:
        prefix: what all keys begin with: empty, or ending in "/".
        credentials: one of the forms of docs/s3.md; None for the chain of boto3.
        checksum: what the service is asked to check on arrival.
    """

    bucket: str
    prefix: str = ""
    endpoint_url: str | None = None
    region: str | None = None
    credentials: Mapping[str, str] | None = field(default=None, repr=False)
    part_size_bytes: int = 8 * MIB
    max_part_size_bytes: int = 64 * MIB
    read_ahead_bytes: int = 4 * MIB
    max_attempts: int = 4
    connect_timeout_s: float = 10.0
    read_timeout_s: float = 60.0
    max_connections: int = 32
    checksum: str = "sha256"
    addressing: str = "auto"
    ca_file: str | None = None


def parse_config(arguments: Mapping[str, Any]) -> S3Config:
    """Return the configuration in the constructor's *arguments*; None means the default.

    Raises:
        ConfigurationError: with the argument's name; never with a credential.
    """
    given = {name: value for name, value in arguments.items() if value is not None}
    _check_bucket(given.get("bucket"))
    if "prefix" in given:
        given["prefix"] = _checked_prefix(given["prefix"])
    if "endpoint_url" in given:
        _check_endpoint(given["endpoint_url"])
    for name in ("region", "ca_file"):
        if name in given and not _is_plain(given[name]):
            raise _wrong(name, "must be text of printable characters")
    if "ca_file" in given and not os.path.isabs(given["ca_file"]):
        raise _wrong("ca_file", "must be an absolute path")
    if _CREDENTIALS in given:
        given[_CREDENTIALS] = _checked_credentials(given[_CREDENTIALS])
    _check_numbers(given)
    for name, known in (("checksum", CHECKSUMS), ("addressing", ADDRESSING)):
        if name in given and given[name] not in known:
            raise _wrong(name, f"must be one of {', '.join(known)}")
    config = S3Config(**given)
    if config.max_part_size_bytes < config.part_size_bytes:
        raise _wrong("max_part_size_bytes", "must not be less than part_size_bytes")
    return config


def _check_numbers(given: Mapping[str, Any]) -> None:
    _check_number(given, "part_size_bytes", MIN_PART_BYTES, MAX_PART_BYTES)
    _check_number(given, "max_part_size_bytes", MIN_PART_BYTES, MAX_PART_BYTES)
    _check_number(given, "read_ahead_bytes", BLOCK_BYTES, 1024 * MIB)
    _check_number(given, "max_attempts", 1, 100)
    _check_number(given, "max_connections", 1, 10_000)
    for name in ("connect_timeout_s", "read_timeout_s"):
        _check_number(given, name, 0.001, 86_400, kinds=(int, float))


def _check_number(
    given: Mapping[str, Any],
    name: str,
    least: float,
    most: float,
    kinds: tuple[type, ...] = (int,),
) -> None:
    value = given.get(name)
    if value is not None and (type(value) not in kinds or not least <= value <= most):
        kind = "a whole number" if kinds == (int,) else "a number"
        raise _wrong(name, f"must be {kind} from {least} to {most}")


def _check_bucket(bucket: object) -> None:
    if bucket is None:
        raise _wrong("bucket", "is missing")
    if not isinstance(bucket, str) or not _BUCKET.fullmatch(bucket):
        raise _wrong(
            "bucket", "must be the name of a bucket: 3 to 255 letters, digits, dots and hyphens"
        )


def _checked_prefix(prefix: object) -> str:
    """Return the prefix, with a slash at its end unless it is empty."""
    if prefix == "":
        return ""
    text = prefix.removesuffix("/") if isinstance(prefix, str) else ""
    if (
        not _is_plain(text)
        or any(part in ("", ".", "..") for part in text.split("/"))
        or len(text.encode()) > _MAX_PREFIX_BYTES
    ):
        raise _wrong(
            "prefix",
            f"must be names separated by slashes, at most {_MAX_PREFIX_BYTES} bytes, as in "
            '"backup/objects"',
        )
    return f"{text}/"


def _check_endpoint(url: object) -> None:
    expected = 'must be a URL such as "https://s3.example.com" or "http://10.0.0.5:8333"'
    try:
        parts = urlsplit(url if isinstance(url, str) and _is_plain(url) else "")
        is_right = parts.scheme in ("http", "https") and bool(parts.hostname)
        port = parts.port
    except ValueError:
        raise _wrong("endpoint_url", expected) from None
    if not is_right or port == 0 or parts.query or parts.fragment:
        raise _wrong("endpoint_url", expected)
    if "@" in parts.netloc:
        raise _wrong("endpoint_url", "must hold no user and password; see credentials")


def _checked_credentials(value: object) -> dict[str, str]:
    """Return the credentials, which are of one known form; what they are is in no error."""
    if not isinstance(value, Mapping) or set(value) not in _FORMS:
        raise _wrong(
            _CREDENTIALS,
            "must be an object with access_key_id, secret_access_key and perhaps session_token; "
            "or file and perhaps profile; or environment; or profile",
        )
    if not all(_is_plain(item) for item in value.values()):
        raise _wrong(_CREDENTIALS, "must hold text of printable characters, not empty")
    if "file" in value and not os.path.isabs(value["file"]):
        raise _wrong(f"{_CREDENTIALS}.file", "must be an absolute path")
    if "environment" in value and not _ENVIRONMENT.fullmatch(value["environment"]):
        raise _wrong(
            f"{_CREDENTIALS}.environment",
            "must be what the names of the variables begin with: capital letters, digits and _",
        )
    return dict(value)


def _is_plain(value: object) -> bool:
    """Tell whether it is text that can be sent and shown."""
    return isinstance(value, str) and value != "" and value.isprintable() and value == value.strip()


def _wrong(name: str, reason: str) -> ConfigurationError:
    return ConfigurationError(
        reason, field=name, operation="use argument", subject=name, hint="see docs/s3.md"
    )
