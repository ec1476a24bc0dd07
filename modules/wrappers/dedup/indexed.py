"""Where the index of a volume is, and opening it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modules import StorageModule
from modules.context import Context
from modules.errors import (
    ConfigurationError,
    IntegrityError,
    InvalidArgument,
    KeyDestroyed,
    PermissionDenied,
    translated_oserror,
)
from modules.extensions import SupportsFence, SupportsStateDir, SupportsVolumeIdentity
from modules.wrappers.base import DEFAULT_DOMAIN, Wrapper
from modules.wrappers.dedup.domain import AVERAGES, MIB, Domain, check_parameters
from modules.wrappers.dedup.opening import Location, Opened, OpenIndexes, Remote

if TYPE_CHECKING:
    from modules.wrappers.dedup.idkeys import IdKeys
    from modules.wrappers.keys import KeyRing


class IndexedWrapper(Wrapper):
    """What opens the index of a context's volume."""

    binds_to_domain = True

    def __init__(
        self,
        *,
        inner: str,
        average_bytes: int = AVERAGES[0],
        pack_bytes: int = 16 * MIB,
        codec: str = "zstd",
        state_dir: str | None = None,
        index: str | None = None,
        keys: Mapping[str, Any] | None = None,
        key_domain: str = DEFAULT_DOMAIN,
    ) -> None:
        super().__init__(inner=inner, key_domain=key_domain)
        check_parameters(average_bytes, pack_bytes, codec)
        if state_dir is not None and not (isinstance(state_dir, str) and os.path.isabs(state_dir)):
            raise ConfigurationError("must be an absolute path", field="state_dir")
        if state_dir is not None and index is not None:
            raise ConfigurationError("state_dir says where the index is already", field="index")
        self._average_bytes = average_bytes
        self._pack_bytes = pack_bytes
        self._is_compressed = codec == "zstd"
        self._state_dir = state_dir
        self._index_url = None if index is None else _check_url(index)
        self._id_keys = None if keys is None else _id_keys(keys)
        self._indexes = OpenIndexes()

    @property
    def keys(self) -> KeyRing | None:
        """The tenant keys, for the operator's commands; None when none are configured."""
        return None if self._id_keys is None else self._id_keys.ring

    @contextmanager
    def _opened(self, context: Context) -> Iterator[Opened]:
        """Open the index of a volume, to read in it."""
        with self._kept(context) as kept:
            yield self._unlocked(kept)

    @contextmanager
    def _changing(self, context: Context) -> Iterator[Opened]:
        """Open the index of a volume that may be changed.

        Raises:
            InvalidArgument: the context asks for a snapshot.
            PermissionDenied: the volume is a replica.
        """
        if context.get("snapshot") is not None:
            raise InvalidArgument(
                "a snapshot cannot be changed",
                field="context.snapshot",
                operation="change snapshot",
                subject=str(context["snapshot"])[:80],
                hint="clone it, and change the clone",
            )
        with self._kept(context) as kept:
            if kept.index.database.is_read_only:
                raise PermissionDenied(
                    "it is a read-only replica",
                    operation="change volume",
                    subject=str(context.get("tenant"))[:80],
                    hint="break it off from what it is a replica of first",
                )
            opened = self._unlocked(kept)
            if self._wraps_anew(opened):
                kept.domain = opened.index.domain(None)
                if kept.packer is not None and kept.domain is not None:
                    kept.packer.domain = kept.domain
                opened = self._unlocked(kept)
            yield opened

    @contextmanager
    def _kept(self, context: Context) -> Iterator[Opened]:
        """Give what is kept open: its domain is locked, when its id key is wrapped."""
        key_domain = self.key_domain(context)
        with self._indexes.lease(self._location(context)) as kept:
            if kept.domain is not None and kept.domain.key_domain != key_domain:
                raise IntegrityError(
                    "it belongs to another key domain",
                    operation="open index",
                    subject=kept.index.database.name,
                    hint="was it copied from another volume?",
                )
            yield kept

    def _unlocked(self, kept: Opened) -> Opened:
        """Return *kept* with its id key; still locked when that was destroyed.

        Raises:
            StorageError: the key cannot be had now.
        """
        domain = kept.domain
        if domain is None or domain.wrap is None:
            return kept
        with suppress(KeyDestroyed):
            return replace(kept, domain=self._unlock(domain))
        fresh = kept.index.domain(None)  # wrapped anew by another process, perhaps
        if fresh is not None and fresh.wrap != domain.wrap:
            kept.domain = fresh
            with suppress(KeyDestroyed):
                return replace(kept, domain=self._unlock(fresh))
        return kept

    def _unlock(self, domain: Domain) -> Domain:
        """Return a domain with its id key.

        Raises:
            ConfigurationError: the keys are not configured.
            KeyDestroyed: its key was destroyed.
            StorageError: it cannot be had now.
        """
        if domain.wrap is None:
            return domain
        if self._id_keys is None:
            raise ConfigurationError(
                "its id key is wrapped by a tenant key",
                operation="open index",
                subject=domain.id.hex(),
                hint="configure the module with the keys that the volume was made with",
                field="keys",
            )
        return self._id_keys.unlocked(domain)

    def _wraps_anew(self, opened: Opened) -> bool:
        """Wrap the id key by the tenant's active key, if it is by an older one."""
        old = opened.domain
        if self._id_keys is None or old is None or not self._id_keys.is_stale(old):
            return False
        opened.index.replace_domain(old, self._id_keys.wrapped(old))
        return True

    def _location(self, context: Context) -> Location:
        inner = self.inner(context)
        make_domain = partial(self._new, context)
        if self._index_url is not None:
            remote = Remote(self._index_url, self.key_domain(context), self._inner_name)
            return Location(remote, self._fence(context), False, make_domain)
        is_read_only = context.get("snapshot") is not None
        if isinstance(inner, SupportsStateDir):
            directory = inner.state_dir(context)
            if not is_read_only and isinstance(inner, SupportsVolumeIdentity):
                is_read_only = inner.identity(context).is_read_only
        else:
            directory = self._own_directory(self.key_domain(context))
        return Location(directory, self._fence(context), is_read_only, make_domain)

    def _fence(self, context: Context) -> Path | None:
        inner = self.inner(context)
        return inner.fence(context) if isinstance(inner, SupportsFence) else None

    def _own_directory(self, key_domain: str) -> Path:
        if self._state_dir is None:
            raise self._no_state_dir()
        name = hashlib.sha256(key_domain.encode("utf-8", "surrogatepass")).hexdigest()[:32]
        path = Path(self._state_dir, name)
        with translated_oserror(operation="make directory for index", subject=str(path)):
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
        return path

    def _new(self, context: Context) -> Domain:
        domain = Domain.make(
            self.key_domain(context),
            average_bytes=self._average_bytes,
            pack_bytes=self._pack_bytes,
            is_compressed=self._is_compressed,
        )
        return domain if self._id_keys is None else self._id_keys.wrapped(domain)

    def _check_state_dir(self, inner: StorageModule) -> None:
        elsewhere = self._index_url is not None or self._state_dir is not None
        if not isinstance(inner, SupportsStateDir):
            if not elsewhere:
                raise self._no_state_dir()
        elif elsewhere:
            raise ConfigurationError(
                "the inner module has state directories: an index elsewhere would not be"
                " snapshotted and rolled back with the packs",
                field="index" if self._state_dir is None else "state_dir",
            )

    def _no_state_dir(self) -> ConfigurationError:
        return ConfigurationError(
            f"{self._inner_name} has no state directories: say where the index is to be",
            field="state_dir",
            hint="state_dir is for one host, index for several",
        )


def _id_keys(keys: Mapping[str, Any]) -> IdKeys:
    from modules.wrappers.dedup.idkeys import IdKeys

    return IdKeys(keys)


def _check_url(url: object) -> str:
    try:
        from modules.wrappers.dedup.postgresql_database import check_url
    except ImportError as error:
        raise ConfigurationError(
            "psycopg is not installed", field="index", hint="install zfsstore[postgres]"
        ) from error
    return check_url(url)
