"""Root keys that this machine gets to see: from a key file, the environment, or a command.

All three give the same text: one ``VERSION:KEY`` a line, KEY being 64 hexadecimal digits; lines
that start with ``#`` are comments. The highest version wraps, all of them unwrap.
"""

from __future__ import annotations

import os
import re
import secrets
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA512
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from modules.errors import (
    ConfigurationError,
    KeyNotFound,
    Unavailable,
    WrongKey,
    from_oserror,
)
from modules.wrappers.keys.records import KEY_BYTES

KEEP_S: Final = 60.0
"""Root keys are read again after so long, so that a new version is seen by all processes."""

_SALT_BYTES: Final = 24
_ZERO_NONCE: Final = bytes(12)
_LINE: Final = re.compile(r"([0-9]{1,9}):([0-9a-fA-F]{64})")


class LocalRootKeys:
    """Root keys as 32 bytes each, kept in memory for at most a minute.

    A root key's id is derived from it, so that a wrong key is never mistaken for the right one
    because of its number.

    Args:
        source: how an error calls where they come from.
        read: returns the text with the keys.
    """

    def __init__(
        self,
        source: str,
        read: Callable[[], str],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._source = source
        self._read = read
        self._clock = clock
        self._lock = threading.Lock()
        self._keys: Mapping[str, bytes] = {}
        self._current = ""
        self._read_at = float("-inf")

    def current(self) -> str:
        """Return the id of the newest root key."""
        self._load()
        return self._current

    def wrap(self, key: bytes, binding: bytes) -> tuple[str, bytes]:
        """Wrap a key with the newest root key."""
        keys = self._load()
        root = self._current
        salt = secrets.token_bytes(_SALT_BYTES)
        aead = _wrapping(keys[root], salt, binding)
        return root, salt + aead.encrypt(_ZERO_NONCE, key, binding)

    def unwrap(self, root: str, wrapped: bytes, binding: bytes) -> bytes:
        """Return the key that ``wrap`` was given."""
        key = self._load().get(root)
        if key is None:
            key = self._load(again=True).get(root)  # another process may have rotated
        if key is None:
            raise KeyNotFound(
                f"{self._source} has no root key {root}",
                operation="unwrap tenant key",
                hint="restore that version of the root key",
            )
        salt, sealed = wrapped[:_SALT_BYTES], wrapped[_SALT_BYTES:]
        try:
            return _wrapping(key, salt, binding).decrypt(_ZERO_NONCE, sealed, binding)
        except (InvalidTag, ValueError):
            raise WrongKey(
                f"the root key {root} does not open it: the key table was altered",
                operation="unwrap tenant key",
                hint="restore the key table from a backup",
            ) from None

    def forget(self) -> None:
        """Read the keys again with the next use."""
        self._read_at = float("-inf")

    def _load(self, *, again: bool = False) -> Mapping[str, bytes]:
        with self._lock:
            if again or self._clock() - self._read_at > KEEP_S:
                versions = parse_root_keys(self._read(), source=self._source)
                self._keys = {root_id(key): key for key in versions.values()}
                self._current = root_id(versions[max(versions)])
                self._read_at = self._clock()
            return self._keys


def root_id(key: bytes) -> str:
    """Return a root key's id, from which nothing about the key can be learnt."""
    return "local:" + HKDFExpand(SHA512(), 8, b"osf/e1/root-id").derive(key).hex()


def parse_root_keys(text: str, *, source: str) -> dict[int, bytes]:
    """Return the root keys in *text* by their version.

    Raises:
        ConfigurationError: a line is none, or two have one version; no line is ever quoted.
    """
    found: dict[int, bytes] = {}
    for number, line in enumerate(text.splitlines(), 1):
        content = line.strip()
        if not content or content.startswith("#"):
            continue
        match = _LINE.fullmatch(content)
        if match is None:
            raise _unusable(source, f"line {number} is no VERSION:KEY with 64 hexadecimal digits")
        if int(match[1]) in found:
            raise _unusable(source, f"line {number} repeats version {int(match[1])}")
        found[int(match[1])] = bytes.fromhex(match[2])
    if not found:
        raise _unusable(source, "it holds no key")
    return found


def read_variable(name: str) -> str:
    """Return the text of an environment variable; ``;`` stands for a new line.

    Raises:
        ConfigurationError: it is not set.
    """
    text = os.environ.get(name)
    if text is None:
        raise ConfigurationError(
            f"the environment variable {name} is not set",
            operation="read root keys",
            field="keys.root.variable",
        )
    return text.replace(";", "\n")


def read_command(argv: Sequence[str], timeout_s: float) -> str:
    """Run a command and return what it prints. What it says on stderr is not repeated.

    Raises:
        Unavailable: it failed, or took longer than *timeout_s*.
        ConfigurationError: there is no such program.
    """
    subject = f"command {argv[0]}"
    try:
        done = subprocess.run(
            list(argv),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=timeout_s,
            check=False,
        )
    except FileNotFoundError as error:
        raise ConfigurationError(
            "there is no such program",
            operation="run",
            subject=subject,
            field="keys.root.argv",
        ) from error
    except OSError as error:
        raise from_oserror(error, operation="run", subject=subject) from error
    except subprocess.TimeoutExpired:
        raise Unavailable(
            f"it did not end within {timeout_s:g} s", operation="run", subject=subject
        ) from None
    if done.returncode != 0:
        raise Unavailable(
            f"it ended with status {done.returncode}",
            operation="run",
            subject=subject,
            hint="run it by hand to see why",
        )
    return decoded(done.stdout, subject)


def _wrapping(root_key: bytes, salt: bytes, binding: bytes) -> AESGCM:
    info = b"osf/e1/root\0" + salt + binding
    return AESGCM(HKDFExpand(SHA512(), KEY_BYTES, info).derive(root_key))


def decoded(data: bytes, source: str) -> str:
    """Return the text of a source of keys.

    Raises:
        ConfigurationError: it is none.
    """
    try:
        return data.decode("ascii")
    except UnicodeDecodeError:
        raise _unusable(source, "it is no ASCII text") from None


def _unusable(source: str, reason: str) -> ConfigurationError:
    return ConfigurationError(
        reason, operation="use root keys of", subject=source, field="keys.root"
    )
