"""An encrypting module as the commands see it: its keys, and which volumes they belong to."""

from __future__ import annotations

import argparse
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from modules.errors import InvalidArgument, NotSupported, StorageError, VolumeNotFound
from modules.extensions import SupportsVolumeIdentity, SupportsVolumes

if TYPE_CHECKING:
    from modules import StorageModule
    from modules.wrappers.keys import KeyRing
    from zfsstore.host.services import Services

ROOT: Final = "(root)"
"""How the volume without a name is shown: a module's health is checked there."""


@dataclass(frozen=True, slots=True)
class Encrypting:
    """An encrypting module and its keys."""

    name: str
    module: StorageModule
    ring: KeyRing

    @classmethod
    def open(cls, opened: Services, name: str) -> Encrypting:
        """Return the module configured as *name*.

        Raises:
            NotSupported: it does not encrypt.
        """
        from modules.wrappers.keys import KeyRing

        module = opened.registry.get(name)
        ring = getattr(module, "keys", None)
        if not isinstance(ring, KeyRing):
            raise NotSupported(
                "it has no keys",
                capability="keys",
                operation="open keys of module",
                subject=name,
                hint="name a module of class modules.wrappers.encryption.EncryptedStorage",
            )
        ring.forget()
        return cls(name, module, ring)

    def volumes_by_domain(self) -> dict[str, list[str]]:
        """Return the names of the volumes, as far as they can be told, by their key domain."""
        found: dict[str, list[str]] = {}
        for name in self._volume_names():
            with suppress(StorageError):  # locked, say: its keys are listed without a name
                found.setdefault(self.domain_of(name), []).append(name)
        if isinstance(self.module, SupportsVolumeIdentity):
            with suppress(StorageError):
                found.setdefault(self.module.identity({}).key_domain, []).append(ROOT)
        return found

    def domains(self, args: argparse.Namespace, *, operation: str) -> list[str]:
        """Return the key domains that a command names, sorted; each has keys.

        Raises:
            InvalidArgument: it names none, or a domain without keys.
            VolumeNotFound: there is no such volume.
        """
        if (args.volume is None) == (args.domain is None):
            raise InvalidArgument(
                "exactly one is needed", operation=operation, subject="VOLUME or --domain"
            )
        known = {record.key_domain for record in self.ring.list_keys()}
        if args.domain is not None:
            domains = {args.domain}
        else:
            names = self._volume_names()
            below = f"{args.volume}/"
            if args.volume not in names:
                raise VolumeNotFound(
                    "there is none",
                    operation=operation,
                    subject=args.volume,
                    hint=f"see `zfsstore keys list {self.name}`, and use --domain",
                )
            chosen = (name for name in names if name == args.volume or name.startswith(below))
            domains = {self.domain_of(name) for name in chosen}
        if not domains & known:
            raise InvalidArgument(
                "it has no keys: nothing was encrypted yet",
                operation=operation,
                subject=args.volume or args.domain,
                field="--domain",
            )
        return sorted(domains & known)

    def _volume_names(self) -> list[str]:
        if not isinstance(self.module, SupportsVolumes):
            return []
        return [volume["name"] for volume in self.module.volumes.list_volumes()]

    def domain_of(self, name: str) -> str:
        """Return the key domain of a volume."""
        key_domain = getattr(self.module, "key_domain", None)
        assert key_domain is not None  # every wrapper has it
        return str(key_domain({"tenant": name}))
