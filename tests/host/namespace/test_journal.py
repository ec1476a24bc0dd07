"""The journal of a published bucket: a line for each change, none where nobody asked for it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from modules.errors import NotFound, ObjectNotFound
from zfsstore.host.namespace.index import Index
from zfsstore.host.namespace.journal import ViewState, ViewStatus
from zfsstore.host.namespace.records import Draft

MakeDraft = Callable[..., Draft]


def test_a_bucket_that_is_not_published_has_no_journal(index: Index, draft: MakeDraft) -> None:
    index.put("a", draft())
    assert index.journal.status() is None
    assert ([], None) == index.journal.changes()
    with pytest.raises(NotFound):
        index.journal.advance(state=ViewState.CURRENT)


def test_every_change_of_a_key_is_a_line_once(index: Index, draft: MakeDraft) -> None:
    index.put("old", draft())
    index.journal.start("m")
    index.journal.start("m")
    assert ViewStatus("m", ViewState.TO_BE_CLEARED, "", 1) == index.journal.status()
    index.put("b", draft())
    index.put("a", draft())
    index.put("b", draft())
    index.create_container("c/")
    index.delete_container("c/")
    index.delete("old")
    with pytest.raises(ObjectNotFound):
        index.delete("no such key")
    keys, last = index.journal.changes()
    assert ["b", "a", "c/", "old"] == keys
    index.put("later", draft())
    assert 2 == index.journal.advance(state=ViewState.BUILDING, position="a", last=last)
    assert ViewStatus("m", ViewState.TO_BE_CLEARED, "a", 2) == index.journal.status()
    assert 3 == index.journal.advance(state=ViewState.BUILDING, is_cleared=True)
    assert ViewStatus("m", ViewState.BUILDING, "", 3) == index.journal.status()
    assert ["later"] == index.journal.changes()[0]
    assert 9 == index.journal.advance(state=ViewState.CURRENT, sequence=9)


def test_stopping_forgets_everything(index: Index, draft: MakeDraft) -> None:
    index.journal.start("m")
    index.put("a", draft())
    index.journal.stop()
    index.journal.stop()
    index.put("b", draft())
    assert index.journal.status() is None
    assert ([], None) == index.journal.changes()
