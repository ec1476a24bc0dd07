"""After a crash: what is there, and may it be?"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, Self

from modules.errors import StorageError
from tools.powercut.clients import Action, Client, State
from tools.powercut.stores import (
    BUCKET,
    TENANT,
    ServiceStore,
    Site,
    finish_bucket,
    index_file,
    parse_type,
)
from zfsstore import ZFSStorage
from zfsstore.host.namespace.records import Version
from zfsstore.host.objects import ObjectService

_AHEAD: Final = 1000
_PROBE: Final = "probe"
_SHOWN: Final = 20
_COUNTS: Final = (
    (
        "the bucket's row counts other keys than there are",
        "SELECT sum(key_count) != (SELECT count(*) FROM version WHERE place = 0) FROM bucket",
    ),
    (
        "blobs whose references are counted wrongly",
        "SELECT count(*) FROM blob WHERE refs != "
        "(SELECT count(*) FROM extent WHERE extent.blob = blob.id)",
    ),
    (
        "pieces of objects without a blob",
        "SELECT count(*) FROM extent WHERE blob NOT IN (SELECT id FROM blob)",
    ),
)


@dataclass(slots=True)
class Verdict:
    """What a store was found to hold after a crash.

    Attributes:
        clients: each at the step that it was found at.
        lost: acknowledged steps that are gone, of all clients.
        unannounced: steps that are there although the acknowledgement did not arrive.
        unreferenced: files that no key needs.
        problems: what must never be, in words.
    """

    clients: dict[str, Client] = field(default_factory=dict)
    lost: int = 0
    unannounced: int = 0
    objects: int = 0
    unreferenced: int = 0
    problems: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        values = asdict(self)
        values["clients"] = [client.to_dict() for client in self.clients.values()]
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        clients = [Client.from_dict(client) for client in values["clients"]]
        return cls(**{**values, "clients": {client.name: client for client in clients}})


def judge(site: Site, clients: Sequence[Client], acknowledged: Mapping[str, int]) -> Verdict:
    """Compare a store with what its clients did, and use it once more.

    Args:
        clients: as they were before the load, which is the last state that was seen.
        acknowledged: the last acknowledged step of each client that had any.
    """
    verdict = Verdict()
    try:
        storage = site.storage()
        with site.service(storage) as service:
            _sweep(service, verdict)
            found = _observe(service, clients, verdict)
            for client in clients:
                _place(client, acknowledged.get(client.name, 0), found[client.name], verdict)
            _use(service, verdict)
            for client in verdict.clients.values():
                _finish_next(service, client)
        for bucket in _bucket_names(site, storage):
            verdict.problems += check_database(index_file(storage, bucket))
    except (StorageError, RuntimeError, sqlite3.Error) as error:
        verdict.problems.append(f"{type(error).__name__}: {error}")
    return verdict


def check_database(path: Path) -> list[str]:
    """Return what SQLite, or our own counts, find wrong with a database."""
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute("PRAGMA integrity_check").fetchall()
        found = [] if rows == [("ok",)] else [f"{path}: {row[0]}" for row in rows]
        if path.name == "index.db":
            for meaning, query in _COUNTS:
                (count,) = connection.execute(query).fetchone()
                found += [f"{path}: {meaning}: {count}"] if count else []
    return found


def _sweep(service: ObjectService, verdict: Verdict) -> None:
    """A sweep must miss nothing; then it runs for real, before anything is read."""
    for dry_run in (True, False):
        report = service.sweep(TENANT, BUCKET, older_than=timedelta(0), dry_run=dry_run)
        verdict.problems += [f"its data is missing: {data}" for data in report.missing]
        if dry_run:
            verdict.unreferenced = len(report.unreferenced) + report.too_young
    report = service.sweep(TENANT, BUCKET, older_than=timedelta(0))
    if report.unreferenced:
        verdict.problems.append(f"a sweep left {report.unreferenced[:_SHOWN]}")


def _observe(
    service: ObjectService, clients: Sequence[Client], verdict: Verdict
) -> dict[str, State]:
    """Read everything; return what belongs to each client."""
    found: dict[str, State] = {client.name: {} for client in clients}
    by_name = {client.name: client for client in clients}
    for version in _versions(service):
        owner = by_name.get(version.key.partition("/")[0])
        if owner is None:
            verdict.problems.append(f"a key that nobody wrote: {version.key}")
        elif version.is_container:
            found[owner.name][version.key] = 0
        else:
            verdict.objects += 1
            found[owner.name][version.key] = _read(service, owner, version, verdict)
    for bucket in service.list_buckets(TENANT).buckets:
        name = bucket.name.partition("-")[0]
        if bucket.name != BUCKET and name not in found:
            verdict.problems.append(f"a bucket that nobody created: {bucket.name}")
        elif bucket.name != BUCKET and _is_usable(service, bucket.name):
            found[name][bucket.name] = 0
    return found


def _versions(service: ObjectService) -> Iterator[Version]:
    after = None
    while True:
        page = service.list_children(TENANT, BUCKET, delimiter="", after=after)
        yield from page.versions
        if page.next_after is None:
            return
        after = page.next_after


def _is_usable(service: ObjectService, bucket: str) -> bool:
    """Tell whether a listed bucket can be opened; one that was cut off in its creation cannot."""
    try:
        service.get_bucket(TENANT, bucket)
    except StorageError:
        return False
    return True


def _read(service: ObjectService, owner: Client, version: Version, verdict: Verdict) -> int:
    """Return which step's object this is, -1 when it is not whole."""
    _, stream = service.open_object(TENANT, BUCKET, version.key)
    with stream:
        content = stream.read()
    number = parse_type(version.content_type)
    if number is not None and content == owner.content(number):
        return number
    verdict.problems.append(
        f"{version.key}: {len(content)} bytes that are not those of step {number}"
        f" (the index says {version.size_bytes} bytes)"
    )
    return -1


def _place(client: Client, acknowledged: int, found: State, verdict: Verdict) -> None:
    """Find the step after which the client's state is what was found."""
    replayed = client.copy()
    acknowledged = max(acknowledged, client.number)
    lower = expected = None
    while replayed.number <= acknowledged + _AHEAD:
        if _comparable(replayed.state) == _comparable(found):
            if replayed.number >= acknowledged:
                verdict.unannounced += replayed.number - acknowledged
                verdict.clients[client.name] = replayed
                return
            lower = replayed.copy()
        if replayed.number == acknowledged:
            expected = dict(replayed.state)
        replayed.done(replayed.next_step())
    if lower is not None:
        verdict.lost += acknowledged - lower.number
        verdict.clients[client.name] = lower
        return
    verdict.problems.append(
        f"{client.name}: no step gives what is there; after step {acknowledged} there should be "
        f"{_difference(expected or {}, found)}"
    )


def _comparable(state: State) -> State:
    """Containers and buckets do not tell which step made them."""
    return {key: 0 if "/" not in key or key.endswith("/") else n for key, n in state.items()}


def _difference(expected: State, found: State) -> str:
    wanted, there = _comparable(expected), _comparable(found)
    keys = sorted(key for key in {*wanted, *there} if wanted.get(key) != there.get(key))
    return ", ".join(f"{k}: {wanted.get(k)}, not {there.get(k)}" for k in keys[:_SHOWN])


def _use(service: ObjectService, verdict: Verdict) -> None:
    """Store, read and delete one object."""
    store = ServiceStore(service)
    store.put(_PROBE, b"after the crash", 0)
    _, stream = service.open_object(TENANT, BUCKET, _PROBE)
    with stream:
        if stream.read() != b"after the crash":
            verdict.problems.append("an object stored after the crash reads back as another")
    store.delete(_PROBE)


def _finish_next(service: ObjectService, client: Client) -> None:
    """Create the bucket, if that is what the client's next step is: it may be half there."""
    step = client.next_step()
    if step.action is Action.CREATE_BUCKET:
        finish_bucket(service, step.key)
        client.done(step)


def _bucket_names(site: Site, storage: ZFSStorage) -> list[str]:
    with site.service(storage) as service:
        return [bucket.name for bucket in service.list_buckets(TENANT).buckets]
