"""A published bucket whose directory is rolled back, cloned, renamed; a server that is killed."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.host.objectservice import Site, put
from tests.host.serving import Server, path_of, wait_until
from tests.host.viewing import shown
from zfsstore.cli.main import main
from zfsstore.host.catalog.records import Tenant


@pytest.fixture
def tenant(site: Site) -> Tenant:
    tenant = site.tenant("volumes")
    site.service.create_bucket(tenant, "photos")
    return tenant


def uuid_of(volumes: Any, name: str) -> str:
    (found,) = (volume for volume in volumes.list_volumes() if volume["name"] == name)
    return str(found["uuid"])


def test_the_files_of_a_directory_are_built_anew(site: Site, tenant: Tenant) -> None:
    volumes: Any = site.modules["volumes"].volumes  # type: ignore[attr-defined]
    top = site.volumes_root / tenant.name
    site.service.publishing.publish(tenant, "photos")
    put(site, tenant, "kept", b"1")
    site.service.publishing.run_once()
    uuid = uuid_of(volumes, f"{tenant.name}/photos")
    snapshot = volumes.create_snapshot(uuid, "monday")["uuid"]
    put(site, tenant, "kept", b"2")
    put(site, tenant, "lost", b"3")
    site.service.publishing.run_once()
    assert {"kept": b"2", "lost": b"3"} == shown(top / "photos/files")
    assert not (top / "photos/.zfsstore/snapshots/monday/files").exists()

    volumes.create_clone(uuid, snapshot, f"{tenant.name}/fork")
    assert "fork" == site.service.get_bucket(tenant, "fork").name
    site.service.publishing.run_once()
    assert {"kept": b"1"} == shown(top / "fork/files")

    volumes.rollback_volume(uuid, snapshot)
    site.service.publishing.run_once()
    assert {"kept": b"1"} == shown(top / "photos/files")
    put(site, tenant, "after", b"4")
    site.service.publishing.run_once()
    assert {"kept": b"1", "after": b"4"} == shown(top / "photos/files")

    volumes.rename_volume(uuid, f"{tenant.name}/renamed")
    assert "renamed" == site.service.get_bucket(tenant, "renamed").name
    site.service.publishing.run_once()
    assert {"kept": b"1", "after": b"4"} == shown(top / "renamed/files")
    remembered = {bucket for _, bucket in site.service.publishing._remembered()}
    assert {"fork", "renamed"} == remembered


@pytest.mark.slow
def test_a_server_that_was_killed_goes_on_by_itself(tmp_path: Path) -> None:
    server = Server(tmp_path / "data", workers=2).start()
    try:
        client = server.client()
        assert 201 == client.put(path_of("b", is_container=True)).status
        argv = ["--data", str(server.data_dir), "bucket", "publish", "administrator/b"]
        assert 0 == main(argv)
        files = server.data_dir / "objects/administrator/b/files"
        assert 201 == client.put(path_of("b", "a b.txt"), b"1").status
        wait_until(lambda: shown(files) == {"a b.txt": b"1"})
        for number in range(20):
            assert 201 == client.put(path_of("b", str(number)), b"x").status
        os.killpg(server.pid, signal.SIGKILL)
    finally:
        server.stop()
    server.start()
    try:
        wait_until(lambda: len(shown(files)) == 21)
    finally:
        assert 0 == server.stop()
