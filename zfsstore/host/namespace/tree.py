"""Keys as paths: what makes a bucket's flat keys a tree of containers."""

from __future__ import annotations

from modules.errors import Conflict, InvalidName, NotFound
from zfsstore.host.namespace.names import parent_of, successor
from zfsstore.host.namespace.transaction import Transaction


def check_tree(tx: Transaction, key: bytes) -> None:
    """Check that *key* fits into the tree of containers.

    Raises:
        NotFound: the container it would lie in does not exist.
        Conflict: its name is taken, by a container for an object and the other way round.
    """
    parent = parent_of(key)
    if parent and not tx.has_key_in(parent, successor(parent)):
        raise missing_parent(key, parent)
    is_container = key.endswith(b"/")
    if is_container:
        other = {"bucket_id": tx.bucket_id, "key": key[:-1]}
        is_taken = tx.run(tx.sql.current, other).fetchone() is not None
    else:
        is_taken = tx.has_key_in(key + b"/", successor(key + b"/"))
    if is_taken:
        raise name_taken(key)


def missing_parent(key: bytes, parent: bytes) -> NotFound:
    """Return the error for a key whose container does not exist."""
    return NotFound(
        f"there is no container {parent.decode()}",
        operation="create",
        subject=key.decode(),
        hint="create the container first",
    )


def name_taken(key: bytes) -> Conflict:
    """Return the error for a name that is used by the other kind."""
    taken = "an object" if key.endswith(b"/") else "a container"
    return Conflict(
        f"{taken} of that name exists",
        operation="create",
        subject=key.decode(),
        hint="choose another name or delete it first",
    )


def check_container_key(key: bytes) -> bytes:
    """Return *key* if it can name a container.

    Raises:
        InvalidName: it does not end in a slash, or has an empty component.
    """
    if not key.endswith(b"/") or key.startswith(b"/") or b"//" in key:
        raise InvalidName(
            "a container's key ends in one slash and has no empty component",
            subject=key.decode(),
            field="key",
        )
    return key
