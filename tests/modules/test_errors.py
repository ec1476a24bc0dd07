"""The error tree: what a message says, and what the operating system's errors become."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator

import pytest

from modules import errors


def all_classes(base: type[errors.StorageError]) -> Iterator[type[errors.StorageError]]:
    yield base
    for child in base.__subclasses__():
        yield from all_classes(child)


def test_a_message_says_what_on_what_why_and_what_to_do() -> None:
    error = errors.HasDependents(
        "1 clone depends on it (tank/fork)",
        operation="destroy snapshot",
        subject="tank/acme@daily",
        hint="promote or delete the clone first",
    )
    expected = (
        "cannot destroy snapshot tank/acme@daily: 1 clone depends on it (tank/fork); "
        "promote or delete the clone first"
    )
    assert expected == str(error)


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (errno.EDQUOT, errors.QuotaExceeded),
        (errno.ENOSPC, errors.NoSpace),
        (errno.ENOENT, errors.ObjectNotFound),
        (errno.EACCES, errors.PermissionDenied),
        (errno.EROFS, errors.PermissionDenied),
        (errno.EBUSY, errors.Busy),
        (errno.EIO, errors.IntegrityError),
        (errno.EMFILE, errors.SubstrateError),
    ],
)
def test_oserror_becomes_the_class_that_fits(
    number: int, expected: type[errors.StorageError]
) -> None:
    original = OSError(number, os.strerror(number), "/secret/path")
    with (
        pytest.raises(expected) as caught,
        errors.translated_oserror(operation="put", subject="acme/photos"),
    ):
        raise original
    assert caught.value.__cause__ is original
    assert "/secret/path" not in str(caught.value)


def test_the_drawing_shows_every_class() -> None:
    drawing = errors.__doc__ or ""
    public = {
        c.__name__ for c in all_classes(errors.StorageError) if c.__module__ == "modules.errors"
    }
    missing = {name for name in public if not name.startswith("_") and name not in drawing}
    assert missing == set()


def test_only_what_may_succeed_later_is_retryable() -> None:
    retryable = {
        c.__name__
        for c in all_classes(errors.StorageError)
        if c.retryable and c.__module__ == "modules.errors"
    }
    assert retryable == {"Busy", "Locked", "Unavailable"}
