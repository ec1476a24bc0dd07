"""examples/recover.py: a bucket's objects by name, from its directory alone."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.host.objectservice import Site, get, put
from tests.host.viewing import shown
from zfsstore.host.catalog.records import Tenant
from zfsstore.host.namespace.records import Blob, Draft, Extent

SCRIPT = Path(__file__).parents[2] / "examples" / "recover.py"
KEYS = {
    "a": b"an object beside",
    "a/b": b"a directory",
    "a-c": b"sorts between them",
    "docs/Ünï ☃.txt": b"natural",
    "../../../escape": b"hostile",
    "/etc/passwd": b"hostile",
    "x/../../y": b"hostile",
    "./.": b"dots",
    "s3//": b"empty components",
    "line\nfeed": b"control",
    "%2E%00object": b"escaped already",
    "empty": b"",
    "big": os.urandom(3_000_000),
}
FILES = {
    "a%00object": "a",
    "a/b": "a/b",
    "a-c": "a-c",
    "docs/Ünï ☃.txt": "docs/Ünï ☃.txt",
    "%2E./%2E./%2E./escape": "../../../escape",
    "%00empty/etc/passwd": "/etc/passwd",
    "x/%2E./%2E./y": "x/../../y",
    "%2E/%2E": "./.",
    "s3/%00empty/%00empty": "s3//",
    "line%0Afeed": "line\nfeed",
    "%252E%2500object": "%2E%00object",
    "empty": "empty",
    "big": "big",
}


@pytest.fixture
def tenant(site: Site) -> Tenant:
    tenant = site.tenant("volumes")
    site.service.create_bucket(tenant, "photos")
    for key, data in KEYS.items():
        put(site, tenant, key, data, require_parent=False)
    put(site, tenant, "a-c", KEYS["a-c"], require_parent=False)
    put(site, tenant, "gone", b"gone", require_parent=False)
    site.service.delete_object(tenant, "photos", "gone")
    site.service.create_container(tenant, "photos", "folder/")
    site.service.create_container(tenant, "photos", "folder/inner/")
    return tenant


@pytest.fixture
def volume(site: Site, tenant: Tenant) -> Path:
    return site.volumes_root / tenant.name / "photos"


def recover(bucket: Path, target: Path) -> tuple[int, str]:
    """Run the script as somebody does who has nothing of ours."""
    argv = [sys.executable, "-I", "-S", str(SCRIPT), str(bucket), str(target)]
    done = subprocess.run(argv, capture_output=True, text=True, cwd="/", env={}, check=False)
    return done.returncode, done.stdout + done.stderr


def test_a_live_bucket(site: Site, tenant: Tenant, volume: Path, tmp_path: Path) -> None:
    before = sorted(os.listdir(volume / ".zfsstore/state"))
    target = tmp_path / "inner" / "target"
    target.parent.mkdir()
    assert (0, "restored 15 of 15\n") == recover(volume, target)
    assert ["target"] == os.listdir(target.parent)
    expected = {name: KEYS[key] for name, key in FILES.items()}
    assert {**expected, "folder/inner": None} == shown(target)
    assert before == sorted(os.listdir(volume / ".zfsstore/state"))
    modified = site.service.head_object(tenant, "photos", "a/b").modified_at.timestamp()
    assert abs(modified - (target / "a/b").stat().st_mtime) < 0.001
    put(site, tenant, "later", b"the index is not disturbed")
    assert b"the index is not disturbed" == get(site, tenant, "later")


def test_a_copy_without_the_host(site: Site, tenant: Tenant, volume: Path, tmp_path: Path) -> None:
    site.service.close()
    shutil.copytree(volume, tmp_path / "copy")
    shutil.rmtree(volume)
    assert (0, "restored 15 of 15\n") == recover(tmp_path / "copy", tmp_path / "target")
    assert KEYS["big"] == (tmp_path / "target/big").read_bytes()


def test_a_snapshot_of_a_directory(
    site: Site, tenant: Tenant, volume: Path, tmp_path: Path
) -> None:
    module = site.modules["volumes"]
    (found,) = (v for v in module.volumes.list_volumes() if v["name"].endswith("/photos"))
    module.volumes.create_snapshot(found["uuid"], "monday")
    put(site, tenant, "a/b", b"newer", require_parent=False)
    snapshot = volume / ".zfsstore/snapshots/monday"
    assert (0, "restored 15 of 15\n") == recover(snapshot, tmp_path / "target")
    assert KEYS["a/b"] == (tmp_path / "target/a/b").read_bytes()


def test_objects_of_pieces_and_what_is_lost(
    site: Site, tenant: Tenant, volume: Path, tmp_path: Path
) -> None:
    with site.service._opener.open(tenant, "photos") as opened:
        version = opened.index.get("big")
        assert version is not None
        module_data = version.extents[0].blob.module_data
        (other,) = (extent.blob for extent in opened.index.get("a/b").extents)  # type: ignore[union-attr]
        _, _, object_id = other.module_data.split(":")
        objects = volume / ".zfsstore/objects/main"
        shutil.copy(objects / object_id[:2] / object_id, objects / "00" / ("0" * 32))
        copy = Blob("volumes", f"z1:main:{'0' * 32}", other.size_bytes)
        opened.index.put("joined", Draft(extents=(Extent(copy, 2, 9), Extent(copy, 0, 1))))
        opened.index.put("none", Draft())
        wrong = Blob("volumes", "z1:main:../../../../../etc/passwd", 1)
        opened.index.put("wrong", Draft(extents=(Extent(wrong, 0, 1),)))
        opened.index.put("short", Draft(extents=(Extent(Blob(*_of(copy)), 0, 99),)))
    _, _, lost = module_data.split(":")
    (objects / lost[:2] / lost).unlink()
    put(site, tenant, "y" * 300, b"no file system has such names", require_parent=False)
    status, out = recover(volume, tmp_path / "target")
    assert 1 == status
    lines = out.splitlines()
    assert ["'big'", "'short'", "'wrong'", f"'{'y' * 300}'"] == [
        line.split(": ")[1] for line in lines[:-1]
    ]
    assert "restored 16 of 20" == lines[-1]
    assert b"directorya" == (tmp_path / "target/joined").read_bytes()
    assert b"" == (tmp_path / "target/none").read_bytes()
    assert not (tmp_path / "target/short").exists()
    assert not (tmp_path / "target/big").exists()


def _of(blob: Blob) -> tuple[str, str, int]:
    return blob.module, blob.module_data, blob.size_bytes


def test_a_target_that_exists_is_refused(volume: Path, tmp_path: Path) -> None:
    (tmp_path / "target").symlink_to(tmp_path)
    status, out = recover(volume, tmp_path / "target")
    assert 1 == status
    assert out.startswith("nothing restored: ")
    assert "File exists" in out
    status, out = recover(tmp_path, tmp_path / "other")
    assert 1 == status
    assert out.startswith("nothing restored: ")
    assert not (tmp_path / "other").exists()
