"""One installation for the session; one running server for each kind and archive."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.apache.deployment import Deployment, Installation


@pytest.fixture(scope="session")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """Lie where an unprivileged user can read, which pytest's own folders are not."""
    umask = os.umask(0o022)
    folder = Path(tempfile.mkdtemp(prefix="zfsstore-apache.", dir="/var/tmp"))
    folder.chmod(0o755)
    try:
        yield Installation.create(folder, tmp_path_factory.mktemp("building"))
    finally:
        os.umask(umask)
        shutil.rmtree(folder)


@pytest.fixture(
    scope="session",
    params=["apache-egg", "apache-wheel", "gunicorn-wheel"],
)
def deployment(request: pytest.FixtureRequest, installation: Installation) -> Iterator[Deployment]:
    """Be a running server on an empty data folder, with newstore on its python-path."""
    yield from run_deployment(installation, request.param)


def run_deployment(
    installation: Installation, name: str, purpose: str = "tested"
) -> Iterator[Deployment]:
    """Run a server called "apache-egg", "gunicorn-wheel"...; *purpose* tells equal ones apart."""
    kind, _, archive = name.partition("-")
    folder = installation.folder / f"{purpose}-{name}"
    folder.mkdir()
    path = installation.egg if archive == "egg" else installation.wheel
    deployed = Deployment(installation, folder, kind, path)
    deployed.server.start()
    try:
        deployed.wait_until_ready()
        deployed.provision()
        yield deployed
    finally:
        deployed.server.stop()
