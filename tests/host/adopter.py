"""A process that adopts: ``adopter.py ROOT DIRECTORY``; a line for each batch."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from tests.host.objectservice import Site
from zfsstore.host import adopting
from zfsstore.host.adopting import AdoptReport

adopting.BATCH = 8  # type: ignore[misc]  # so that a kill meets one


def tell(report: AdoptReport) -> None:
    os.write(1, b"%d\n" % report.adopted)


if __name__ == "__main__":
    site = Site(Path(sys.argv[1]))
    site.service.adoption.adopt(site.tenant("volumes"), "photos", Path(sys.argv[2]), progress=tell)
    site.service.close()
