"""Sweeps and adoptions keep out of each other's way.

A sweep judges a file by its time, and an adopted one has the time of its source, which may be
long ago. So between the adoption of a file and the commit of its key nothing is swept.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from modules.context import Context
from modules.errors import Busy, translated_oserror
from modules.extensions import SupportsStateDir

_NAME: Final = "adopting"


@contextmanager
def adoption(module: object, context: Context) -> Iterator[None]:
    """Hold off sweeps of the volume for as long as the block runs; waits for one that runs."""
    with _locked(module, context, fcntl.LOCK_SH):
        yield


@contextmanager
def no_adoption(module: object, context: Context) -> Iterator[None]:
    """Hold off adoptions into the volume for as long as the block runs.

    Raises:
        Busy: one is under way.
    """
    with _locked(module, context, fcntl.LOCK_EX | fcntl.LOCK_NB):
        yield


@contextmanager
def _locked(module: object, context: Context, operation: int) -> Iterator[None]:
    """Lock a file beside the index; the kernel lets go of it when the process dies."""
    if not isinstance(module, SupportsStateDir):  # then it cannot adopt: a put has today's time
        yield
        return
    directory = module.state_dir(context)
    with translated_oserror(operation="lock volume", subject=str(context.get("tenant"))):
        fd = os.open(directory / _NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if os.geteuid() == 0:  # what an operator's command makes is the host's user's
                owner = os.stat(directory)
                os.fchown(fd, owner.st_uid, owner.st_gid)
            try:
                fcntl.flock(fd, operation)
            except BlockingIOError:
                raise Busy(
                    "files are being adopted into it",
                    operation="sweep",
                    subject=str(context.get("tenant")),
                    hint="try again when that is done",
                ) from None
            yield
        finally:
            os.close(fd)
