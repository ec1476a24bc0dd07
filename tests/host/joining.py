"""A service on the data of a site that another process has made."""

from __future__ import annotations

from tests.host.objectservice import FaultyStorage, Site
from zfsstore import ZFSStorage


class JoinedSite(Site):
    """A site as one more process has it."""

    def __post_init__(self) -> None:
        self.modules["volumes"] = ZFSStorage(directory=str(self.root / "volumes"), headroom_bytes=0)
        self.modules["shared"] = self.faulty = FaultyStorage(str(self.root / "shared"))
        self.service = self.open_service()
