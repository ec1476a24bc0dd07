"""The errors that only ZFS knows, below those of modules.errors."""

from __future__ import annotations

from modules.errors import Conflict, IntegrityError, InvalidArgument, SubstrateError


class QuotaBelowUsage(InvalidArgument):
    """A quota was to be set below what is in use."""


class KeyNotLoaded(Conflict):
    """The dataset is encrypted and locked; load its key first."""


class KeyUnavailable(SubstrateError):
    """The file or command that should give a key gave none."""


class InvalidStream(IntegrityError):
    """What was to be received is no complete and intact stream of ``zfs send``."""


class StaleResumeToken(Conflict):
    """What a receive began cannot be gone on with: the snapshot or its base has changed."""


class Diverged(Conflict):
    """The destination has no snapshot that the stream builds on, or was changed since."""
