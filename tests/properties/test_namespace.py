"""The index against a dict, through any sequence of changes and listings."""

from __future__ import annotations

import shutil
import tempfile
from itertools import count
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from modules.errors import HasDependents, ObjectNotFound
from zfsstore.host.errors import PreconditionFailed
from zfsstore.host.namespace.index import Index
from zfsstore.host.namespace.records import Blob, Conditions, Draft, Extent, PendingDelete
from zfsstore.host.namespace.sqlite import VolumeDatabase
from zfsstore.host.namespace.store import Store

# Few letters, so that prefixes are shared; one above ASCII and one above the surrogates' range.
KEYS = st.text(alphabet="ab/é\U0001f600", min_size=1, max_size=5)
PREFIXES = st.text(alphabet="ab/é", max_size=3)


def expected_page(keys: list[str], prefix: str, delimiter: str, after: str | None) -> list[str]:
    """What S3 says a listing holds, computed the slow way."""
    items = []
    for key in keys:
        if not key.startswith(prefix):
            continue
        rest = key[len(prefix) :]
        if delimiter and delimiter in rest:
            item = prefix + rest[: rest.index(delimiter) + len(delimiter)]
            is_below_after = after is not None and item == after
            if is_below_after or (after is not None and key.encode() <= after.encode()):
                continue
        else:
            item = key
            if after is not None and key.encode() <= after.encode():
                continue
        if item not in items:
            items.append(item)
    return items


class IndexMachine(RuleBasedStateMachine):
    """Puts, deletes and listings in any order."""

    seen = Bundle("seen")

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp())
        self.store = Store(VolumeDatabase(self.directory))
        self.index = Index(self.store)
        self.model: dict[str, tuple[str, list[str]]] = {}  # key -> etag, module_data
        self.pending: dict[str, PendingDelete] = {}
        self.numbers = count()

    def teardown(self) -> None:
        self.store.close()
        shutil.rmtree(self.directory)

    @initialize(target=seen)
    def start(self) -> str:
        return "a"

    @rule(target=seen, key=KEYS, pieces=st.integers(0, 3), same_blob=st.booleans())
    def put(self, key: str, pieces: int, same_blob: bool) -> str:
        number = next(self.numbers)
        blobs = [Blob("m", f"{number}-{0 if same_blob else piece}", 10) for piece in range(pieces)]
        draft = Draft(extents=tuple(Extent(blob, i, 3) for i, blob in enumerate(blobs)))
        outcome = self.index.put(key, draft)
        assert (key not in self.model) == outcome.created
        self._check_released(key, outcome.released)
        data = sorted({blob.module_data for blob in blobs})
        self.model[key] = (outcome.version.etag, data)
        return key

    @rule(key=seen)
    def delete(self, key: str) -> None:
        if key not in self.model:
            with pytest.raises(ObjectNotFound):
                self.index.delete(key)
            return
        self._check_released(key, self.index.delete(key))
        del self.model[key]

    @rule(key=seen, is_right=st.booleans())
    def put_if_match(self, key: str, is_right: bool) -> None:
        etag = self.model[key][0] if is_right and key in self.model else "wrong"
        conditions = Conditions(if_match=(etag,))
        if etag == "wrong":
            with pytest.raises(PreconditionFailed):
                self.index.put(key, Draft(), conditions=conditions)
        else:
            outcome = self.index.put(key, Draft(), conditions=conditions)
            self._check_released(key, outcome.released)
            self.model[key] = (outcome.version.etag, [])

    @rule()
    def forget_pending(self) -> None:
        self.index.forget_pending(list(self.pending.values())).wait()
        self.pending.clear()

    @rule()
    def reopen(self) -> None:
        self.store.close()
        self.store = Store(VolumeDatabase(self.directory))
        self.index = Index(self.store)

    @rule(
        prefix=PREFIXES,
        delimiter=st.sampled_from(["", "/", "ab"]),
        after=st.none() | KEYS,
        limit=st.integers(1, 4),
    )
    def list_all_pages(self, prefix: str, delimiter: str, after: str | None, limit: int) -> None:
        expected = expected_page(self._sorted(), prefix, delimiter, after)
        found: list[str] = []
        while True:
            page = self.index.list_keys(prefix, delimiter=delimiter, after=after, limit=limit)
            assert len(page.items) <= limit
            found += [item.key for item in page.items]
            if page.next_after is None:
                break
            assert len(page.items) == limit
            after = page.next_after
        assert expected == found

    @rule(prefix=PREFIXES)
    def exists_prefix(self, prefix: str) -> None:
        expected = any(key.startswith(prefix) for key in self.model)
        assert expected == self.index.exists_prefix(prefix)

    @precondition(lambda self: self.model)
    @rule()
    def begin_delete(self) -> None:
        with pytest.raises(HasDependents):
            self.index.begin_delete()

    @invariant()
    def index_equals_model(self) -> None:
        live = [data for _, blobs in self.model.values() for data in blobs]
        assert sorted([*live, *self.pending]) == sorted(self.index.live_module_data("m"))
        assert set(self.pending.values()) == set(self.index.pending())
        assert len(self.model) == self.index.info().key_count
        for key, (etag, blobs) in self.model.items():
            found = self.index.get(key)
            assert found is not None
            assert etag == found.etag
            assert blobs == sorted({extent.blob.module_data for extent in found.extents})

    def _sorted(self) -> list[str]:
        return sorted(self.model, key=str.encode)

    def _check_released(self, key: str, released: tuple[PendingDelete, ...]) -> None:
        old = self.model[key][1] if key in self.model else []
        assert old == sorted(pending.module_data for pending in released)
        self.pending |= {pending.module_data: pending for pending in released}


IndexMachine.TestCase.settings = settings(max_examples=25, stateful_step_count=25)
TestIndex = IndexMachine.TestCase
