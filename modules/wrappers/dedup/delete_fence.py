"""The delete fence of volumes in plain directories: nothing disappears while one is snapshotted.

It lies beside the volume's fence. Elsewhere nobody is ever alone in it, and holding it is cheap.
"""

from __future__ import annotations

import time
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Final

from modules import fences
from modules.errors import Busy

_PATIENCE_S: Final = 1.0
_POLL_S: Final = 0.01


def hold_deletes(fence: Path | None) -> AbstractContextManager[object]:
    """Hold the delete fence beside *fence*; while a snapshot is being made, wait.

    Raises:
        Busy: it took too long.
    """
    if fence is None:
        return nullcontext()
    path = fence.with_name(f"{fence.name}.delete")
    deadline = time.monotonic() + _PATIENCE_S
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
