"""One service for all tests of a file."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.s3.service import Service, moto_service


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    with moto_service() as running:
        yield running
