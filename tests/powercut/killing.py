"""Rounds of kill -9 on one store: its clients go on where the last round left them."""

from __future__ import annotations

import multiprocessing
import os
import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection

from tools.powercut.clients import Client
from tools.powercut.judge import judge
from tools.powercut.load import parse_ack, report_to, run_clients
from tools.powercut.stores import ServiceStore, Site

# Workers are forked from a process that has imported the store, but opened nothing.
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["tools.powercut.load", "tools.powercut.stores"])


def work(site: Site, clients: list[Client], pipe: Connection) -> None:
    """Be a worker: a service of its own, a thread for each client."""
    with site.service() as service:
        run_clients(lambda: ServiceStore(service), clients, report_to(pipe.fileno()))


class Worker:
    """A process under load, and what it has acknowledged."""

    def __init__(self, site: Site, clients: list[Client]) -> None:
        self.acknowledged: dict[str, int] = {}
        self.errors: list[str] = []
        self._acks = threading.Semaphore(0)
        reader, writer = FORKS.Pipe(duplex=False)
        self._process = FORKS.Process(target=work, args=(site, clients, writer), daemon=True)
        self._process.start()
        writer.close()
        self._reader = threading.Thread(target=self._read, args=(reader,))
        self._reader.start()

    def wait_for(self, acks: int, *, timeout_s: float = 120) -> None:
        for _ in range(acks):
            assert self._acks.acquire(timeout=timeout_s), f"no progress: {self.errors}"

    def kill(self) -> None:
        self._process.kill()
        self._process.join()
        self._reader.join()

    def _read(self, reader: Connection) -> None:
        with open(os.dup(reader.fileno())) as lines:
            for line in lines:
                if ack := parse_ack(line):
                    self.acknowledged[ack[0]] = ack[1]
                    self._acks.release()
                elif line.startswith("error"):
                    self.errors.append(line)
        reader.close()


@contextmanager
def working(site: Site, *parts: list[Client]) -> Iterator[list[Worker]]:
    """Give a worker for each part of the clients; whatever happens, they are killed."""
    workers = [Worker(site, part) for part in parts]
    try:
        yield workers
    finally:
        for worker in workers:
            worker.kill()


def run_rounds(site: Site, *, rounds: int, workers: int, seed: str) -> None:
    """Create a store; then load, kill at random moments and judge, *rounds* times.

    Args:
        workers: processes at once; one is killed after the other.
    """
    print(f"seed {seed}")
    site.create()
    rng = random.Random(seed)
    clients = {name: Client(seed, name) for name in ("w0", "w1", "w2", "w3", "buckets")}
    survivors = 0
    for number in range(1, rounds + 1):
        loaded = [c for c in clients.values() if not c.makes_buckets or number % 3 == 0]
        parts = [loaded[n::workers] for n in range(workers)]
        with working(site, *parts) as processes:
            order = rng.sample(processes, len(processes))
            for worker in order:  # what one leaves must not disturb those that go on
                worker.wait_for(rng.randint(1, 12))
                worker.kill()
        acknowledged = {name: n for worker in order for name, n in worker.acknowledged.items()}
        assert [] == [error for worker in order for error in worker.errors]
        verdict = judge(site, list(clients.values()), acknowledged)
        assert ([], 0) == (verdict.problems, verdict.lost), f"round {number}"
        assert verdict.unreferenced <= len(loaded), f"round {number}"
        clients |= verdict.clients
        survivors += verdict.unannounced
    assert sum(client.number for client in clients.values()) >= rounds
