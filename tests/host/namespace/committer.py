"""A process that commits to an index: ``committer.py STATE_DIR NAME THREADS COUNT``.

Prints a line for each key once it is acknowledged. COUNT 0: until it is killed.
"""

from __future__ import annotations

import os
import sys
import threading
from itertools import count
from pathlib import Path

from zfsstore.host.namespace.index import Index
from zfsstore.host.namespace.records import Blob, Draft, Extent
from zfsstore.host.namespace.sqlite import VolumeDatabase
from zfsstore.host.namespace.store import Store


def main(state_dir: str, name: str, threads: str, number: str) -> None:
    """Commit *number* keys from each thread, and one shared key each time."""
    store = Store(VolumeDatabase(Path(state_dir)))
    index = Index(store)

    def work(thread: int) -> None:
        for step in range(int(number)) if int(number) else count():
            key = f"{name}/{thread}/{step}"
            blob = Blob("m", f"{key}-data", 1)
            index.put(key, Draft(extents=(Extent(blob, 0, 1),)))
            shared = Blob("m", f"{key}-shared", 1)
            index.put(f"shared/{step % 10}", Draft(extents=(Extent(shared, 0, 1),)))
            os.write(1, f"{key}\n".encode())

    workers = [threading.Thread(target=work, args=(thread,)) for thread in range(int(threads))]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    store.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
