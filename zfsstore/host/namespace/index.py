"""One bucket's keys: look up, list, change. Changes are durable when the call returns."""

from __future__ import annotations

from collections.abc import Sequence

from zfsstore.host.namespace import bucket_changes, changes, tree
from zfsstore.host.namespace.index_reader import IndexReader, parse_bucket
from zfsstore.host.namespace.journal import Journal
from zfsstore.host.namespace.names import encode_key
from zfsstore.host.namespace.records import (
    UNCONDITIONAL,
    Conditions,
    Draft,
    Kind,
    PendingDelete,
    PutOutcome,
)
from zfsstore.host.namespace.request import Request

__all__ = ["Index", "parse_bucket"]


class Index(IndexReader):
    """The keys of one bucket. Safe for many threads; other processes may change it meanwhile."""

    @property
    def journal(self) -> Journal:
        """What changed since the bucket's keys were last shown as files."""
        return Journal(self._store, self._bucket_id)

    def put(
        self,
        key: str,
        draft: Draft,
        *,
        conditions: Conditions = UNCONDITIONAL,
        as_tree: bool = False,
    ) -> PutOutcome:
        """Make *draft* the current version of *key*, replacing what is there.

        Args:
            as_tree: keys are paths: the container *key* lies in must exist, and no name is both
                an object and a container.

        Raises:
            PreconditionFailed: the conditions do not hold at the moment of the change.
            NotFound: there is no such container.
            Conflict: a container has that name.
            VolumeNotFound: the bucket was deleted meanwhile.
            CommitUncertain: it may be stored or not.
        """
        return self.submit_put(key, draft, conditions=conditions, as_tree=as_tree).wait()

    def submit_put(
        self,
        key: str,
        draft: Draft,
        *,
        conditions: Conditions = UNCONDITIONAL,
        as_tree: bool = False,
    ) -> Request[PutOutcome]:
        """Queue a ``put``, so that many share a transaction; ``wait`` raises and returns as it."""
        encoded = encode_key(key)
        return self._store.writer.submit(
            self._bucket_id,
            lambda tx: changes.put(tx, encoded, draft, conditions, as_tree=as_tree),
        )

    def delete(
        self, key: str, *, conditions: Conditions = UNCONDITIONAL
    ) -> tuple[PendingDelete, ...]:
        """Remove *key*; return the blobs that nothing needs any more.

        Raises:
            ObjectNotFound, PreconditionFailed, VolumeNotFound, CommitUncertain
        """
        encoded = encode_key(key)
        return self._store.writer.run(
            self._bucket_id, lambda tx: changes.delete(tx, encoded, conditions), is_deletion=True
        )

    def create_container(self, key: str) -> bool:
        """Record a container; return False when it existed. Its own container must exist."""
        encoded = tree.check_container_key(encode_key(key))
        draft = Draft(kind=Kind.CONTAINER)
        return self._store.writer.run(
            self._bucket_id, lambda tx: changes.create_container(tx, encoded, draft)
        )

    def delete_container(self, key: str) -> tuple[PendingDelete, ...]:
        """Remove an empty container.

        Raises:
            HasDependents, ObjectNotFound
        """
        encoded = tree.check_container_key(encode_key(key))
        return self._store.writer.run(
            self._bucket_id, lambda tx: changes.delete_container(tx, encoded), is_deletion=True
        )

    def forget_pending(self, done: Sequence[PendingDelete]) -> Request[None]:
        """Queue the removal of pending deletes that are carried out; waiting is not needed."""
        return self._store.writer.submit(
            self._bucket_id, lambda tx: changes.delete_pending(tx, done), is_deletion=True
        )

    def rewrap(self, changes_: Sequence[tuple[int, str, str]]) -> int:
        """Replace the module_data of blobs; durable. Return how many were deleted meanwhile.

        Args:
            changes_: as ``blobs`` gave number and module_data, and what to keep instead.
        """
        return self._store.writer.run(self._bucket_id, lambda tx: changes.rewrap(tx, changes_))

    def begin_delete(self) -> None:
        """Stop all writing to the bucket, for good, if it is empty.

        Raises:
            HasDependents: it is not.
        """
        self._store.writer.run(
            self._bucket_id, bucket_changes.begin_bucket_delete, is_deletion=True
        )

    def delete_row(self) -> None:
        """Remove the bucket's row from a shared database, if its deletion has begun."""
        self._store.writer.run(self._bucket_id, bucket_changes.delete_bucket)
