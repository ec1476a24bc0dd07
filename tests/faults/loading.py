"""Write load on a real server by many clients, and what must hold of it across an operation."""

from __future__ import annotations

import hashlib
import http.client
import itertools
import random
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from tests.host.serving import Client, path_of, wait_until

DIGEST_BYTES = 32
SIZES = [0, 1, 4096, 70_000]
SHARED = "shared"
SHARED_KEYS = 5
LONG_S = 300.0


def payload(rng: random.Random) -> bytes:
    """Return a value that tells by itself whether it is whole."""
    body = rng.randbytes(rng.choice(SIZES))
    return hashlib.sha256(body).digest() + body


def is_whole(data: bytes) -> bool:
    return hashlib.sha256(data[DIGEST_BYTES:]).digest() == data[:DIGEST_BYTES]


@dataclass(frozen=True)
class Put:
    """A put that was acknowledged: when it was begun and answered, on one clock."""

    key: str
    digest: str
    begun_at: float
    answered_at: float


class Load:
    """Clients that put objects until they are stopped: new ones, and ones that they share.

    Args:
        make_client: returns a client of its own for each thread.
        bucket: where to; may be changed at any time.
        prefix: of all keys.
    """

    def __init__(
        self, make_client: Callable[[], Client], bucket: str, *, count: int, prefix: str = ""
    ) -> None:
        self.bucket = bucket
        self._prefix = prefix
        self.acknowledged: list[Put] = []
        self.statuses: set[int] = set()
        self.errors: list[str] = []
        self._make_client = make_client
        self._stop = threading.Event()
        self._serial = itertools.count()
        self._threads = [threading.Thread(target=self._run, args=(n,)) for n in range(count)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(LONG_S)
        assert self.errors == []

    def wait_for(self, count: int) -> None:
        """Return when *count* more puts, begun after this call, were acknowledged."""
        now = time.monotonic()

        def have_come() -> bool:
            assert self.errors == []
            return sum(put.begun_at > now for put in list(self.acknowledged)) >= count

        wait_until(have_come, LONG_S)

    def unique(self) -> list[Put]:
        """Return the puts whose keys nobody else has put."""
        return [put for put in self.acknowledged if SHARED not in put.key]

    def _run(self, number: int) -> None:
        rng = random.Random(number)
        client = self._make_client()
        while not self._stop.is_set():
            is_shared = rng.random() < 0.3
            serial = rng.randrange(SHARED_KEYS) if is_shared else next(self._serial)
            key = f"{self._prefix}{SHARED if is_shared else 'own'}-{serial}"
            data = payload(rng)
            begun_at = time.monotonic()
            try:
                answer = client.put(path_of(self.bucket, key), data)
            except OSError:  # the connection was closed with an answer that said so
                client.close()
                continue
            self.statuses.add(answer.status)
            if answer.status in (201, 204):
                digest = hashlib.sha256(data).hexdigest()
                self.acknowledged.append(Put(key, digest, begun_at, time.monotonic()))
            elif answer.status not in (404, 503):
                self.errors.append(f"{answer.status} {answer.body!r}")
            else:
                time.sleep(0.02)


BLOCK_BYTES = 64 * 1024
SWALLOWED_BYTES = 12 * 1024 * 1024
"""More than the kernel keeps for a connection: when it is sent, the server has begun to read."""


class SlowPut:
    """An upload that is under way until ``finish``; for operations that must not wait for it.

    Attributes:
        status: of the answer; None when the connection was cut.
    """

    def __init__(self, client: Client, bucket: str, key: str) -> None:
        self.status: int | None = None
        self._client = client
        self._path = path_of(bucket, key)
        self._has_begun, self._go_on = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        assert self._has_begun.wait(LONG_S)

    def check_refused(self) -> None:
        """Send the rest; it must have been refused, or cut off."""
        self._go_on.set()
        self._thread.join(LONG_S)
        assert self.status in (None, 503), f"an upload across it was answered with {self.status}"

    def _run(self) -> None:
        try:
            self.status = self._client.request("PUT", self._path, self._body()).status
        except (OSError, http.client.HTTPException):
            self._client.close()

    def _body(self) -> Iterator[bytes]:
        for _ in range(SWALLOWED_BYTES // BLOCK_BYTES):
            yield b"x" * BLOCK_BYTES
        self._has_begun.set()
        self._go_on.wait(LONG_S)
        yield b"y" * 70_000


def read_all(client: Client, bucket: str, snapshot: str | None = None) -> dict[str, str]:
    """Return the digests of all objects by key, as they are or as of a snapshot; all are whole."""
    query = "" if snapshot is None else f"&snapshot={quote(snapshot)}"
    found = {}
    for key in _keys(client, bucket, query):
        answer = client.get(
            f"{path_of(bucket, key)}?{query[1:]}" if query else path_of(bucket, key)
        )
        assert answer.status == 200, f"{key} is listed and answers {answer.status} {answer.body!r}"
        assert is_whole(answer.body), f"{key} is not whole"
        found[key] = hashlib.sha256(answer.body).hexdigest()
    return found


def _keys(client: Client, bucket: str, query: str) -> Iterator[str]:
    after: str | None = ""
    while after is not None:
        address = f"{path_of(bucket, is_container=True)}?after={quote(after)}{query}"
        answer = client.get(address)
        assert answer.status == 200, answer.body
        page = answer.json()
        yield from (child["name"] for child in page["children"])
        after = page["next"]


@dataclass
class Span:
    """When an operation ran, on the clock of the puts."""

    begun_at: float = 0.0
    ended_at: float = 0.0


@contextmanager
def timed() -> Iterator[Span]:
    """Give the span of the block."""
    span = Span(begun_at=time.monotonic())
    yield span
    span.ended_at = time.monotonic()


def check_cut(load: Load, span: Span, before: dict[str, str], after: dict[str, str]) -> None:
    """Check a bucket whose state was replaced by *before* during the span, under load.

    What was acknowledged before it is gone, what was begun after it is there, and nothing that
    was begun before and acknowledged after it exists.
    """
    across = [
        p for p in load.acknowledged if p.begun_at < span.begun_at < span.ended_at < p.answered_at
    ]
    assert across == [], "acknowledged across the operation"
    for put in load.unique():
        if put.answered_at < span.begun_at:
            assert after.get(put.key) == before.get(put.key), f"{put.key} came before the operation"
        elif put.begun_at > span.ended_at:
            assert after.get(put.key) == put.digest, f"{put.key} was acknowledged and is lost"
        else:
            assert after.get(put.key) in (None, put.digest)
    own = {put.key: put.digest for put in load.unique()}
    for key, digest in before.items():
        if SHARED not in key:
            assert after[key] == digest
    assert {k for k in after if SHARED not in k} <= set(own) | set(before)


def check_index(state_dir: Path) -> None:
    """Check an index that nobody has open."""
    connection = sqlite3.connect(state_dir / "index.db")
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.close()
