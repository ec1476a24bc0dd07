"""Root key in HashiCorp Vault or OpenBao, by its transit engine: it never leaves the server.

Plain HTTP of the standard library; the three calls used are too few for a client package.

Source: Vault API, transit secrets engine, "Encrypt Data" and "Decrypt Data".
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import http.client
import json
import re
import ssl
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import quote, urlsplit

from modules.errors import (
    ConfigurationError,
    KeyNotFound,
    PermissionDenied,
    StorageError,
    Unavailable,
    WrongKey,
)
from modules.wrappers.keys.records import KEY_BYTES

_DIGEST_BYTES: Final = 32
_MAX_ANSWER_BYTES: Final = 1 << 20
_CIPHERTEXT: Final = re.compile(r"vault:v([0-9]+):[A-Za-z0-9+/=]+")


class VaultRootKeys:
    """Wraps with a key of the transit engine; unwraps what any version of it wrapped.

    What is encrypted is the key and a digest of its binding, so that rows cannot be exchanged
    whatever type the transit key has.

    Args:
        address: of the server, as in ``https://vault.example.com:8200``.
        mount: where the transit engine is mounted.
        name: of the transit key.
        token: returns the token to use, read anew for each call.
    """

    def __init__(
        self,
        address: str,
        *,
        mount: str,
        name: str,
        token: Callable[[], str],
        namespace: str | None = None,
        ca_file: str | None = None,
        timeout_s: float = 10.0,
    ) -> None:
        parts = urlsplit(address)
        is_url = parts.scheme in ("http", "https") and parts.hostname and not parts.username
        if not is_url or parts.query or parts.fragment:
            raise ConfigurationError(
                "must be an http or https address without credentials", field="keys.root.address"
            )
        self._host, self._port = parts.hostname or "", parts.port
        self._base = f"{parts.path.rstrip('/')}/v1/{quote(mount.strip('/'))}"
        self._mount, self._name, self._token = mount.strip("/"), name, token
        self._namespace, self._timeout_s = namespace, timeout_s
        self._tls: ssl.SSLContext | None = None
        if parts.scheme == "https":
            try:
                self._tls = ssl.create_default_context(cafile=ca_file)
            except (OSError, ssl.SSLError) as error:
                raise ConfigurationError(
                    f"cannot use it: {error}", field="keys.root.ca_file"
                ) from error

    def current(self) -> str:
        """Return the id of the newest version of the transit key."""
        data = self._call("GET", f"keys/{quote(self._name, safe='')}", None)
        version = data.get("latest_version")
        if not isinstance(version, int):
            raise Unavailable("Vault told no latest_version", operation="look at root key")
        return self._root(version)

    def wrap(self, key: bytes, binding: bytes) -> tuple[str, bytes]:
        """Let Vault wrap a key."""
        plain = base64.b64encode(_digest(binding) + key).decode()
        data = self._call("POST", f"encrypt/{quote(self._name, safe='')}", {"plaintext": plain})
        match = _CIPHERTEXT.fullmatch(str(data.get("ciphertext")))
        if match is None:
            raise Unavailable("Vault returned no ciphertext", operation="wrap tenant key")
        return self._root(int(match[1])), match[0].encode()

    def unwrap(self, root: str, wrapped: bytes, binding: bytes) -> bytes:
        """Let Vault unwrap a key."""
        if root.rpartition(":")[0] != self._root(0).rpartition(":")[0]:
            raise KeyNotFound(
                f"Vault has no root key {root} under this mount and name",
                operation="unwrap tenant key",
            )
        request = {"ciphertext": wrapped.decode("ascii", "replace")}
        data = self._call("POST", f"decrypt/{quote(self._name, safe='')}", request)
        try:
            plain = base64.b64decode(str(data.get("plaintext")), validate=True)
        except (binascii.Error, ValueError):
            plain = b""
        is_bound = hmac.compare_digest(plain[:_DIGEST_BYTES], _digest(binding))
        if not is_bound or len(plain) != _DIGEST_BYTES + KEY_BYTES:
            raise WrongKey(
                "what Vault unwrapped belongs to another row: the key table was altered",
                operation="unwrap tenant key",
                hint="restore the key table from a backup",
            )
        return plain[_DIGEST_BYTES:]

    def forget(self) -> None:
        """Do nothing: no key is kept."""

    def _root(self, version: int) -> str:
        return f"vault:{self._mount}/{self._name}:v{version}"

    def _call(self, method: str, path: str, body: dict[str, Any] | None) -> dict[str, Any]:
        """Return ``data`` of the answer to one request, on a connection of its own."""
        headers = {"X-Vault-Token": self._token(), "X-Vault-Request": "true"}
        if self._namespace:
            headers["X-Vault-Namespace"] = self._namespace
        connection: http.client.HTTPConnection
        if self._tls is not None:
            connection = http.client.HTTPSConnection(
                self._host, self._port, timeout=self._timeout_s, context=self._tls
            )
        else:
            connection = http.client.HTTPConnection(self._host, self._port, timeout=self._timeout_s)
        try:
            content = None if body is None else json.dumps(body)
            connection.request(method, f"{self._base}/{path}", content, headers)
            answer = connection.getresponse()
            status, text = answer.status, answer.read(_MAX_ANSWER_BYTES)
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise Unavailable(
                f"{self._host} does not answer: {type(error).__name__}",
                operation="ask Vault",
                subject=path,
                hint="check address, network and certificate",
            ) from error
        finally:
            connection.close()
        return _data(status, text, path)


def _data(status: int, text: bytes, path: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    if status == 200 and isinstance(value, dict) and isinstance(value.get("data"), dict):
        data: dict[str, Any] = value["data"]
        return data
    raise _refused(status, path)


def _refused(status: int, path: str) -> StorageError:
    """Return the error for an answer; the body is not repeated, it may quote the request."""
    if status == 403:
        return PermissionDenied(
            "Vault refuses this token",
            permission=f"update on {path}",
            operation="ask Vault",
            subject=path,
            hint="renew the token, or allow this in its policy",
        )
    if status == 404:
        return KeyNotFound(
            "Vault has no such transit engine or key", operation="ask Vault", subject=path
        )
    if status == 400:
        return WrongKey(
            "Vault refuses it: another key or version, or the key table was altered",
            operation="ask Vault",
            subject=path,
            hint="check min_decryption_version of the transit key",
        )
    return Unavailable(f"Vault answered with status {status}", operation="ask Vault", subject=path)


def _digest(binding: bytes) -> bytes:
    return hashlib.sha256(binding).digest()
