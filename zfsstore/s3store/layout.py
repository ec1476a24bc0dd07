"""Keys and content in the bucket, and module_data. docs/formats.md describes them for readers.

<prefix>o/<id>                       of the root volume (a context without a tenant)
<prefix>t/<tenant>/o/<id>            of a tenant
<prefix>t/<tenant>/b/<bucket>/o/<id>
<prefix>q/<time>/...                 what a sweep moved aside, under the rest of its key

An object of more than one block is followed by its table: a digest for each block. What
module_data says of the table, or of the only block, says what all bytes must be.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import dataclass
from typing import Final

from modules.context import Context, text
from modules.errors import InvalidArgument, InvalidModuleData, NotSupported
from zfsstore.zfs.names import encode_component, split_volume_name

BLOCK_BYTES: Final = 256 * 1024
DIGEST_BYTES: Final = 16
QUARANTINE: Final = "q/"
_OBJECTS: Final = "o/"
_ID: Final = re.compile(r"[0-9a-f]{32}")
_MODULE_DATA: Final = re.compile(r"s1\.([0-9a-f]{32})\.(0|[1-9][0-9]{0,13})\.([0-9a-f]{32})")


@dataclass(frozen=True, slots=True)
class ModuleData:
    """Which object it is, and what its bytes must be.

    Attributes:
        object_id: 32 random hexadecimal digits, the end of its key.
        size: of the content, in bytes.
        root: digest of the table or, with one block at most, of the content.
    """

    object_id: str
    size: int
    root: bytes

    @property
    def blocks(self) -> int:
        """How many blocks the content has."""
        return -(-self.size // BLOCK_BYTES)

    @property
    def table_bytes(self) -> int:
        """How long the table is; none for a single block."""
        return self.blocks * DIGEST_BYTES if self.blocks > 1 else 0

    @property
    def stored_bytes(self) -> int:
        """How many bytes the object has in the bucket."""
        return self.size + self.table_bytes

    def __str__(self) -> str:
        return f"s1.{self.object_id}.{self.size}.{self.root.hex()}"


def parse_module_data(module_data: str) -> ModuleData:
    """Return what *module_data* says.

    Raises:
        InvalidModuleData: S3Storage cannot have returned it.
    """
    match = _MODULE_DATA.fullmatch(module_data) if isinstance(module_data, str) else None
    if match is None:
        raise InvalidModuleData("not one of this module's", subject=ascii(module_data)[:80])
    return ModuleData(match[1], int(match[2]), bytes.fromhex(match[3]))


def new_object_id() -> str:
    """Return an id that nobody has."""
    return secrets.token_hex(16)


def digest(data: bytes | bytearray | memoryview) -> bytes:
    """Return the digest of a block or of a table: the first half of its SHA-256."""
    return hashlib.sha256(data).digest()[:DIGEST_BYTES]


def content_bytes(stored_bytes: int) -> int:
    """Return how long the content of an object of this length in the bucket is."""
    if stored_bytes <= BLOCK_BYTES:
        return stored_bytes
    return stored_bytes - DIGEST_BYTES * -(-stored_bytes // (BLOCK_BYTES + DIGEST_BYTES))


@dataclass(frozen=True, slots=True)
class Area:
    """Where a volume's objects are: all keys that begin with ``objects``.

    Attributes:
        label: the volume's name, for messages.
    """

    label: str
    objects: str

    def key(self, object_id: str) -> str:
        """Return the key of an object."""
        return self.objects + object_id

    def object_id(self, key: str) -> str | None:
        """Return the id of the object with this key, None for what is not ours."""
        name = key.removeprefix(self.objects)
        return name if key != name and _ID.fullmatch(name) else None


def area_of(context: Context, prefix: str) -> Area:
    """Return where the objects of the context's tenant and bucket are.

    Raises:
        InvalidName: a malformed tenant or bucket.
        NotSupported: the context asks for a snapshot.
    """
    if text(context, "snapshot") is not None:
        raise NotSupported(
            "an S3 bucket has no snapshots",
            capability="cdmi_snapshots",
            operation="use snapshot",
            subject=str(context["snapshot"])[:80],
        )
    tenant = text(context, "tenant")
    if not tenant:
        return Area("the root volume", f"{prefix}{_OBJECTS}")
    names = [encode_component(name) for name in split_volume_name(tenant)]
    volume = "".join(f"{kind}/{name}/" for kind, name in zip("tb", names, strict=False))
    return Area(tenant, f"{prefix}{volume}{_OBJECTS}")


def require_live(context: Context) -> None:
    """Refuse to change a snapshot.

    Raises:
        InvalidArgument: the context names one.
    """
    if context.get("snapshot") is not None:
        raise InvalidArgument("a snapshot cannot be changed", field="context.snapshot")
