"""A process that publishes: ``publisher.py ROOT``, until it is killed; a line for each slice."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from tests.host.objectservice import Site

if __name__ == "__main__":
    site = Site(Path(sys.argv[1]))
    while True:
        site.service.publishing.run_once()
        os.write(1, b"slice\n")
