"""A published bucket: its files follow its keys, whatever happens to whom."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from modules.errors import NotSupported, ObjectNotFound, VolumeNotFound
from tests.host.objectservice import Site, get, put
from tests.host.viewing import expected, shown
from zfsstore.host import publishing_view
from zfsstore.host.catalog.records import Tenant
from zfsstore.host.namespace.journal import ViewState
from zfsstore.host.namespace.records import Blob, Draft, Extent
from zfsstore.host.publishing_mark import hold_mark


@pytest.fixture
def tenant(site: Site) -> Tenant:
    tenant = site.tenant("volumes")
    site.service.create_bucket(tenant, "photos")
    return tenant


@pytest.fixture
def volume(site: Site, tenant: Tenant) -> Path:
    return site.volumes_root / tenant.name / "photos"


@pytest.fixture
def view(volume: Path) -> Path:
    return volume / "files"


def free(site: Site, tenant: Tenant, key: str, data: bytes) -> None:
    """Put as S3 does: keys are no paths."""
    put(site, tenant, key, data, require_parent=False)


def test_a_bucket_that_is_not_published_has_no_files(
    site: Site, tenant: Tenant, view: Path
) -> None:
    free(site, tenant, "a", b"1")
    site.service.publishing.run_once()
    assert site.service.publishing.status(tenant, "photos") is None
    assert not view.exists()


def test_the_files_follow_the_keys(site: Site, tenant: Tenant, view: Path) -> None:
    service, publishing = site.service, site.service.publishing
    free(site, tenant, "before/it.txt", b"1")
    service.create_container(tenant, "photos", "empty/")
    publishing.publish(tenant, "photos")
    assert {"before/it.txt": b"1", "empty": None} == shown(view)

    free(site, tenant, "before/it.txt", b"2")
    free(site, tenant, "a", b"a")
    free(site, tenant, "a/b/c", b"abc")
    free(site, tenant, "a//", b"odd")
    service.create_container(tenant, "photos", "empty/inner/")
    publishing.run_once()
    assert (
        shown(view)
        == expected(site, tenant)
        == {
            "before/it.txt": b"2",
            "a%00object": b"a",
            "a/b/c": b"abc",
            "a/%00empty/%00empty": b"odd",
            "empty/inner": None,
        }
    )

    service.delete_object(tenant, "photos", "a/b/c")
    service.delete_object(tenant, "photos", "a//")
    service.delete_object(tenant, "photos", "before/it.txt")
    service.delete_container(tenant, "photos", "empty/inner/")
    publishing.run_once()
    assert shown(view) == expected(site, tenant) == {"a": b"a", "empty": None}


def test_unpublish_and_rebuild(site: Site, tenant: Tenant, view: Path) -> None:
    publishing = site.service.publishing
    free(site, tenant, "a/b", b"1")
    publishing.publish(tenant, "photos")
    for _ in range(2):
        publishing.unpublish(tenant, "photos")
    free(site, tenant, "c", b"2")
    publishing.run_once()
    assert not view.exists()
    publishing.publish(tenant, "photos")
    shutil.rmtree(view / "a")
    (view / "stray").write_text("by hand")
    publishing.run_once()
    assert {"c": b"2", "stray": b"by hand"} == shown(view)
    counts: list[int] = []
    publishing.publish(tenant, "photos", rebuild=True, progress=counts.append)
    assert {"a/b": b"1", "c": b"2"} == shown(view)
    assert 2 == sum(counts)


def test_an_interrupted_build_goes_on(
    site: Site, tenant: Tenant, view: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publishing_view, "BATCH", 2)
    monkeypatch.setattr("zfsstore.host.publishing.deadline", lambda _: lambda: True)
    for number in range(5):
        free(site, tenant, str(number), b"x")
    publishing = site.service.publishing
    with site.service._opener.open(tenant, "photos") as opened:
        opened.index.journal.start("volumes")
    publishing.run_once(resume=False)
    status = publishing.status(tenant, "photos")
    assert status is not None
    assert (ViewState.BUILDING, "1") == (status.state, status.position)
    assert 2 == len(shown(view))
    free(site, tenant, "0", b"newer")
    site.service.delete_object(tenant, "photos", "4")
    for _ in range(3):
        publishing.run_once(resume=False)
    status = publishing.status(tenant, "photos")
    assert status is not None
    assert ViewState.CURRENT is status.state
    assert {"0": b"newer", "1": b"x", "2": b"x", "3": b"x"} == shown(view)


def test_an_object_of_pieces_is_joined(site: Site, tenant: Tenant, view: Path) -> None:
    module = site.modules["volumes"]
    free(site, tenant, "one", b"0123456789")
    free(site, tenant, "other", b"abc")
    with site.service._opener.open(tenant, "photos") as opened:
        blobs = []
        for key in ("one", "other"):
            version = opened.index.get(key)
            assert version is not None
            with module.get_read_stream(
                {"tenant": opened.path}, version.extents[0].blob.module_data
            ) as s:
                copied = module.put({"tenant": opened.path}, s)
            blobs.append(Blob("volumes", copied, version.size_bytes))
        extents = (Extent(blobs[0], 5, 5), Extent(blobs[1], 0, 3), Extent(blobs[0], 0, 1))
        opened.index.put("joined", Draft(extents=extents))
        opened.index.put("empty", Draft())
    site.service.publishing.publish(tenant, "photos")
    assert {"one": b"0123456789", "other": b"abc", "joined": b"56789abc0", "empty": b""} == shown(
        view
    )


def test_what_cannot_be_shown_holds_nobody_up(
    site: Site, tenant: Tenant, view: Path, volume: Path, caplog: pytest.LogCaptureFixture
) -> None:
    free(site, tenant, "a", b"1")
    site.service.publishing.publish(tenant, "photos")
    free(site, tenant, "a", b"2")
    free(site, tenant, "b", b"3")
    for path in (volume / ".zfsstore/objects/main").rglob("*"):
        if path.is_file() and path.read_bytes() == b"2":
            path.unlink()
    with site.service._opener.open(tenant, "photos") as opened:
        opened.index.put("foreign", Draft(extents=(Extent(Blob("shared", "x", 1), 0, 1),)))
    site.service.publishing.run_once()
    assert {"b": b"3"} == shown(view)
    assert "no file shows key 'a'" in caplog.text
    assert "no file shows key 'foreign'" in caplog.text


def test_files_of_another_index_are_built_anew(
    site: Site, tenant: Tenant, volume: Path, view: Path
) -> None:
    """What a roll-back of a directory leaves: an older index, and newer files or none."""
    publishing = site.service.publishing
    free(site, tenant, "a", b"1")
    publishing.publish(tenant, "photos")
    state = volume / ".zfsstore/state"
    site.service._indexes.close_idle()
    shutil.copy(state / "index.db", site.root / "older.db")
    free(site, tenant, "b", b"2")
    publishing.run_once()
    assert {"a": b"1", "b": b"2"} == shown(view)
    site.service._indexes.close_idle()
    shutil.copy(site.root / "older.db", state / "index.db")
    publishing.run_once()
    assert {"a": b"1"} == shown(view)
    free(site, tenant, "c", b"3")
    publishing.run_once()
    assert {"a": b"1", "c": b"3"} == shown(view)

    (state / "view").unlink()
    shutil.rmtree(view)
    publishing.run_once()
    assert {"a": b"1", "c": b"3"} == shown(view)


def test_one_publisher_at_a_time(site: Site, tenant: Tenant, volume: Path, view: Path) -> None:
    publishing = site.service.publishing
    publishing.publish(tenant, "photos")
    free(site, tenant, "a", b"1")
    with hold_mark(volume / ".zfsstore/state"):
        publishing.run_once()
        assert {} == shown(view)
        publisher = threading.Thread(target=publishing.publish, args=(tenant, "photos"))
        publisher.start()
    publisher.join()
    assert {"a": b"1"} == shown(view)


def test_published_buckets_are_remembered_and_forgotten(
    site: Site, tenant: Tenant, view: Path
) -> None:
    site.service.publishing.publish(tenant, "photos")
    free(site, tenant, "a", b"1")
    site.service.close()
    site.service = site.open_service()
    site.service.publishing.run_once()  # nobody has opened the bucket
    assert {"a": b"1"} == shown(view)
    site.service.delete_object(tenant, "photos", "a")
    site.service.delete_bucket(tenant, "photos")
    site.service.publishing.run_once()
    assert [] == list(site.service.publishing._remembered())
    with pytest.raises(VolumeNotFound):
        site.service.publishing.publish(tenant, "photos")


def test_a_module_without_files(site: Site) -> None:
    tenant = site.tenant("shared")
    site.service.create_bucket(tenant, "photos")
    with pytest.raises(NotSupported, match="shared"):
        site.service.publishing.publish(tenant, "photos")


def test_in_the_background(site: Site, tenant: Tenant, view: Path) -> None:
    site.service.publishing.publish(tenant, "photos")
    site.service.publishing.start()
    free(site, tenant, "a", b"1")
    for _ in range(1000):
        if shown(view):
            break
        threading.Event().wait(0.02)
    assert {"a": b"1"} == shown(view)


@pytest.fixture
def killed_publishers(site: Site) -> Iterator[list[subprocess.Popen[bytes]]]:
    running: list[subprocess.Popen[bytes]] = []
    yield running
    for process in running:
        process.kill()
        process.wait()


@pytest.mark.slow
def test_kill_9_of_publishers(
    site: Site, tenant: Tenant, view: Path, killed_publishers: list[subprocess.Popen[bytes]]
) -> None:
    chance = random.Random(7)
    site.service.publishing.publish(tenant, "photos")
    keys = [f"{a}{b}" for a in ("x", "y", "x/in", "x/in/der") for b in ("", "/1", "/2", "/1/z")]
    for turn in range(4):
        argv = [sys.executable, "-m", "tests.host.publisher", str(site.root)]
        killed_publishers.append(subprocess.Popen(argv, stdout=subprocess.PIPE))
        out = killed_publishers[-1].stdout
        assert out is not None
        assert b"slice\n" == out.readline()
        for step in range(60):
            key = chance.choice(keys)
            try:
                if chance.random() < 0.4:
                    site.service.delete_object(tenant, "photos", key)
                else:
                    free(site, tenant, key, b"%d %d" % (turn, step))
            except ObjectNotFound:
                pass
        killed_publishers[-1].kill()
        out.close()
        killed_publishers[-1].wait()
    site.service.publishing.run_once()
    assert shown(view) == expected(site, tenant)
    report = site.service.sweep(tenant, "photos", older_than=timedelta(0), dry_run=False)
    assert () == report.missing
    assert shown(view) == expected(site, tenant)
    for key in [v.key for v in site.service.list_children(tenant, "photos", delimiter="").versions]:
        assert os.stat(view).st_nlink
        get(site, tenant, key)
