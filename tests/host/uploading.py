"""Uploads by many threads across crashes, and the check of what must be there afterwards."""

from __future__ import annotations

import hashlib
import random
import threading
from collections.abc import Callable

from tests.host.serving import Client, path_of


class Uploaders:
    """Threads that put objects with known content and note what was acknowledged.

    Args:
        make_client: returns a client of its own for each thread, and another after a crash.
    """

    def __init__(self, make_client: Callable[[], Client], bucket: str, *, count: int) -> None:
        self.acknowledged: dict[str, str] = {}
        self.attempted: dict[str, str] = {}
        self._make_client = make_client
        self._bucket = bucket
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(n,)) for n in range(count)]

    def __enter__(self) -> Uploaders:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(60)

    def _run(self, number: int) -> None:
        rng = random.Random(number)
        client = self._make_client()
        serial = 0
        while not self._stop.is_set():
            serial += 1
            key = f"{number}-{serial}"
            data = rng.randbytes(rng.choice([1, 4096, 70_000, 700_000]))
            self.attempted[key] = hashlib.sha256(data).hexdigest()
            try:
                answer = client.put(path_of(self._bucket, key), data)
            except Exception:  # the server was killed under this request
                client = self._make_client()
                continue
            if answer.status in (201, 204):
                self.acknowledged[key] = self.attempted[key]


def read_all(client: Client, bucket: str, uploads: Uploaders) -> None:
    """Check that all that was acknowledged is there, and all that is there is whole."""
    for key, digest in uploads.acknowledged.items():
        answer = client.get(path_of(bucket, key))
        assert answer.status == 200, f"{key} was acknowledged and is lost"
        assert hashlib.sha256(answer.body).hexdigest() == digest
    for key in set(uploads.attempted) - set(uploads.acknowledged):
        answer = client.get(path_of(bucket, key))
        assert answer.status in (200, 404)
        if answer.status == 200:  # stored, but the answer did not arrive
            assert hashlib.sha256(answer.body).hexdigest() == uploads.attempted[key]
