"""The client's calls about file systems, on a real pool."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from modules.errors import (
    AlreadyExists,
    Busy,
    Conflict,
    HasDependents,
    InvalidArgument,
    NotFound,
    SnapshotNotFound,
)
from modules.volumes import DestroyPlan
from tests.zfs.client import exists, new, path, tree
from tests.zfs.datasets import value, zfs
from zfsstore.zfs import listing
from zfsstore.zfs.client import ZfsClient
from zfsstore.zfs.delegation import Delegation
from zfsstore.zfs.errors import QuotaBelowUsage
from zfsstore.zfs.listing import Listed
from zfsstore.zfs.runner import LocalRunner

pytestmark = pytest.mark.zfs
CLIENT = ZfsClient()


@pytest.fixture(scope="module")
def root(pool: str) -> Iterator[str]:
    with tree(pool) as name:
        yield name


def test_create(root: str) -> None:
    CLIENT.create(f"{root}/new/kid", {"quota": "33554432", "a:b": "c d=e"}, parents=True)
    assert value(f"{root}/new/kid", "quota") == "33554432"
    assert value(f"{root}/new/kid", "a:b") == "c d=e"
    assert path(f"{root}/new/kid").is_mount()
    with pytest.raises(AlreadyExists):
        CLIENT.create(f"{root}/new")
    with pytest.raises(NotFound):
        CLIENT.create(f"{root}/absent/kid")
    with pytest.raises(InvalidArgument, match="nosuch"):
        CLIENT.create(f"{root}/other", {"nosuch": "1"})
    CLIENT.create(f"{root}/unmounted", mount=False)
    assert value(f"{root}/unmounted", "mounted") == "no"


def test_destroy_and_its_plan(root: str) -> None:
    one = new(root)
    kid = new(one)
    (path(one) / "data").write_bytes(b"x" * 100_000)
    zfs("snapshot", f"{one}@1", f"{kid}@1")
    zfs("clone", f"{kid}@1", f"{root}/clone")
    for call in (CLIENT.destroy, CLIENT.plan_destroy):
        with pytest.raises(HasDependents):
            call(one)
        with pytest.raises(HasDependents):
            call(one, recursive=True)
        with pytest.raises(NotFound):
            call(f"{root}/absent")
    plan = CLIENT.plan_destroy(one, dependents=True)
    assert set(plan.names) == {one, f"{one}@1", kid, f"{kid}@1", f"{root}/clone"}
    assert plan.reclaim_bytes == int(value(one, "used")) + int(value(f"{root}/clone", "used"))
    assert exists(one)
    CLIENT.destroy(one, dependents=True)
    assert not exists(one)
    assert not exists(f"{root}/clone")


def test_a_dataset_in_use_is_busy_and_force_does_not_help_on_linux(root: str) -> None:
    one = new(root)
    calls: list[Callable[[], object]] = [
        lambda: CLIENT.destroy(one),
        lambda: CLIENT.destroy(one, force=True),
        lambda: CLIENT.unmount(one),
        lambda: CLIENT.unmount(one, force=True),
        lambda: CLIENT.rename(one, f"{one}x"),
    ]
    with open(path(one) / "open", "wb"):
        for call in calls:
            with pytest.raises(Busy):
                call()
        assert value(one, "mounted") == "yes"


def test_mount_and_unmount_are_content_when_done_already(root: str) -> None:
    one = new(root)
    for _ in range(2):
        CLIENT.unmount(one)
    assert value(one, "mounted") == "no"
    for _ in range(2):
        CLIENT.mount(one)
    assert value(one, "mounted") == "yes"


def test_lists_are_the_same_as_json_and_as_lines(root: str) -> None:
    one = new(root, "-o", "a:b=x y")
    kid = new(one, "-o", "quota=32M")
    zfs("snapshot", "-o", "a:b=ü", f"{one}@s p")
    zfs("bookmark", f"{one}@s p", f"{one}#m")
    properties = ("type", "quota", "a:b", "guid", "createtxg", "origin")
    types = ("filesystem", "snapshot", "bookmark")
    found = CLIENT.list_datasets([one], properties, types=types, recursive=True)
    assert {entry.name for entry in found} == {one, kid, f"{one}@s p", f"{one}#m"}
    argv = listing.list_argv([one], properties, types=types, recursive=True)
    lines = LocalRunner()(argv)["stdout"]
    assert found == listing.parse_list(lines, properties)
    assert CLIENT.version() >= (2, 3, 0), "or JSON was not tested"
    by_name = {entry.name: entry for entry in found}
    assert by_name[kid].number("quota") == 32 << 20
    assert by_name[f"{one}@s p"].value("a:b") == "ü"
    assert [entry.name for entry in CLIENT.list_datasets([one, kid])] == [one, kid]
    assert CLIENT.list_snapshots(kid) == []
    assert CLIENT.list_bookmarks(one) == [Listed(f"{one}#m", {})]
    assert CLIENT.list_datasets([one], depth=1, sort=("-name",))[0].name == kid
    with pytest.raises(NotFound):
        CLIENT.list_datasets([one, f"{root}/absent"])
    with pytest.raises(InvalidArgument):
        CLIENT.list_datasets([one], ("nosuch",))


def test_properties(root: str) -> None:
    one = new(root)
    kid = new(one)
    CLIENT.set(one, {"a:b": "1", "quota": "64M"})
    here, below = CLIENT.get([one], ("a:b", "quota"), depth=1)
    assert (here.own("a:b"), here.number("quota")) == ("1", 64 << 20)
    assert (below.name, below.own("a:b"), below.value("a:b")) == (kid, None, "1")
    CLIENT.inherit(one, "a:b")
    assert CLIENT.get([one], ("a:b",))[0].value("a:b") is None
    for name, text in (("nosuch", "1"), ("quota", "abc"), ("recordsize", "3"), ("used", "1")):
        with pytest.raises(InvalidArgument):
            CLIENT.set(one, {name: text})
    with pytest.raises(QuotaBelowUsage):
        CLIENT.set(one, {"quota": "1K"})
    with pytest.raises(InvalidArgument):
        CLIENT.inherit(one, "quota")
    zfs("snapshot", f"{one}@1")
    CLIENT.set_on_snapshot(f"{one}@1", {"a:b": "2"})
    assert value(f"{one}@1", "a:b") == "2"
    with pytest.raises(SnapshotNotFound):
        CLIENT.set_on_snapshot(f"{one}@absent", {"a:b": "2"})


def test_rename(root: str) -> None:
    one, other = new(root), new(root)
    (path(one) / "file").write_text("x")
    with pytest.raises(AlreadyExists):
        CLIENT.rename(one, other)
    with pytest.raises(NotFound):
        CLIENT.rename(one, f"{root}/absent/kid")
    CLIENT.rename(one, f"{root}/made/kid", parents=True)
    assert (path(f"{root}/made/kid") / "file").read_text() == "x"


def test_share_without_sharenfs(root: str) -> None:
    one = new(root)
    CLIENT.unshare(one)
    with pytest.raises(InvalidArgument, match="legacy share"):
        CLIENT.share(one)


def test_differences(root: str) -> None:
    one = new(root)
    where = path(one)
    for name in ("gone", "sp ace", "ü\t\\n"):
        (where / name).write_text("x")
    zfs("snapshot", f"{one}@1")
    (where / "gone").unlink()
    (where / "sp ace").rename(where / "mo ved")
    (where / "ü\t\\n").write_text("more")
    (where / "dir").mkdir()
    changes = {(c.kind, c.file_type, c.path, c.new_path) for c in CLIENT.diff(f"{one}@1")}
    assert changes == {
        ("modified", "/", f"{where}/", None),
        ("removed", "F", f"{where}/gone", None),
        ("renamed", "F", f"{where}/sp ace", f"{where}/mo ved"),
        ("modified", "F", f"{where}/ü\t\\n", None),
        ("created", "/", f"{where}/dir", None),
    }
    zfs("snapshot", f"{one}@2")
    assert CLIENT.diff(f"{one}@2") == []
    assert len(CLIENT.diff(f"{one}@1", f"{one}@2")) == 5
    with pytest.raises(InvalidArgument):
        CLIENT.diff(f"{one}@2", f"{one}@1")
    with pytest.raises(NotFound):
        CLIENT.diff(f"{one}@absent")
    zfs("unmount", one)
    with pytest.raises(Conflict, match="mount"):
        CLIENT.diff(f"{one}@1")


def test_delegations(root: str) -> None:
    one = new(root)
    given = [
        Delegation(("mount", "send"), name="nobody"),
        Delegation(("quota",), kind="group", name="root", scope="local"),
        Delegation(("destroy",), kind="create"),
        Delegation(("hold", "release"), kind="set", name="@keep"),
        Delegation(("@keep",), kind="everyone", scope="descendent"),
    ]
    for delegation in given:
        CLIENT.allow(one, delegation)
    found = CLIENT.list_delegations(one)
    assert sorted(map(repr, given)) == sorted(map(repr, found[one]))
    for delegation in given:
        CLIENT.unallow(one, delegation)
    assert one not in CLIENT.list_delegations(one)
    with pytest.raises(InvalidArgument, match="no-such-user"):
        CLIENT.allow(one, Delegation(("send",), name="no-such-user"))
    with pytest.raises(InvalidArgument):
        CLIENT.allow(one, Delegation(("nosuch",), name="nobody"))


def test_pools(pool: str) -> None:
    (usage,) = CLIENT.list_pools([pool])
    assert (usage.name, usage.health) == (pool, "ONLINE")
    assert usage.size_bytes is not None
    assert usage.size_bytes == (usage.allocated_bytes or 0) + (usage.free_bytes or 0)
    (status,) = CLIENT.pool_status([pool])
    assert status.is_healthy
    assert pool in [found.name for found in CLIENT.list_pools()]
    CLIENT.scrub(pool)
    LocalRunner()(["zpool", "wait", "-t", "scrub", pool])
    (status,) = CLIENT.pool_status([pool])
    assert status.scan is not None
    assert (status.scan.function, status.scan.errors) == ("scrub", 0)
    assert status.scan.started_at is not None
    with pytest.raises(NotFound):
        CLIENT.scrub(pool, "stop")
    for call in (CLIENT.list_pools, CLIENT.pool_status):
        with pytest.raises(NotFound):
            call(["no-such-pool"])


def test_plan_of_one_dataset_names_it_alone(root: str) -> None:
    one = new(root)
    assert CLIENT.plan_destroy(one) == DestroyPlan((one,), int(value(one, "used")))
