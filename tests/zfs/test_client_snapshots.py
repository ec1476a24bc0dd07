"""The client's calls about snapshots, clones, holds and bookmarks, on a real pool."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from modules.errors import (
    AlreadyExists,
    Busy,
    HasDependents,
    InvalidArgument,
    NotFound,
    SnapshotExists,
    SnapshotNotFound,
)
from modules.volumes import DestroyPlan
from tests.zfs.client import exists, new, path, tree
from tests.zfs.datasets import value, zfs
from zfsstore.zfs.client import ZfsClient

pytestmark = pytest.mark.zfs
CLIENT = ZfsClient()


@pytest.fixture(scope="module")
def root(pool: str) -> Iterator[str]:
    with tree(pool) as name:
        yield name


def test_many_snapshots_are_one_moment(root: str) -> None:
    one, two = new(root), new(root)
    CLIENT.snapshot([f"{one}@1", f"{two}@2"], {"a:b": "c"})
    assert value(f"{one}@1", "createtxg") == value(f"{two}@2", "createtxg")
    assert value(f"{two}@2", "a:b") == "c"
    CLIENT.snapshot([f"{one}@all"], recursive=True)
    assert [s.name for s in CLIENT.list_snapshots(one)] == [f"{one}@1", f"{one}@all"]


def test_all_snapshots_or_none(root: str) -> None:
    one, two = new(root), new(root)
    zfs("snapshot", f"{one}@1")
    with pytest.raises(SnapshotExists):
        CLIENT.snapshot([f"{two}@1", f"{one}@1"])
    with pytest.raises(NotFound):
        CLIENT.snapshot([f"{two}@1", f"{root}/absent@1"])
    with pytest.raises(InvalidArgument):
        CLIENT.snapshot([f"{two}@1", f"{two}@2"])
    assert CLIENT.list_snapshots(two) == []


def test_clone_and_promote(root: str) -> None:
    one = new(root)
    (path(one) / "file").write_text("old")
    zfs("snapshot", f"{one}@1")
    (path(one) / "file").write_text("new")
    fork = f"{root}/made/fork"
    CLIENT.clone(f"{one}@1", fork, {"a:b": "c"}, parents=True)
    assert (path(fork) / "file").read_text() == "old"
    assert (value(fork, "origin"), value(fork, "a:b")) == (f"{one}@1", "c")
    with pytest.raises(AlreadyExists):
        CLIENT.clone(f"{one}@1", fork)
    with pytest.raises(SnapshotNotFound):
        CLIENT.clone(f"{one}@absent", f"{root}/x")
    with pytest.raises(NotFound):
        CLIENT.clone(f"{one}@1", f"{root}/absent/x")
    with pytest.raises(HasDependents):
        CLIENT.destroy_snapshots(one, ["1"])
    with pytest.raises(InvalidArgument):
        CLIENT.promote(one)
    zfs("snapshot", f"{fork}@1")
    with pytest.raises(AlreadyExists, match="conflicting"):
        CLIENT.promote(fork)
    CLIENT.destroy_snapshots(fork, ["1"])
    CLIENT.promote(fork)
    assert (value(fork, "origin"), value(one, "origin")) == ("-", f"{fork}@1")


def test_rollback(root: str) -> None:
    one = new(root)
    (path(one) / "file").write_text("old")
    zfs("snapshot", f"{one}@1")
    (path(one) / "file").write_text("new")
    CLIENT.rollback(f"{one}@1")
    assert (path(one) / "file").read_text() == "old"
    zfs("snapshot", f"{one}@2")
    zfs("clone", f"{one}@2", f"{one}-fork")
    with pytest.raises(HasDependents):
        CLIENT.rollback(f"{one}@1")
    with pytest.raises(HasDependents):
        CLIENT.rollback(f"{one}@1", destroy_newer=True)
    with pytest.raises(SnapshotNotFound):
        CLIENT.rollback(f"{one}@absent")
    CLIENT.rollback(f"{one}@1", destroy_clones=True)
    assert not exists(f"{one}-fork")
    zfs("snapshot", f"{one}@3")
    CLIENT.rollback(f"{one}@1", destroy_newer=True)
    assert [s.name for s in CLIENT.list_snapshots(one)] == [f"{one}@1"]


def test_rename_snapshots(root: str) -> None:
    one = new(root)
    kid = new(one)
    zfs("snapshot", "-r", f"{one}@1")
    CLIENT.rename_snapshot(f"{one}@1", "-two 2", recursive=True)
    assert exists(f"{kid}@-two 2")
    zfs("snapshot", f"{one}@3")
    with pytest.raises(AlreadyExists):
        CLIENT.rename_snapshot(f"{one}@3", "-two 2")
    with pytest.raises(SnapshotNotFound):
        CLIENT.rename_snapshot(f"{one}@absent", "x")


def test_destroy_many_snapshots(root: str) -> None:
    one = new(root)
    for name in ("1", "2", "3 4"):
        (path(one) / name).write_bytes(b"x" * 10_000)
        zfs("snapshot", f"{one}@{name}")
    plan = CLIENT.plan_destroy_snapshots(one, ["1", "3 4"])
    assert plan.names == (f"{one}@1", f"{one}@3 4")
    CLIENT.destroy_snapshots(one, ["1", "absent", "3 4"])
    assert [s.name for s in CLIENT.list_snapshots(one)] == [f"{one}@2"]
    for call in (CLIENT.destroy_snapshots, CLIENT.plan_destroy_snapshots):
        with pytest.raises(NotFound):
            call(one, ["absent"])
    assert CLIENT.plan_destroy_snapshots(one, []) == DestroyPlan((), 0)


def test_holds(root: str) -> None:
    one, two = new(root), new(root)
    zfs("snapshot", f"{one}@1", f"{two}@1")
    both = [f"{one}@1", f"{two}@1"]
    CLIENT.hold("my tag", both)
    found = CLIENT.holds(both)
    assert [(hold.snapshot, hold.tag) for hold in found] == [(name, "my tag") for name in both]
    assert all(hold.created_at is not None for hold in found)
    with pytest.raises(AlreadyExists):
        CLIENT.hold("my tag", [f"{one}@1"])
    with pytest.raises(SnapshotNotFound):
        CLIENT.hold("x", [f"{one}@absent"])
    with pytest.raises(Busy):
        CLIENT.destroy_snapshots(one, ["1"])
    with pytest.raises(NotFound):
        CLIENT.release("other", [f"{one}@1"])
    CLIENT.destroy_snapshots(one, ["1"], defer=True)
    assert exists(f"{one}@1")
    CLIENT.release("my tag", both)
    assert not exists(f"{one}@1")
    assert CLIENT.holds([f"{two}@1"]) == []
    with pytest.raises(SnapshotNotFound):
        CLIENT.holds([f"{one}@1"])


def test_bookmarks(root: str) -> None:
    one = new(root)
    zfs("snapshot", f"{one}@1")
    CLIENT.bookmark(f"{one}@1", "m")
    CLIENT.bookmark(f"{one}#m", "copy")
    guid = value(f"{one}@1", "guid")
    assert [b.value("guid") for b in CLIENT.list_bookmarks(one, ("guid",))] == [guid, guid]
    with pytest.raises(AlreadyExists):
        CLIENT.bookmark(f"{one}@1", "m")
    with pytest.raises(SnapshotNotFound):
        CLIENT.bookmark(f"{one}@absent", "n")
    with pytest.raises(NotFound):
        CLIENT.bookmark(f"{one}#absent", "n")
    CLIENT.destroy_bookmark(f"{one}#m")
    with pytest.raises(NotFound):
        CLIENT.destroy_bookmark(f"{one}#m")
