"""Which dataset keeps a uuid that several carry, and which the others get.

Somebody who receives a stream with properties by hand, or copies them, makes a second dataset
with a volume's uuid. Each volume must have its own, the same one for every process and for good.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from zfsstore.volumes.common import parse_uuid
from zfsstore.volumes.datasets import UUID
from zfsstore.zfs.commands import Dataset, Property

_REASSIGNED: Final = uuid.UUID("5c0f7f0e-59f5-5d0b-9a53-0d8a6f6c1c0e")


def plan_uuids(datasets: Iterable[Dataset]) -> dict[str, str]:
    """Return the new uuid of each dataset that must not keep its own.

    The dataset that has been on this pool for longest keeps it. A new one follows from the
    dataset's guid and the uuid that it had, so that whoever looks at the same moment, and even
    who may not write it down, comes to the same.
    """
    taken: set[str] = set()
    plan: dict[str, str] = {}
    for present in sorted(datasets, key=_age):
        own = parse_uuid(present.own(UUID))
        if own is None:
            continue
        if own in taken:
            guid = present.value("guid") or present.name
            plan[present.name] = str(uuid.uuid5(_REASSIGNED, f"{own} {guid}"))
        taken.add(own)
    return plan


def with_uuid(present: Dataset, uuid: str | None) -> Dataset:
    """Return the dataset as it is with another uuid, or as it is for None."""
    if uuid is None:
        return present
    return replace(present, properties={**present.properties, UUID: Property(uuid, "local")})


def _age(present: Dataset) -> tuple[int, str]:
    return present.number("createtxg") or 0, present.name
