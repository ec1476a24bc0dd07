"""Operators' operations on a bucket while clients write to it: the same on every backend."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from tests.faults.loading import Load, SlowPut, Span, check_cut, check_index, read_all, timed
from tests.host.serving import Client, Server, path_of
from zfsstore.host.catalog import Tenant
from zfsstore.host.config import Config
from zfsstore.host.services import Services, open_services


@dataclass
class LoadedSite:
    """A running server, and what an operator's command works with beside it.

    Attributes:
        services: in this process, which serves nothing.
        make_client: returns a client of the tenant's user.
        count: how many puts make a load worth its name.
        clients: how many put at once.
    """

    server: Server
    services: Services
    make_client: Callable[[], Client]
    tenant: Tenant
    count: int = 10
    clients: int = 6

    @property
    def backend(self) -> Any:
        """The volumes of the tenant's module."""
        return self.services.registry.get(self.tenant.policy).volumes  # type: ignore[attr-defined]

    def name(self, bucket: str) -> str:
        return f"{self.tenant.name}/{bucket}"

    def create(self, bucket: str) -> Client:
        """Make a bucket; return a client."""
        client = self.make_client()
        assert client.put(path_of(bucket, is_container=True)).status == 201
        return client

    def load(self, bucket: str) -> Load:
        return Load(self.make_client, bucket, count=self.clients)


def roll_back(site: LoadedSite, bucket: str) -> None:
    """Nothing that was acknowledged after the rollback is lost, nothing before it survives."""
    client = site.create(bucket)
    with site.load(bucket) as load:
        for name in ("monday", "tuesday"):
            load.wait_for(site.count)
            site.services.volumes.create_snapshot(site.name(bucket), name)
            before = read_all(client, bucket, name)
            assert before
            load.wait_for(site.count)
            across = SlowPut(site.make_client(), bucket, "across")
            with timed() as span:
                site.services.volumes.rollback(site.name(bucket), name)
            across.check_refused()
            load.wait_for(site.count)
    after = read_all(client, bucket)
    assert "across" not in after
    check_cut(load, span, before, after)


def rename(site: LoadedSite, bucket: str) -> None:
    """Nothing is lost when a bucket gets another name, and its own again."""
    client = site.create(bucket)
    volumes, other = site.services.volumes, f"{bucket} renamed"
    with site.load(bucket) as load:
        load.wait_for(site.count)
        across = SlowPut(site.make_client(), bucket, "across")
        volumes.rename(site.name(bucket), site.name(other))
        across.check_refused()
        load.bucket = other
        load.wait_for(site.count)
        volumes.rename(site.name(other), site.name(bucket))
        load.bucket = bucket
        load.wait_for(site.count)
    after = read_all(client, bucket)
    assert "across" not in after
    for put in load.unique():
        assert after[put.key] == put.digest, f"{put.key} was acknowledged and is lost"
    assert client.get(path_of(other, is_container=True)).status == 404


def receive(site: LoadedSite, bucket: str) -> None:
    """A bucket that clients write to is brought to a newer state of its origin."""
    client = site.create(bucket)
    copy, name = f"{bucket} copy", site.name(bucket)
    with site.load(bucket) as origin:
        origin.wait_for(site.count)
        site.services.volumes.create_snapshot(name, "one")
        with site.backend.send_stream(name, "one") as stream:
            site.backend.receive_stream(site.name(copy), stream, read_only=False)
        origin.wait_for(site.count)
        site.services.volumes.create_snapshot(name, "two")
    expected = read_all(client, bucket, "two")
    assert read_all(client, copy) == read_all(client, bucket, "one")
    with Load(site.make_client, copy, count=site.clients, prefix="later") as load:
        load.wait_for(site.count)
        across = SlowPut(site.make_client(), copy, "across")
        with site.backend.send_stream(name, "two", "one") as stream, timed() as span:
            site.backend.receive_stream(site.name(copy), stream, rollback=True)
        across.check_refused()
        load.wait_for(site.count)
    after = read_all(client, copy)
    assert "across" not in after
    check_cut(load, span, expected, after)
    assert read_all(client, copy, "two") == expected


def snapshots_in_a_loop(
    site: LoadedSite, bucket: str, take: Callable[[str, str], None], *, rounds: int
) -> None:
    """Each shows all that was acknowledged before it, nothing begun after it, and is whole.

    Args:
        take: makes a snapshot, given the volume's name and its own.
    """
    client = site.create(bucket)
    spans: list[Span] = []
    with site.load(bucket) as load:
        load.wait_for(site.count)
        for number in range(rounds):
            with timed() as span:
                take(site.name(bucket), f"s{number}")
            spans.append(span)
            load.wait_for(1)
    for number, span in enumerate(spans):  # read here: where processors are few, writers outrun it
        found = read_all(client, bucket, f"s{number}")
        for put in load.unique():
            if put.answered_at < span.begun_at:
                assert found[put.key] == put.digest, f"{put.key} is not in the snapshot"
            elif put.begun_at > span.ended_at:
                assert put.key not in found


def replicate(site: LoadedSite, bucket: str) -> None:
    """A replica is served from its newest snapshot while its origin is written to."""
    client = site.create(bucket)
    name, replica = site.name(bucket), f"{bucket} replica"
    base: str | None = None
    served: dict[str, dict[str, str]] = {}
    with site.load(bucket) as load:
        for snapshot in ("one", "two"):
            load.wait_for(site.count)
            site.services.volumes.create_snapshot(name, snapshot)
            with site.backend.send_stream(name, snapshot, base) as stream:
                site.backend.receive_stream(site.name(replica), stream)
            newest = site.services.volumes.list_snapshots(site.name(replica))[-1].name
            assert newest == snapshot
            served[snapshot] = read_all(client, replica)
            check_read_only(client, replica, next(iter(served[snapshot])))
            base = snapshot
    for snapshot, found in served.items():
        assert read_all(client, bucket, snapshot) == found
        assert read_all(client, replica, snapshot) == found
    site.backend.break_off_volume(site.services.volumes.get_volume(site.name(replica))["uuid"])
    assert client.put(path_of(replica, "own"), b"").status == 201


def check_read_only(client: Client, bucket: str, key: str) -> None:
    """Nothing a client does changes a replica: the next stream would not fit it any more."""
    for answer in (
        client.put(path_of(bucket, "own"), b"data"),
        client.delete(path_of(bucket, key)),
        client.put(path_of(bucket, "container", is_container=True)),
        client.delete(path_of(bucket, is_container=True)),
    ):
        assert (answer.status, answer.error["code"]) == (409, "conflict")


def check_at_rest(site: LoadedSite) -> None:
    """Check, with the server stopped, all indexes, and that each key has its data."""
    with open_services(Config(data_dir=site.server.data_dir)) as services:
        for bucket in services.objects.list_buckets(site.tenant).buckets:
            volume = services.volumes.get_volume(site.name(bucket.name))
            if volume["vol_type"] == "dp":
                continue
            report = services.objects.sweep(site.tenant, bucket.name, older_than=timedelta(0))
            assert report.missing == ()
        paths = [
            site.backend.access_handle(volume["uuid"])["path"]
            for volume in services.volumes.list_volumes(site.tenant.name)
            if "/" in volume["name"] and volume["vol_type"] == "rw"
        ]
    assert paths
    for path in paths:
        check_index(Path(path, ".zfsstore/state"))
