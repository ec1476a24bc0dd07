"""One service for all tests of a process, with a bucket for each file."""

from __future__ import annotations

import secrets

import pytest

from tests.s3.service import Service, moto_service


@pytest.fixture(scope="module")
def service() -> Service:
    return moto_service(f"tests-{secrets.token_hex(4)}")
