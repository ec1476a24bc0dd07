"""Volumes with properties of their own, and tenants that can be locked: beside the tiers.

Names and values of properties are those of ZFS, sizes in bytes. Which may be chosen is for the
backend to say.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

from modules.volumes import Volume, VolumeBackend


@dataclass(frozen=True, slots=True)
class EncryptionKey:
    """Where the key of an encrypted volume comes from; never the key itself.

    Exactly one of *file* and *command* is given.

    Attributes:
        file: the path of a file that holds the key and nothing else.
        command: a program with its arguments, run without a shell, whose output is the key.
        format: "raw" is 32 bytes, "hex" 64 hexadecimal digits, "passphrase" 8 to 512 bytes; of
            the last two a newline at the end is no part.
        cipher: of a new volume; "on" is what the substrate thinks best.
    """

    file: str | None = None
    command: tuple[str, ...] | None = None
    format: Literal["raw", "hex", "passphrase"] = "raw"
    cipher: str = "on"


@runtime_checkable
class PropertyBackend(VolumeBackend, Protocol):
    """A VolumeBackend whose volumes have properties, named and valued as in ZFS."""

    def create_volume(
        self,
        name: str,
        size_bytes: int | None = None,
        *,
        properties: Mapping[str, str] | None = None,
        encryption: EncryptionKey | None = None,
    ) -> Volume:
        """Create a volume; see VolumeBackend.

        Args:
            properties: chosen ones; sizes in bytes.
            encryption: of a tenant; its buckets are encrypted with it.

        Raises:
            modules.errors.InvalidArgument: a property, its value or the key is wrong.
            modules.errors.NotSupported: the substrate has no such properties, or no encryption.
        """

    def get_properties(self, uuid: str) -> dict[str, str]:
        """Return the properties that can be chosen, and what is known besides; sizes in bytes.

        Raises:
            modules.errors.VolumeNotFound
        """

    def set_properties(self, uuid: str, properties: Mapping[str, str]) -> Volume:
        """Change properties and return the volume; ``{"quota": "none"}`` takes the quota away.

        Raises:
            modules.errors.InvalidArgument, modules.errors.NotSupported,
            modules.errors.VolumeNotFound
        """


@runtime_checkable
class EncryptionBackend(PropertyBackend, Protocol):
    """A PropertyBackend whose tenants can be locked: nobody can read them without their key."""

    def unlock_volume(self, uuid: str, key: EncryptionKey | None = None) -> Volume:
        """Load a tenant's key, and make it and its buckets usable; again is silent.

        Args:
            key: None takes it from where the substrate was told to look for it.

        Raises:
            modules.errors.InvalidArgument: it is not the key, or nothing is encrypted.
        """

    def lock_volume(self, uuid: str) -> Volume:
        """Wait until nobody uses the tenant and its buckets, then forget the key.

        Every use of a locked volume raises modules.errors.Locked. Again is silent.

        Raises:
            modules.errors.Busy: somebody did not let go in time; nothing was changed.
            modules.errors.InvalidArgument: nothing is encrypted, or it is a bucket.
        """
