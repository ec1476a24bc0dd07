from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from modules.errors import (
    Conflict,
    HasDependents,
    InvalidArgument,
    InvalidName,
    NotFound,
    ObjectNotFound,
    VolumeNotFound,
)
from zfsstore.host.errors import PreconditionFailed
from zfsstore.host.namespace import changes
from zfsstore.host.namespace.index import Index
from zfsstore.host.namespace.records import Blob, CommonPrefix, Conditions, Draft, Extent, Kind
from zfsstore.host.namespace.store import Store
from zfsstore.host.namespace.transaction import Transaction

MakeDraft = Callable[..., Draft]


def keys(index: Index, prefix: str = "", **arguments: object) -> list[str]:
    return [item.key for item in index.list_keys(prefix, **arguments).items]  # type: ignore[arg-type]


def test_put_then_get_returns_what_was_put(index: Index, draft: MakeDraft) -> None:
    stored = draft(7, content_type="text/plain", metadata={"colour": "blue", "n": [1, None]})
    outcome = index.put("a/ü", stored)
    found = index.get("a/ü")
    assert outcome.created
    assert found == outcome.version
    assert found is not None
    assert (7, "text/plain") == (found.size_bytes, found.content_type)
    assert {"colour": "blue", "n": [1, None]} == found.metadata
    assert tuple(stored.extents) == found.extents
    assert found.version_id == found.etag
    assert 16 == len(found.object_id)


def test_get_of_an_absent_key_is_none(index: Index) -> None:
    assert index.get("nothing") is None


def test_replacing_keeps_the_object_and_releases_the_blob(index: Index, draft: MakeDraft) -> None:
    old_draft = draft(3)
    old = index.put("k", old_draft)
    new = index.put("k", draft(9))
    assert not new.created
    assert old.version.object_id == new.version.object_id
    assert old.version.created_at == new.version.created_at
    assert new.version.version_id < old.version.version_id  # newer ones sort first
    assert [old_draft.extents[0].blob.module_data] == [p.module_data for p in new.released]
    assert list(new.released) == list(index.pending())
    index.forget_pending(new.released).wait()
    assert [] == list(index.pending())


def test_version_ids_fall_even_when_the_clock_is_set_back(
    index: Index, draft: MakeDraft, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = index.put("k", draft()).version.version_id
    monkeypatch.setattr("time.time_ns", lambda: 10**18)
    assert index.put("k", draft()).version.version_id < first


def test_delete_removes_the_key_and_releases_its_blob(index: Index, draft: MakeDraft) -> None:
    index.put("k", draft())
    released = index.delete("k")
    assert 1 == len(released)
    assert index.get("k") is None
    with pytest.raises(ObjectNotFound, match="k"):
        index.delete("k")


def test_an_object_of_pieces_releases_each_blob_once(index: Index) -> None:
    shared, other = Blob("m", "shared", 10), Blob("m", "other", 4)
    pieces = (Extent(shared, 0, 5), Extent(other, 1, 2), Extent(shared, 5, 5))
    index.put("k", Draft(extents=pieces))
    found = index.get("k")
    assert found is not None
    assert (12, pieces) == (found.size_bytes, found.extents)
    assert ["other", "shared"] == sorted(p.module_data for p in index.delete("k"))
    assert [] == [*index.live_module_data("none")]


def test_conditions_are_checked_and_change_nothing(index: Index, draft: MakeDraft) -> None:
    absent = Conditions(if_none_match=("*",))
    etag = index.put("k", draft(), conditions=absent).version.etag
    for conditions in (absent, Conditions(if_match=("other",))):
        with pytest.raises(PreconditionFailed):
            index.put("k", draft(), conditions=conditions)
        with pytest.raises(PreconditionFailed):
            index.delete("k", conditions=conditions)
        with pytest.raises(PreconditionFailed):
            index.check_put("k", conditions, as_tree=False)
    assert not index.put("k", draft(), conditions=Conditions(if_match=(etag,))).created


def test_an_etag_of_the_front_ends_own(index: Index, draft: MakeDraft) -> None:
    index.put("k", draft(etag="abc-2"))
    found = index.get("k")
    assert found is not None
    assert "abc-2" == found.etag
    index.put("k", draft(), conditions=Conditions(if_match=("abc-2",)))


def test_tree_rules(index: Index, draft: MakeDraft) -> None:
    with pytest.raises(NotFound, match="create the container first"):
        index.put("a/b", draft(), as_tree=True)
    with pytest.raises(NotFound):
        index.check_put("a/b", Conditions(), as_tree=True)
    with pytest.raises(NotFound):
        index.create_container("a/b/")
    assert index.create_container("a/")
    assert not index.create_container("a/")
    index.put("a/b", draft(), as_tree=True)
    with pytest.raises(Conflict, match="a container of that name"):
        index.put("a", draft(), as_tree=True)
    with pytest.raises(Conflict):
        index.check_put("a", Conditions(), as_tree=True)
    with pytest.raises(Conflict, match="an object of that name"):
        index.create_container("a/b/")
    assert index.put("a", draft()).created  # S3 knows no such rule


def test_a_container_that_only_keys_make_can_be_kept(index: Index, draft: MakeDraft) -> None:
    index.put("a/b", draft())
    assert index.is_container("a/")
    assert not index.create_container("a/")
    index.delete("a/b")
    assert index.is_container("a/")
    found = index.get("a/")
    assert found is not None
    assert found.kind is Kind.CONTAINER
    assert found.is_container


def test_delete_container(index: Index, draft: MakeDraft) -> None:
    index.create_container("a/")
    index.put("a/b", draft())
    with pytest.raises(HasDependents, match="not empty"):
        index.delete_container("a/")
    index.delete("a/b")
    assert () == index.delete_container("a/")
    with pytest.raises(ObjectNotFound):
        index.delete_container("a/")


@pytest.mark.parametrize("key", ["a", "/", "/a/", "a//", "a//b/"])
def test_container_keys_that_are_refused(index: Index, key: str) -> None:
    with pytest.raises(InvalidName):
        index.create_container(key)


def test_listing_is_in_byte_order_and_pages(index: Index, draft: MakeDraft) -> None:
    names = ["Z", "a", "a.b", "a/b", "ab", "z", "é", "\U0001f600", "\ufffd"]
    for name in names:
        index.put(name, draft())
    expected = sorted(names, key=str.encode)
    assert expected == keys(index)
    collected: list[str] = []
    after = None
    while True:
        page = index.list_keys("", after=after, limit=2)
        collected += [item.key for item in page.items]
        if (after := page.next_after) is None:
            break
    assert expected == collected


def test_listing_rolls_up_at_the_delimiter(index: Index, draft: MakeDraft) -> None:
    for name in ["a", "b/1", "b/2", "b/c/3", "b0", "c/", "d/e"]:
        index.put(name, draft())
    page = index.list_keys("", delimiter="/")
    assert ["a", "b/", "b0", "c/", "d/"] == [item.key for item in page.items]
    assert CommonPrefix("b/") in page.items
    assert ("b/", "c/", "d/") == page.prefixes
    assert ["b/1", "b/2", "b/c/"] == keys(index, "b/", delimiter="/")
    assert ["c/"] == keys(index, "c/", delimiter="/")
    assert ["b0", "c/", "d/"] == keys(index, "", delimiter="/", after="b/")
    assert ["b/", "b0", "c/", "d/"] == keys(index, "", delimiter="/", after="b/1")[:4]
    assert ["b/2", "b/c/3"] == keys(index, "b/", after="b/1")
    assert [] == keys(index, "x")
    first = index.list_keys("", delimiter="/", limit=2)
    assert (["a", "b/"], "b/") == ([item.key for item in first.items], first.next_after)


def test_a_page_that_ends_with_the_last_key_has_no_next(index: Index, draft: MakeDraft) -> None:
    for name in "abc":
        index.put(name, draft())
    assert index.list_keys("", limit=3).next_after is None
    assert "b" == index.list_keys("", limit=2).next_after


@pytest.mark.parametrize("limit", [0, -1, 10_001])
def test_limits_that_are_refused(index: Index, limit: int) -> None:
    with pytest.raises(InvalidArgument) as caught:
        index.list_keys("", limit=limit)
    assert "limit" == caught.value.field


def test_rolled_up_prefixes_are_skipped_by_seeking(store: Store, draft: MakeDraft) -> None:
    index = Index(store)

    def fill(tx: Transaction) -> None:
        for number in range(1200):
            key = f"{'abc'[number % 3]}/{number:04}".encode()
            changes.put(tx, key, draft(), Conditions(), as_tree=False)

    store.writer.run(1, fill)
    fetched: list[int] = []
    fetch = index._fetch

    def counting(start: bytes, end: bytes, limit: int) -> object:
        rows = fetch(start, end, limit)
        fetched.append(len(rows))
        return rows

    index._fetch = counting  # type: ignore[method-assign, assignment]
    assert ["a/", "b/", "c/"] == keys(index, "", delimiter="/")
    assert sum(fetched) <= 4 * 32


def test_live_module_data_are_blobs_and_pending_deletes(index: Index, draft: MakeDraft) -> None:
    drafts = {name: draft(module=module) for name, module in [("a", "m"), ("b", "m"), ("c", "n")]}
    for name, stored in drafts.items():
        index.put(name, stored)
    index.delete("a")
    data = {name: stored.extents[0].blob.module_data for name, stored in drafts.items()}
    assert {data["a"], data["b"]} == set(index.live_module_data("m"))
    assert {data["c"]} == set(index.live_module_data("n"))
    assert ["m", "n"] == list(index.modules())


def test_pending_deletes_by_age(index: Index, draft: MakeDraft) -> None:
    index.put("k", draft())
    index.delete("k")
    assert [] == list(index.pending(older_than=timedelta(hours=1)))
    assert 1 == len(list(index.pending()))


def test_find_object_id(index: Index, draft: MakeDraft) -> None:
    version = index.put("k", draft()).version
    assert "k" == index.find_object_id(version.object_id)
    index.put("k", draft())
    assert "k" == index.find_object_id(version.object_id)
    index.delete("k")
    assert index.find_object_id(version.object_id) is None


def test_object_ids_carry_the_buckets_mark(index: Index, draft: MakeDraft) -> None:
    version = index.put("k", draft()).version
    assert index.info().object_id[:4] == version.object_id[:4]


def test_counts_follow_every_change(index: Index, draft: MakeDraft) -> None:
    index.put("a", draft(10))
    index.put("b", draft(5))
    index.put("a", draft(1))
    index.create_container("c/")
    index.delete("b")
    with pytest.raises(ObjectNotFound):
        index.delete("b")
    info = index.info()
    assert (2, 1) == (info.key_count, info.size_bytes)


def test_a_bucket_that_is_being_deleted_takes_no_writes(index: Index, draft: MakeDraft) -> None:
    index.put("k", draft())
    with pytest.raises(HasDependents):
        index.begin_delete()
    index.delete("k")
    index.begin_delete()
    index.begin_delete()
    assert index.info().is_deleting
    with pytest.raises(VolumeNotFound):
        index.put("k", draft())
    with pytest.raises(VolumeNotFound):
        index.create_container("c/")
