"""EncryptedStorage: what it stores in its inner module is in format E1."""

from __future__ import annotations

import contextlib
import secrets
import threading
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

from modules import StorageModule
from modules.context import Context, content_length
from modules.errors import ConfigurationError, IntegrityError, StorageError, SubstrateError
from modules.extensions import SupportsRewrap
from modules.streams import SupportsRead
from modules.wrappers.base import DEFAULT_DOMAIN, Wrapper
from modules.wrappers.encryption import format as e1
from modules.wrappers.encryption.reader import DecryptedStream
from modules.wrappers.encryption.writer import EncryptingStream
from modules.wrappers.inner_reader import InnerReader
from modules.wrappers.keys import KeyRing, open_key_ring

_DECRYPT: Final = "decrypt object"
_UID_BYTES: Final = 16
_MAX_HEADERS: Final = 4096
_ALGORITHMS: Final = {
    e1.AES_256_GCM: "AES_GCM_256",
    e1.CHACHA20_POLY1305: "CHACHA20_POLY1305_256",
}


class EncryptedStorage(Wrapper):
    """Encrypts objects, each with a key of its own, and keeps them in another module.

    An object's key is wrapped by its tenant's key, and that, in the key table, by a root key. All
    is bound to the volume's key_domain, so it stays readable after a rename, clone, rollback or
    replication, and becomes unreadable, for good, when the domain's keys are destroyed.

    Args:
        inner: the name of the configured module that keeps the ciphertext.
        keys: where the keys are; see :func:`modules.wrappers.keys.open_key_ring`.
        suite: the cipher of new objects, "AES-256-GCM" or "ChaCha20-Poly1305".
        key_domain: what to bind to where nobody knows the volume's.
    """

    binds_to_domain = True

    def __init__(
        self,
        *,
        inner: str,
        keys: Mapping[str, Any],
        suite: str = "AES-256-GCM",
        key_domain: str = DEFAULT_DOMAIN,
    ) -> None:
        super().__init__(inner=inner, key_domain=key_domain)
        if suite not in e1.SUITES:
            raise ConfigurationError(f"must be one of {', '.join(e1.SUITES)}", field="suite")
        self._suite = e1.SUITES[suite]
        self._keys = open_key_ring(keys)
        self._keys.check()
        self._headers: dict[tuple[str, str], e1.Header] = {}
        self._headers_lock = threading.Lock()

    @property
    def keys(self) -> KeyRing:
        """The tenant keys, for the operator's commands."""
        return self._keys

    def available(self, context: Context, module_data: str) -> bool:
        """Return True when the ciphertext is there and its tenant's keys are not destroyed."""
        if not super().available(context, module_data):
            return False
        try:
            return not self._keys.is_destroyed(self.key_domain(context))
        except StorageError:
            return False

    def put(self, context: Context, stream: SupportsRead) -> str:
        """Encrypt *stream* into the inner module; as durable as that makes it."""
        expected_bytes = content_length(context)
        uid, header, body = self._new_object(self.key_domain(context))
        source = EncryptingStream(stream, header.to_bytes(), body, expected_bytes=expected_bytes)
        size = None if expected_bytes is None else e1.sealed_size(expected_bytes)
        inner = self.inner(context)
        inner_context = self.inner_context(context, content_length=size)
        inner_data = inner.put(inner_context, source)
        if not source.is_complete:
            with contextlib.suppress(StorageError):
                inner.delete(context, inner_data)
            raise SubstrateError(
                "it did not read the stream to its end",
                operation="put into module",
                subject=self._inner_name,
                hint="run zfsstore module check on it",
            )
        return str(e1.ModuleData(uid, source.length, None, inner_data))

    def get_read_stream(self, context: Context, module_data: str) -> DecryptedStream:
        """Return the object's plaintext; the key is proven, and the size, before any read."""
        parsed = e1.parse_module_data(module_data)
        stream = self.inner(context).get_read_stream(context, parsed.inner)
        try:
            reader = InnerReader(stream, operation=_DECRYPT, subject=module_data)
            length = e1.open_length(reader.size(), subject=module_data)
            if length != parsed.length:
                raise IntegrityError(
                    f"it holds {length} bytes, but {parsed.length} were put",
                    operation=_DECRYPT,
                    subject=module_data,
                    hint="restore it from a snapshot or a replica",
                )
            header = self._header(parsed, reader, module_data)
            _, body = self._open_object(context, parsed, header, module_data)
            self._keep_header(parsed, header)
        except BaseException:
            stream.close()
            raise
        return DecryptedStream(reader, body, length, module_data)

    def delete(self, context: Context, module_data: str) -> None:
        """Remove the ciphertext, and forget its header."""
        parsed = e1.parse_module_data(module_data)
        self.inner(context).delete(context, parsed.inner)
        self._headers.pop((parsed.uid, parsed.inner), None)

    def offers(self, inner: StorageModule) -> dict[str, Any]:
        """Return what holds around *inner*; ``rewrap`` is our own."""
        found = super().offers(inner)
        found.pop("rewrap", None)
        return found

    def rewrap(self, context: Context, module_data: str) -> str:
        """Return the module_data with the object's key wrapped by its tenant's active key.

        The object itself is not touched. Once all of a domain's objects are rewrapped, the older
        tenant keys can be destroyed. Returns *module_data* itself when there is nothing to do.

        Raises:
            StorageError: the object cannot be opened as it is.
        """
        parsed = e1.parse_module_data(module_data)
        inner = self.inner(context)
        if isinstance(inner, SupportsRewrap):
            parsed = replace(parsed, inner=inner.rewrap(context, parsed.inner))
        active = self._keys.active(self.key_domain(context))
        if parsed.rewrap is not None and parsed.rewrap.key_id == active.id:
            return str(parsed)
        with inner.get_read_stream(context, parsed.inner) as stream:
            reader = InnerReader(stream, operation=_DECRYPT, subject=module_data)
            header = self._header(parsed, reader, module_data)
        object_key, _ = self._open_object(context, parsed, header, module_data)
        present = header.key_id if parsed.rewrap is None else parsed.rewrap.key_id
        if present == active.id:
            return str(parsed)
        ctx = e1.context_of(self.key_domain(context), parsed.uid, header.suite)
        salt = secrets.token_bytes(e1.SALT_BYTES)
        aad = e1.wrap_aad(header.suite, active.id, salt)
        wrapped = e1.wrap_key(active.key, object_key, aad, ctx)
        return str(replace(parsed, rewrap=e1.Rewrap(active.id, salt, wrapped)))

    def rewrap_kept(self, context: Context) -> Iterator[bool]:
        """Yield nothing: no module_data is kept here."""
        return iter(())

    def statistics(self, context: Context) -> dict[str, Any]:
        """Return the inner module's statistics, and how its bytes are encrypted."""
        return {
            **self.inner(context).statistics(context),
            "encryption": {"format": "E1", "algorithm": _ALGORITHMS[self._suite]},
        }

    def capabilities(self, context: Context) -> Mapping[str, Any]:
        """Return the inner module's capabilities, with the algorithm of new objects."""
        inner = self.inner(context).capabilities(context)
        others = inner.get("cdmi_encryption")
        known = list(others) if isinstance(others, list | tuple) else []
        algorithm = _ALGORITHMS[self._suite]
        return {**inner, "cdmi_encryption": sorted({*known, algorithm})}

    def _inner_data(self, module_data: str) -> str:
        return e1.parse_module_data(module_data).inner

    def _new_object(self, key_domain: str) -> tuple[str, e1.Header, e1.Body]:
        """Return a new object's uid, header and keys: all random, no counter anywhere."""
        tenant_key = self._keys.active(key_domain)
        random = secrets.token_bytes(e1.KEY_BYTES + e1.SALT_BYTES + _UID_BYTES)
        object_key, salt = random[: e1.KEY_BYTES], random[e1.KEY_BYTES : -_UID_BYTES]
        uid = random[-_UID_BYTES:].hex()
        ctx = e1.context_of(key_domain, uid, self._suite)
        aad = e1.wrap_aad(self._suite, tenant_key.id, salt)
        wrapped = e1.wrap_key(tenant_key.key, object_key, aad, ctx)
        body = e1.body_of(object_key, salt, ctx, self._suite)
        return uid, e1.Header(self._suite, tenant_key.id, salt, wrapped, body.commitment), body

    def _open_object(
        self, context: Context, parsed: e1.ModuleData, header: e1.Header, subject: str
    ) -> tuple[bytes, e1.Body]:
        """Return an object's key and what opens its segments, proven by the commitment."""
        key_domain = self.key_domain(context)
        ctx = e1.context_of(key_domain, parsed.uid, header.suite)
        wrap = parsed.rewrap or e1.Rewrap(header.key_id, header.salt, header.wrapped)
        tenant_key = self._keys.find(wrap.key_id, key_domain)
        aad = e1.wrap_aad(header.suite, wrap.key_id, wrap.salt)
        object_key = e1.unwrap_key(tenant_key.key, wrap.wrapped, aad, ctx, subject=subject)
        body = e1.body_of(object_key, header.salt, ctx, header.suite)
        e1.check_commitment(body, header, subject=subject)
        return object_key, body

    def _header(self, parsed: e1.ModuleData, reader: InnerReader, subject: str) -> e1.Header:
        """Return the object's header, which may be unproven."""
        header = self._headers.get((parsed.uid, parsed.inner))
        if header is None:
            data = reader.read_at(0, e1.HEADER_BYTES)
            header = e1.Header.from_bytes(data, subject=subject)
        return header

    def _keep_header(self, parsed: e1.ModuleData, header: e1.Header) -> None:
        """Keep a proven header: it is no secret, and never changes."""
        key = (parsed.uid, parsed.inner)
        if key not in self._headers:
            with self._headers_lock:
                if len(self._headers) >= _MAX_HEADERS:
                    self._headers.clear()
                self._headers[key] = header
