"""The view of a bucket: natural names, by hard links, whatever keys clients think of."""

from __future__ import annotations

import os
import shutil
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from modules.errors import InvalidModuleData, NotSupported, ObjectNotFound
from modules.extensions import Piece, SupportsAdopt, SupportsPublish
from tests.storage.helpers import put
from zfsstore import ZFSStorage
from zfsstore.published_names import object_path

Bucket = dict[str, Any]


@pytest.fixture
def view(volume: Path) -> Path:
    return volume / "files"


def show(store: ZFSStorage, bucket: Bucket, key: str, content: bytes | None = None) -> str:
    """Store and publish an object; its content is its key."""
    module_data = put(store, bucket, key.encode() if content is None else content)
    store.publish(bucket, key, module_data)
    return module_data


def shown(view: Path) -> dict[str, bytes | None]:
    """Return what is in the view: files with contents, empty directories with None."""
    found: dict[str, bytes | None] = {}
    for where, directories, names in os.walk(view):
        here = os.path.relpath(where, view)
        if not directories and not names:
            found[here] = None
        for name in names:
            found[os.path.normpath(f"{here}/{name}")] = Path(where, name).read_bytes()
    return found


def test_the_contracts(store: ZFSStorage) -> None:
    assert isinstance(store, SupportsPublish)
    assert isinstance(store, SupportsAdopt)


def test_a_file_is_the_object_itself_and_cannot_be_written_to(
    store: ZFSStorage, bucket: Bucket, volume: Path, view: Path
) -> None:
    module_data = show(store, bucket, "a/b.txt")
    _, _, object_id = module_data.split(":")
    held = volume / ".zfsstore/objects/main" / object_id[:2] / object_id
    assert (view / "a/b.txt").samefile(held)
    assert 0o100444 == (view / "a/b.txt").stat().st_mode
    assert 0o40755 == (view / "a").stat().st_mode
    store.publish(bucket, "a/b.txt", module_data)
    assert 2 == held.stat().st_nlink
    store.sync_published(bucket, ["a/b.txt", "gone/away", "x"])
    assert [] == [name for name in os.listdir(volume / ".zfsstore") if name.startswith(".tmp")]


def test_replace_and_hide(store: ZFSStorage, bucket: Bucket, view: Path) -> None:
    old = show(store, bucket, "a/b", b"old")
    with open(view / "a/b", "rb") as held:
        show(store, bucket, "a/b", b"new")
        store.delete(bucket, old)
        assert b"old" == held.read()
    assert {"a/b": b"new"} == shown(view)
    for _ in range(2):
        store.publish(bucket, "a/b", None)
    assert {"a": None} == shown(view)
    for _ in range(2):
        store.publish(bucket, "a/", None)
    assert {".": None} == shown(view)


def test_an_object_becomes_a_directory_and_back(
    store: ZFSStorage, bucket: Bucket, view: Path
) -> None:
    module_data = show(store, bucket, "a")
    show(store, bucket, "a/b")
    assert {"a%00object": b"a", "a/b": b"a/b"} == shown(view)
    store.publish(bucket, "a", module_data)
    show(store, bucket, "a/b/c")
    assert {"a%00object": b"a", "a/b%00object": b"a/b", "a/b/c": b"a/b/c"} == shown(view)
    for key in ("a/b/c", "a/b/"):
        store.publish(bucket, key, None)
    assert {"a%00object": b"a", "a/b": b"a/b"} == shown(view)
    store.publish(bucket, "a", None)
    assert {"a/b": b"a/b"} == shown(view)
    store.publish(bucket, "a", module_data)
    store.publish(bucket, "a/", None)  # not empty: it stays
    assert {"a%00object": b"a", "a/b": b"a/b"} == shown(view)
    store.publish(bucket, "a/b", None)
    os.rmdir(view / "a")  # a crash after this step
    store.publish(bucket, "a/", None)
    assert {"a": b"a"} == shown(view)


HOSTILE = [
    *("/", "//", "a/", "a//b", ".", "..", "../../escape", "/etc/passwd", "a/../../b"),
    *(".zfsstore/objects/main/00/x", "line\nfeed", "%00object", "a%00object", "x" * 255),
    *("ü" * 128, "x" * 1024, "a/" * 512, "/" * 1024, "\x01" * 1024, "files", "CON", "a:b"),
]


def test_hostile_keys(store: ZFSStorage, bucket: Bucket, volume: Path, view: Path) -> None:
    show(store, bucket, "other")
    around = (volume.parent, volume, volume / ".zfsstore")
    before = [set(os.listdir(path)) for path in around]
    for key in HOSTILE:
        show(store, bucket, key)
        assert {"other": b"other", "/".join(object_path(key)): key.encode()} == shown(view)
        store.sync_published(bucket, [key])
        store.publish(bucket, key, None)
        assert ["other"] == [name for name, content in shown(view).items() if content is not None]
        for name in set(os.listdir(view)) - {"other"}:
            shutil.rmtree(view / name)
    assert before == [set(os.listdir(path)) for path in around]


def test_containers(store: ZFSStorage, bucket: Bucket, view: Path) -> None:
    store.publish(bucket, "a/b/", "")
    store.publish(bucket, "a/" * 300, "")
    assert {"a/b": None} == shown(view)
    show(store, bucket, "a/b/")  # S3 allows an object of that name
    assert {"a/b/%00empty": b"a/b/"} == shown(view)
    store.publish(bucket, "a/b/", None)
    assert {"a": None} == shown(view)


def test_pieces_are_joined_into_a_copy(store: ZFSStorage, bucket: Bucket, view: Path) -> None:
    one, other = put(store, bucket, b"0123456789"), put(store, bucket, b"abcdef")
    pieces = [Piece(one, 8, 2), Piece(other, 0, 6), Piece(one, 0, 1)]
    for _ in range(2):
        store.publish_pieces(bucket, "a/joined", pieces)
    store.publish_pieces(bucket, "empty", [])
    assert {"a/joined": b"89abcdef0", "empty": b""} == shown(view)
    assert 0o100444 == (view / "a/joined").stat().st_mode


def test_what_does_not_exist_changes_nothing(store: ZFSStorage, bucket: Bucket, view: Path) -> None:
    module_data = show(store, bucket, "a")
    gone = f"z1:main:{'0' * 32}"
    with pytest.raises(ObjectNotFound):
        store.publish(bucket, "a", gone)
    with pytest.raises(ObjectNotFound):
        store.publish_pieces(bucket, "a", [Piece(module_data, 0, 1), Piece(gone, 0, 1)])
    with pytest.raises(InvalidModuleData):
        store.publish(bucket, "a", "../../../etc/passwd")
    assert {"a": b"a"} == shown(view)


def test_what_a_hand_put_in_the_way_is_replaced_and_not_followed(
    store: ZFSStorage, bucket: Bucket, view: Path, tmp_path: Path
) -> None:
    show(store, bucket, "a")
    outside = tmp_path / "outside"
    outside.mkdir()
    (view / "link").symlink_to(outside)
    (view / "file").symlink_to("/etc/passwd")
    show(store, bucket, "link/x")
    show(store, bucket, "file")
    store.publish(bucket, "link/y", None)
    assert [] == os.listdir(outside)
    assert {"a": b"a", "link/x": b"link/x", "file": b"file"} == shown(view)
    assert not (view / "file").is_symlink()


@pytest.mark.slow
def test_too_many_links_become_copies(
    store: ZFSStorage, bucket: Bucket, volume: Path, view: Path, tmp_path: Path
) -> None:
    module_data = put(store, bucket, b"popular")
    _, _, object_id = module_data.split(":")
    held = volume / ".zfsstore/objects/main" / object_id[:2] / object_id
    links = tmp_path / "links"
    links.mkdir()
    is_full = False
    try:
        for number in range(70_000):
            os.link(held, links / str(number))
    except OSError:
        is_full = True  # on ext4 with 65,000; others take more than a test should make
    store.publish(bucket, "a", module_data)
    shutil.rmtree(links)
    assert {"a": b"popular"} == shown(view)
    assert is_full != (view / "a").samefile(held)
    assert held.stat().st_mtime_ns == (view / "a").stat().st_mtime_ns


def test_only_a_bucket_has_a_view(store: ZFSStorage, bucket: Bucket) -> None:
    module_data = put(store, bucket, b"x")
    for context in ({"tenant": "acme"}, {}):
        with pytest.raises(NotSupported, match="only a bucket"):
            store.publish(context, "a", module_data)


def test_a_sweep_is_not_confused(store: ZFSStorage, bucket: Bucket, view: Path) -> None:
    kept, lost = show(store, bucket, "kept"), show(store, bucket, "lost")
    report = store.sweep(bucket, [kept], older_than=timedelta(0), dry_run=False)
    assert (lost,) == report.unreferenced
    assert {"kept": b"kept", "lost": b"lost"} == shown(view)
    store.publish(bucket, "lost", None)
    assert {"kept": b"kept"} == shown(view)


def test_unpublish(store: ZFSStorage, bucket: Bucket, view: Path) -> None:
    module_data = show(store, bucket, "a/b")
    for _ in range(2):
        store.unpublish(bucket)
    assert not view.exists()
    assert store.available(bucket, module_data)
    store.publish(bucket, "a/b", module_data)
    assert {"a/b": b"a/b"} == shown(view)
