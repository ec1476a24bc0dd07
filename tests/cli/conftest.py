"""A store on plain directories with the bucket acme/photos, and commands run on it."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from zfsstore.cli.main import main
from zfsstore.host.bootstrap import bootstrap
from zfsstore.host.config import Config
from zfsstore.host.services import open_services


class Store:
    """A data folder, on which commands run as a user types them."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str] | None = None) -> None:
        self.config = Config(data_dir=folder)
        self._capsys = capsys

    def fill(self) -> None:
        """Create the tenant, its bucket and an object."""
        bootstrap(self.config)
        with open_services(self.config) as services:
            tenant = services.administration.create_tenant("acme", policy="default")
            services.objects.create_bucket(tenant, "photos")
        self.put("acme/photos", "plan", "first")

    def run(self, *argv: str) -> tuple[int, str, str]:
        """Return exit status, output and errors of a command."""
        assert self._capsys is not None
        status = main(["--data", str(self.config.data_dir), *argv])
        captured = self._capsys.readouterr()
        return status, captured.out, captured.err

    def says(self, *argv: str) -> str:
        """Return what a command prints that succeeds."""
        status, out, err = self.run(*argv)
        assert (0, "") == (status, err)
        return out

    def json(self, *argv: str) -> Any:
        """Return the JSON of a command that succeeds."""
        return json.loads(self.says(*argv, "--json"))

    def refused(self, *argv: str) -> str:
        """Return the one line of a command that cannot be done."""
        status, out, err = self.run(*argv)
        assert (1, "") == (status, out)
        assert 1 == err.count("\n")
        return err

    def put(self, bucket: str, key: str, text: str) -> None:
        """Store an object."""
        name, bucket = bucket.split("/")
        with open_services(self.config) as services:
            tenant = services.administration.get_tenant(name)
            services.objects.put_object(
                tenant,
                bucket,
                key,
                io.BytesIO(text.encode()),
                content_length=len(text),
                content_type=None,
            )

    def get(self, bucket: str, key: str) -> str:
        """Return an object's content."""
        name, bucket = bucket.split("/")
        with open_services(self.config) as services:
            tenant = services.administration.get_tenant(name)
            _, stream = services.objects.open_object(tenant, bucket, key)
            with stream:
                return stream.read().decode()

    def delete_bucket(self, bucket: str) -> None:
        """Delete a bucket as a client does."""
        name, bucket = bucket.split("/")
        with open_services(self.config) as services:
            tenant = services.administration.get_tenant(name)
            for key in ("plan",):
                services.objects.delete_object(tenant, bucket, key)
            services.objects.delete_bucket(tenant, bucket)

    def state(self) -> list[object]:
        """Return all that a dry run must not change."""
        return [
            self.json("volume", "list"),
            self.json("tenant", "list"),
            self.json("snapshot", "list", "acme"),
            self.json("trash", "list"),
        ]


class Terminal(io.StringIO):
    """Standard input of somebody who types *text* at a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture(scope="session")
def filled(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A store's folder, which it must stay in, and a copy of what is in it at first."""
    folder = tmp_path_factory.mktemp("cli")
    Store(folder / "data").fill()
    shutil.copytree(folder / "data", folder / "copy")
    return folder / "data", folder / "copy"


@pytest.fixture
def store(filled: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Store:
    data, copy = filled
    data.rename(tmp_path / "before")  # cheaper than to remove it, or to fill another store
    shutil.copytree(copy, data)
    return Store(data, capsys)
