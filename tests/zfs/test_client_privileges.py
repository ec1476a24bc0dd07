"""The client as a user who is not root: what is refused, and the permission that is named."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from modules.errors import NotFound, PermissionDenied
from tests.zfs.client import NOBODY, exists, new, path, tree
from tests.zfs.datasets import value, zfs
from zfsstore.zfs.client import ZfsClient
from zfsstore.zfs.delegation import Delegation
from zfsstore.zfs.transfer import copy_stream

pytestmark = pytest.mark.zfs
ROOT = ZfsClient()
USER = ZfsClient(NOBODY)


@pytest.fixture(scope="module")
def one(pool: str) -> Iterator[str]:
    with tree(pool) as root:
        name = new(root)
        (path(name) / "file").write_text("x")
        zfs("snapshot", f"{name}@1")
        zfs("clone", f"{name}@1", f"{name}/clone")
        yield name


REFUSED: list[tuple[str, Callable[[str], object]]] = [
    ("snapshot", lambda d: USER.snapshot([f"{d}@2"])),
    ("create,mount,quota", lambda d: USER.create(f"{d}/new", {"quota": "1G"})),
    ("clone,create,mount", lambda d: USER.clone(f"{d}@1", f"{d}/x")),
    ("promote,mount", lambda d: USER.promote(f"{d}/clone")),
    ("rename,create,mount", lambda d: USER.rename_snapshot(f"{d}@1", "2")),
    ("rollback,mount", lambda d: USER.rollback(f"{d}@1")),
    ("hold", lambda d: USER.hold("x", [f"{d}@1"])),
    ("bookmark", lambda d: USER.bookmark(f"{d}@1", "m")),
    ("destroy,mount", lambda d: USER.destroy(f"{d}/clone")),
    ("userprop", lambda d: USER.set(d, {"a:b": "1"})),
    ("quota", lambda d: USER.set(d, {"quota": "1G"})),
    ("mount", lambda d: USER.unmount(d)),
    ("diff", lambda d: USER.diff(f"{d}@1")),
    ("send", lambda d: USER.open_send(f"{d}@1").read()),
    ("receive,create,mount", lambda d: receive(f"{d}@1", f"{d}/received")),
    ("allow", lambda d: USER.allow(d, Delegation(("send",), name="nobody"))),
    ("", lambda d: USER.scrub(d.partition("/")[0])),
]


def receive(snapshot: str, dataset: str) -> None:
    with ROOT.open_send(snapshot) as stream:
        copy_stream(stream, USER.open_receive(dataset))


@pytest.mark.parametrize(("permission", "call"), REFUSED, ids=[p or "root" for p, _c in REFUSED])
def test_what_is_refused_names_the_permission(
    one: str, permission: str, call: Callable[[str], object]
) -> None:
    before = zfs("list", "-H", "-r", "-t", "all", "-o", "name", one)
    with pytest.raises(PermissionDenied) as caught:
        call(one)
    assert caught.value.permission == permission
    assert zfs("list", "-H", "-r", "-t", "all", "-o", "name", one) == before
    if permission:
        assert f"zfs allow USER {permission} " in str(caught.value)


def test_reading_needs_no_permission(one: str) -> None:
    assert USER.list_snapshots(one)[0].name == f"{one}@1"
    assert USER.get([one], ("used",))[0].number("used")
    with pytest.raises(NotFound):
        USER.list_snapshots(f"{one}/absent")


def test_what_is_delegated_is_done(one: str) -> None:
    permissions = ("snapshot", "send", "destroy", "hold", "release", "bookmark", "mount")
    ROOT.allow(one, Delegation(permissions, name="nobody"))
    USER.snapshot([f"{one}@mine"])
    USER.hold("x", [f"{one}@mine"])
    USER.release("x", [f"{one}@mine"])
    USER.bookmark(f"{one}@mine", "m")
    with USER.open_send(f"{one}@mine") as stream:
        assert stream.read()
    USER.destroy_snapshots(one, ["mine"])
    assert not exists(f"{one}@mine")


def test_a_dataset_is_created_but_only_root_can_mount_it(one: str) -> None:
    ROOT.allow(one, Delegation(("create", "mount"), name="nobody"))
    with pytest.raises(PermissionDenied, match="only be mounted by root"):
        USER.create(f"{one}/created")
    assert value(f"{one}/created", "mounted") == "no"
