"""The delete fence of a directory volume: no object disappears while a snapshot is being made.

It lies beside the volume's fence. Whoever deletes objects holds it for that long; whoever makes
a snapshot is alone in it, from the copy of the index to the last link.
"""

from __future__ import annotations

import time
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final

from modules import fences
from modules.errors import Busy
from modules.fences import Hold

DELETE_PATIENCE_S: Final = 1.0
"""A delete that meets a snapshot waits so long; then the host keeps it pending."""

SWEEP_PATIENCE_S: Final = 60.0
"""A sweep has time."""

_POLL_S: Final = 0.01


def path_of(fence: Path) -> Path:
    """Return the delete fence beside a volume's *fence*."""
    return fence.with_name(f"{fence.name}.delete")


def hold(fence: Path, *, patience_s: float = DELETE_PATIENCE_S) -> Hold:
    """Hold the delete fence of the volume whose fence this is; while a snapshot is made, wait.

    Raises:
        Busy: it took longer than *patience_s*.
    """
    path = path_of(fence)
    deadline = time.monotonic() + patience_s
    while True:
        try:
            return fences.hold(path)
        except Busy:
            if time.monotonic() >= deadline:
                raise Busy(
                    "a snapshot of its volume is being made",
                    operation="delete object",
                    hint="try again in a moment",
                ) from None
        time.sleep(_POLL_S)


def alone(fence: Path) -> AbstractContextManager[None]:
    """Hold off deletes in the volume whose fence this is.

    Raises:
        Busy: one did not end in time.
    """
    return fences.exclusive([path_of(fence)])
