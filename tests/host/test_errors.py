"""Every error has a status of its own, and a name clients can match on."""

from __future__ import annotations

import json
import os

import pytest

import zfsstore.host.errors
import zfsstore.storage  # so that its own errors, if any, are known
from modules.errors import ObjectNotFound, QuotaExceeded, StorageError
from zfsstore.host.errors import HTTP_STATUS, error_code, http_status
from zfsstore.host.exchange import to_json


def classes(base: type[StorageError] = StorageError) -> list[type[StorageError]]:
    found = [base]
    for subclass in base.__subclasses__():
        found += classes(subclass)
    return found


@pytest.mark.parametrize("error_class", classes())
def test_every_class_has_a_row(error_class: type[StorageError]) -> None:
    if error_class.__module__.startswith(("modules.", "zfsstore.")) and not (
        error_class.__name__.startswith("_")
    ):
        assert 400 <= HTTP_STATUS[error_class] <= 599


def test_a_vendors_subclass_takes_the_row_of_its_base() -> None:
    class BoxFull(QuotaExceeded):
        pass

    assert http_status(BoxFull("full")) == 507
    assert error_code(BoxFull("full")) == "quota_exceeded"


def test_codes_are_the_classes_in_snake_case() -> None:
    assert error_code(ObjectNotFound("gone")) == "object_not_found"
    assert error_code(StorageError("x")) == "storage_error"


def test_statuses_that_the_interface_promises() -> None:
    promised = {400, 401, 403, 404, 405, 408, 409, 410, 411, 412, 413, 416, 500, 501, 503, 507}
    assert promised == set(zfsstore.host.errors.HTTP_STATUS.values())


def test_a_file_name_that_is_no_utf8_can_be_in_an_answer() -> None:
    value = {"message": f"cannot open {os.fsdecode(bytes([0xFF]))}"}
    assert json.loads(to_json(value).decode()) == value
