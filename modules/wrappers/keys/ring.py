"""The key ring: tenant keys in the clear, for a minute at most; and what operators do with them."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from modules.errors import Busy, KeyDestroyed, KeyNotFound, WrongKey
from modules.wrappers.keys.records import (
    ID_BYTES,
    KEY_BYTES,
    KeyRecord,
    KeyState,
    RootKeys,
    TenantKey,
    key_binding,
)
from modules.wrappers.keys.table import KeyTable

KEEP_S: Final = 60.0
"""How long a key stays in memory. A key that is destroyed is unusable everywhere after that."""

_MAX_KEPT: Final = 1024
_ATTEMPTS: Final = 8


@dataclass(frozen=True, slots=True)
class _Kept:
    key: TenantKey
    key_domain: str
    until: float


class KeyRing:
    """Gives tenant keys by domain or id, and rotates and destroys them.

    Safe for many threads and processes. Keys of a domain that has none are made on first use.

    Args:
        table: the wrapped keys.
        roots: what unwraps them: the one in use first, then former ones.
    """

    def __init__(
        self,
        table: KeyTable,
        *roots: RootKeys,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.table = table
        self._roots = roots
        self._clock = clock
        self._lock = threading.Lock()
        self._by_id: dict[bytes, _Kept] = {}
        self._active: dict[str, _Kept] = {}
        self._alive: dict[str, float] = {}  # domains with keys, and until when that holds

    def active(self, key_domain: str) -> TenantKey:
        """Return the key for a domain's new objects, which is made if there is none.

        Raises:
            KeyDestroyed: the domain's keys were destroyed.
            KeyNotFound, WrongKey, Unavailable: its key cannot be unwrapped.
        """
        kept = self._active.get(key_domain)
        if kept is not None and self._clock() < kept.until:
            return kept.key
        records = self.table.of_domain(key_domain)
        record = next((r for r in records if r.state is KeyState.ACTIVE), None)
        if record is None:
            if records:
                raise _destroyed(key_domain, records[0])
            record = self._make(key_domain, records)
        return self._keep(record, is_active=True).key

    def find(self, key_id: bytes, key_domain: str) -> TenantKey:
        """Return the key with which an object of this domain was encrypted.

        Raises:
            KeyNotFound: there is no key of this id.
            KeyDestroyed: there was one.
            WrongKey: it is another domain's.
            Unavailable: its key cannot be unwrapped now.
        """
        kept = self._by_id.get(key_id)
        if kept is None or self._clock() >= kept.until:
            record = self.table.find(key_id)
            if record is None:
                raise KeyNotFound(
                    "the key table has no such key",
                    operation="find tenant key",
                    subject=key_id.hex(),
                    hint="restore the key table that belongs to these objects",
                )
            if record.state is KeyState.DESTROYED:
                raise _destroyed(key_id.hex(), record)
            kept = self._keep(record, is_active=False)
        if kept.key_domain != key_domain:
            raise WrongKey(
                "it belongs to another tenant",
                operation="use tenant key",
                subject=key_id.hex(),
            )
        return kept.key

    def is_destroyed(self, key_domain: str) -> bool:
        """Tell whether a domain's keys were destroyed."""
        now = self._clock()
        if now < self._alive.get(key_domain, now):
            return False
        records = self.table.of_domain(key_domain)
        if records and all(record.state is KeyState.DESTROYED for record in records):
            return True
        with self._lock:
            if len(self._alive) >= _MAX_KEPT:
                self._alive.clear()
            self._alive[key_domain] = now + KEEP_S
        return False

    def forget(self) -> None:
        """Drop all keys from memory."""
        with self._lock:
            self._by_id.clear()
            self._active.clear()
            self._alive.clear()
        for roots in self._roots:
            roots.forget()

    def check(self) -> None:
        """Prove that the table can be read and a root key is there.

        Raises:
            StorageError: not so.
        """
        self.table.check()
        self._roots[0].current()

    def list_keys(self) -> list[KeyRecord]:
        """Return all keys, wrapped, by domain and version."""
        return self.table.list_keys()

    def rotate(self, key_domain: str) -> KeyRecord:
        """Give a domain a new active key; the old one only decrypts from now on.

        Other processes go on with the old one for up to a minute.

        Raises:
            KeyDestroyed: the domain's keys were destroyed.
            KeyNotFound: it never had one.
        """
        records = self.table.of_domain(key_domain)
        if not records:
            raise KeyNotFound("it has no key yet", operation="rotate key of", subject=key_domain)
        if all(record.state is KeyState.DESTROYED for record in records):
            raise _destroyed(key_domain, records[0])
        made = self._make(key_domain, records)
        self.forget()
        return made

    def shred(self, key_domain: str) -> int:
        """Destroy all keys of a domain, for good; return how many.

        Other processes may use a key that they hold for up to a minute.
        """
        ids = [record.id for record in self.table.of_domain(key_domain)]
        count = self.table.destroy(ids, datetime.now(UTC)) if ids else 0
        self.forget()
        return count

    def destroy_version(self, key_domain: str, version: int) -> None:
        """Destroy one key that nothing needs any more; never the active one.

        Raises:
            KeyNotFound: there is no such version.
            Busy: it is the active one.
        """
        for record in self.table.of_domain(key_domain):
            if record.version == version:
                if record.state is KeyState.ACTIVE:
                    raise Busy(
                        "it is in use for new objects",
                        operation="destroy key of",
                        subject=f"{key_domain}, version {version}",
                        hint="rotate the domain's key first",
                    )
                self.table.destroy([record.id], datetime.now(UTC))
                self.forget()
                return
        raise KeyNotFound(
            f"it has no version {version}", operation="destroy key of", subject=key_domain
        )

    def rotate_root(self) -> int:
        """Wrap every key anew that another root key wraps than the newest; return how many.

        Each is a transaction of its own: reads and writes go on, and after an interruption the
        next call does the rest. Needs the older root keys until it is through.
        """
        current = self._roots[0].current()
        count = 0
        for record in self.table.list_keys():
            if record.state is KeyState.DESTROYED or record.root == current:
                continue
            root, wrapped = self._roots[0].wrap(self._unwrap(record), record.binding)
            count += self.table.rewrap(record, root, wrapped)
        return count

    def root_in_use(self) -> str:
        """Return the id of the root key that wraps new keys."""
        return self._roots[0].current()

    def _make(self, key_domain: str, present: list[KeyRecord]) -> KeyRecord:
        """Add the next version; when another process was faster, return what that added."""
        for _ in range(_ATTEMPTS):
            version = max((record.version for record in present), default=0) + 1
            key_id, key = secrets.token_bytes(ID_BYTES), secrets.token_bytes(KEY_BYTES)
            root, wrapped = self._roots[0].wrap(key, key_binding(key_id, key_domain, version))
            now = datetime.now(UTC)
            record = KeyRecord(key_id, key_domain, version, KeyState.ACTIVE, root, wrapped, now)
            if self.table.add(record):
                return record
            present = self.table.of_domain(key_domain)
            newest = next((r for r in present if r.state is KeyState.ACTIVE), None)
            if newest is not None and newest.version >= version:
                return newest
        raise Busy("others change its keys all the time", operation="add key", subject=key_domain)

    def _keep(self, record: KeyRecord, *, is_active: bool) -> _Kept:
        kept = _Kept(
            TenantKey(record.id, self._unwrap(record)),
            record.key_domain,
            self._clock() + KEEP_S,
        )
        with self._lock:
            if len(self._by_id) >= _MAX_KEPT or len(self._active) >= _MAX_KEPT:
                self._by_id.clear()
                self._active.clear()
            self._by_id[record.id] = kept
            if is_active:
                self._active[record.key_domain] = kept
        return kept

    def _unwrap(self, record: KeyRecord) -> bytes:
        missing: KeyNotFound | None = None
        for roots in self._roots:
            try:
                return roots.unwrap(record.root, record.wrapped, record.binding)
            except KeyNotFound as error:
                missing = missing or error
        again = self.table.find(record.id)  # rewrapped in the meantime, by a root we do have?
        if again is not None and again.root != record.root and again.wrapped:
            return self._unwrap(again)
        assert missing is not None
        raise missing


def _destroyed(subject: str, record: KeyRecord) -> KeyDestroyed:
    when = "" if record.destroyed_at is None else f" on {record.destroyed_at:%Y-%m-%d}"
    return KeyDestroyed(
        f"the key was destroyed{when}: what it encrypted is unreadable for good",
        operation="use tenant key",
        subject=subject,
    )
