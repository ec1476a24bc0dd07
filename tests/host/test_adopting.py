"""An existing tree becomes objects: all of it, or the next run goes on."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from modules.errors import Busy, InvalidArgument, NotFound, NotSupported, QuotaExceeded
from tests.host.objectservice import Site, get, put
from tests.host.viewing import shown
from zfsstore import ZFSStorage
from zfsstore.host.adopting import AdoptReport
from zfsstore.host.adopting_lock import adoption
from zfsstore.host.catalog.records import Tenant

TIME_NS = 1_500_000_000_123_456_789
FILES = {
    "readme.txt": b"hello",
    "a/b/photo.JPG": b"\xff\xd8",
    "a/b/archive.tar.gz": b"gz",
    "a/Ünï": b"",
    "z/odd%00object": b"x",
}


@pytest.fixture(params=["volumes", "shared"])
def tenant(site: Site, request: pytest.FixtureRequest) -> Tenant:
    tenant = site.tenant(request.param)
    site.service.create_bucket(tenant, "photos")
    return tenant


@pytest.fixture
def volumes(site: Site) -> Tenant:
    tenant = site.tenant("volumes")
    site.service.create_bucket(tenant, "photos")
    return tenant


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    top = tmp_path / "tree"
    for name, data in FILES.items():
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_bytes(data)
        os.utime(top / name, ns=(TIME_NS, TIME_NS))
    (top / "empty/inner").mkdir(parents=True)
    return top


def adopt(
    site: Site, tenant: Tenant, tree: Path, **options: bool
) -> tuple[AdoptReport, dict[str, str]]:
    problems: dict[str, str] = {}
    report = site.service.adoption.adopt(
        tenant, "photos", tree, problem=problems.__setitem__, **options
    )
    assert len(problems) == report.problems
    return report, problems


def keys(site: Site, tenant: Tenant) -> list[str]:
    page = site.service.list_children(tenant, "photos", delimiter="", limit=1000)
    return [version.key for version in page.versions]


def test_a_tree_becomes_objects(site: Site, tenant: Tenant, tree: Path) -> None:
    dry, _ = adopt(site, tenant, tree, dry_run=True)
    assert [] == keys(site, tenant)
    report, problems = adopt(site, tenant, tree)
    assert dry == report == AdoptReport(adopted=5, adopted_bytes=10, containers=1)
    assert {} == problems
    assert [*sorted([*FILES, "empty/", "empty/inner/"], key=str.encode)] == keys(site, tenant)
    for key, data in FILES.items():
        assert data == get(site, tenant, key)
        modified = site.service.head_object(tenant, "photos", key).modified_at
        assert TIME_NS // 1000 == modified.timestamp() * 1_000_000
    kinds = [
        site.service.head_object(tenant, "photos", key).content_type
        for key in ("readme.txt", "a/b/photo.JPG", "a/b/archive.tar.gz", "a/Ünï")
    ]
    assert ["text/plain", "image/jpeg", "application/gzip", None] == kinds


def test_the_next_run_takes_what_is_new(site: Site, tenant: Tenant, tree: Path) -> None:
    adopt(site, tenant, tree)
    again, _ = adopt(site, tenant, tree)
    assert AdoptReport(unchanged=5) == again
    (tree / "readme.txt").write_bytes(b"HELLO")
    (tree / "new").write_bytes(b"new")
    put(site, tenant, "a/b/photo.JPG", b"changed by a client")
    report, _ = adopt(site, tenant, tree)
    assert AdoptReport(adopted=2, adopted_bytes=8, unchanged=3, newer=1) == report
    assert b"HELLO" == get(site, tenant, "readme.txt")
    assert b"changed by a client" == get(site, tenant, "a/b/photo.JPG")


def test_what_is_left_out(site: Site, volumes: Tenant, tree: Path) -> None:
    (tree / "link").symlink_to("/etc/passwd")
    (tree / "a/loop").symlink_to(tree)
    os.mkfifo(tree / "fifo")
    (tree / os.fsdecode(b"latin-\xfc")).write_bytes(b"x")
    deep = tree / "/".join(["d" * 200] * 5)
    deep.mkdir(parents=True)
    (deep / ("f" * 40)).write_bytes(b"x")
    own = tree / "store/.zfsstore"
    own.mkdir(parents=True)
    (own / "volume.json").write_bytes(b"{}")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tree / "socket"))
        report, problems = adopt(site, volumes, tree)
    assert 5 == report.adopted
    assert {
        "link": "it is a symbolic link",
        "a/loop": "it is a symbolic link",
        "fifo": "it is a named pipe",
        "socket": "it is a socket",
        "latin-\udcfc": "it is no valid UTF-8",
        "store/.zfsstore": "it belongs to a volume of a store",
        f"{'/'.join(['d' * 200] * 5)}/{'f' * 40}": problems["/".join([*["d" * 200] * 5, "f" * 40])],
    } == problems
    assert not any("store/.zfs" in key or "passwd" in key for key in keys(site, volumes))


def test_names_are_either_objects_or_containers(site: Site, volumes: Tenant, tree: Path) -> None:
    put(site, volumes, "a", b"an object")
    put(site, volumes, "empty", b"an object")
    put(site, volumes, "readme.txt/below", b"x", require_parent=False)
    report, problems = adopt(site, volumes, tree)
    assert {"a/Ünï", "a/b/archive.tar.gz", "a/b/photo.JPG", "empty/inner/", "readme.txt"} == set(
        problems
    )
    assert 1 == report.adopted


def test_the_files_themselves(site: Site, volumes: Tenant, tree: Path) -> None:
    adopt(site, volumes, tree, link=True)
    assert 0o444 == (tree / "readme.txt").stat().st_mode & 0o777
    assert 2 == (tree / "readme.txt").stat().st_nlink
    site.service.publishing.publish(volumes, "photos")
    view = site.volumes_root / volumes.name / "photos/files"
    assert (tree / "readme.txt").samefile(view / "readme.txt")
    assert TIME_NS == (view / "readme.txt").stat().st_mtime_ns


def test_a_module_that_cannot_link(site: Site, tree: Path) -> None:
    tenant = site.tenant("shared")
    site.service.create_bucket(tenant, "photos")
    with pytest.raises(NotSupported, match="--link"):
        adopt(site, tenant, tree, link=True)
    assert 0o644 == (tree / "readme.txt").stat().st_mode & 0o777


def test_no_such_directory(site: Site, volumes: Tenant, tree: Path) -> None:
    with pytest.raises(NotFound):
        adopt(site, volumes, tree / "no")
    with pytest.raises(InvalidArgument, match="no directory"):
        adopt(site, volumes, tree / "readme.txt")


def test_a_quota_ends_it_and_the_next_run_goes_on(site: Site, tree: Path) -> None:
    module = site.modules["volumes"]
    assert isinstance(module, ZFSStorage)
    tenant = site.tenant("volumes")
    site.service.create_bucket(tenant, "photos", quota_bytes=8)
    with pytest.raises(QuotaExceeded):
        adopt(site, tenant, tree)
    (volume,) = (v for v in module.volumes.list_volumes() if v["name"].endswith("/photos"))
    module.volumes.patch_volume(volume["uuid"], size_bytes=100)
    report, _ = adopt(site, tenant, tree)
    assert report.unchanged > 0
    assert 5 == report.adopted + report.unchanged
    sweep = site.service.sweep(tenant, "photos", older_than=timedelta(0))
    assert ((), ()) == (sweep.unreferenced, sweep.missing)


def test_no_sweep_comes_between(site: Site, volumes: Tenant, tree: Path) -> None:
    adopt(site, volumes, tree)
    with adoption(site.modules["volumes"], {"tenant": f"{volumes.name}/photos"}):
        with pytest.raises(Busy, match="adopted"):
            site.service.sweep(volumes, "photos", older_than=timedelta(days=1), dry_run=False)
        assert 5 == site.service.sweep(volumes, "photos", older_than=timedelta(days=1)).scanned
    report = site.service.sweep(volumes, "photos", older_than=timedelta(days=1), dry_run=False)
    assert (5, ()) == (report.scanned, report.unreferenced)


@pytest.mark.parametrize("batches", [1, 3])
def test_kill_9(site: Site, volumes: Tenant, tmp_path: Path, batches: int) -> None:
    tree = tmp_path / "many"
    expected: dict[str, bytes | None] = {}
    for number in range(60):
        path = tree / str(number % 5) / str(number)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"content %d" % number)
        os.utime(path, ns=(TIME_NS, TIME_NS))
        expected[f"{number % 5}/{number}"] = path.read_bytes()
    argv = [sys.executable, "-m", "tests.host.adopter", str(site.root), str(tree)]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE)
    assert process.stdout is not None
    told = [int(process.stdout.readline()) for _ in range(batches)][-1]
    process.kill()
    process.stdout.close()
    process.wait()
    assert told <= len(keys(site, volumes))
    for key in keys(site, volumes):
        assert expected[key] == get(site, volumes, key)
    report, problems = adopt(site, volumes, tree)
    assert {} == problems
    assert report.unchanged >= told
    assert 60 == report.adopted + report.unchanged
    site.service.publishing.publish(volumes, "photos")
    assert expected == shown(site.volumes_root / volumes.name / "photos/files")
    sweep = site.service.sweep(volumes, "photos", older_than=timedelta(0), dry_run=False)
    assert () == sweep.missing
    assert len(sweep.unreferenced) <= 16
