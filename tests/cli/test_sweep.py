"""``zfsstore bucket`` and ``zfsstore sweep`` on real objects in a directory store."""

from __future__ import annotations

import io
import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from zfsstore.cli.main import main
from zfsstore.host.bootstrap import bootstrap
from zfsstore.host.config import Config
from zfsstore.host.services import Services, open_services

Run = Callable[..., tuple[int, Any]]
OLD_S = time.time() - 3 * 86400


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """A store with the bucket acme/photos, which holds the object "kept"."""
    config = Config(data_dir=tmp_path / "data")
    bootstrap(config)
    with open_services(config) as services:
        tenant = services.administration.create_tenant("acme", policy="default")
        services.objects.create_bucket(tenant, "photos")
        services.objects.put_object(
            tenant, "photos", "kept", io.BytesIO(b"kept"), content_length=4, content_type=None
        )
    return config


@pytest.fixture
def services(config: Config) -> Iterator[Services]:
    with open_services(config) as opened:
        yield opened


@pytest.fixture
def run(config: Config, capsys: pytest.CaptureFixture[str]) -> Run:
    def call(*argv: str) -> tuple[int, Any]:
        status = main(["--data", str(config.data_dir), *argv, "--json"])
        captured = capsys.readouterr()
        assert "" == captured.err
        return status, json.loads(captured.out)

    return call


def object_files(config: Config) -> list[Path]:
    """The files that hold the bucket's objects."""
    found = (config.data_dir / "objects").rglob("objects/*/??/*")
    return [path for path in found if path.is_file() and "quarantine" not in path.parts]


def strand(services: Services, config: Config, *, age_s: float = OLD_S) -> Path:
    """Store data that no key needs, as a crash between the two commits does."""
    before = set(object_files(config))
    services.registry.get("default").put({"tenant": "acme/photos"}, io.BytesIO(b"stranded"))
    (path,) = set(object_files(config)) - before
    os.utime(path, (age_s, age_s))
    return path


def test_buckets_are_listed_by_tenant_and_name(run: Run, services: Services) -> None:
    tenant = services.administration.get_tenant("acme")
    services.objects.create_bucket(tenant, "albums", quota_bytes=1 << 30)

    assert (
        0,
        [
            {"tenant": "acme", "name": "albums", "quota_bytes": 1 << 30},
            {"tenant": "acme", "name": "photos", "quota_bytes": None},
        ],
    ) == run("bucket", "list")
    assert (0, []) == run("bucket", "list", "administrator")


def test_a_sweep_reports_and_changes_nothing(run: Run, services: Services, config: Config) -> None:
    stranded = strand(services, config)

    status, data = run("sweep")

    (report,) = data["reports"]
    assert 0 == status
    assert ("acme", "photos") == (report["tenant"], report["bucket"])
    assert 1 == len(report["unreferenced"])
    assert len(b"stranded") == report["unreferenced_bytes"]
    assert not report["quarantined"]
    assert stranded.exists()


def test_apply_moves_it_aside_and_keeps_what_is_live(
    run: Run, services: Services, config: Config
) -> None:
    stranded = strand(services, config)

    status, data = run("sweep", "--tenant", "acme", "--bucket", "photos", "--apply")

    assert (0, True) == (status, data["reports"][0]["quarantined"])
    assert not stranded.exists()
    quarantined = [path for path in config.data_dir.rglob("quarantine/**/*") if path.is_file()]
    assert [b"stranded"] == [path.read_bytes() for path in quarantined]
    tenant = services.administration.get_tenant("acme")
    _, stream = services.objects.open_object(tenant, "photos", "kept")
    with stream:
        assert b"kept" == stream.read()
    assert [] == run("sweep")[1]["reports"][0]["unreferenced"]


def test_what_is_young_is_left_alone(run: Run, services: Services, config: Config) -> None:
    stranded = strand(services, config, age_s=time.time() - 3600)

    report = run("sweep", "--apply")[1]["reports"][0]
    assert (0, 1) == (len(report["unreferenced"]), report["too_young"])
    assert stranded.exists()

    report = run("sweep", "--apply", "--older-than", "30m")[1]["reports"][0]
    assert 1 == len(report["unreferenced"])
    assert not stranded.exists()


def test_missing_live_data_is_damage_and_status_1(run: Run, config: Config) -> None:
    (kept,) = object_files(config)
    kept.unlink()

    status, data = run("sweep")

    assert (1, 1) == (status, len(data["reports"][0]["missing"]))


def test_the_report_for_people_names_what_it_found(
    services: Services, config: Config, capsys: pytest.CaptureFixture[str]
) -> None:
    (kept,) = object_files(config)
    strand(services, config)
    kept.unlink()

    assert 1 == main(["--data", str(config.data_dir), "sweep"])

    lines = capsys.readouterr().out.splitlines()
    assert ["acme", "photos", "1", "1", "8", "B", "0", "1"] == lines[1].split()
    assert lines[2].startswith("unreferenced  acme/photos  ")
    assert lines[3].startswith("MISSING  acme/photos  ")
    assert "nothing was changed; --apply moves what is unreferenced to the quarantine" == lines[4]


def test_a_module_without_sweep_is_named_and_not_swept(
    run: Run, services: Services, tmp_path: Path
) -> None:
    admin = services.administration
    admin.put_module(
        "plain",
        {"module": "simple.simple.SimpleStorage", "args": {"storage_dir": str(tmp_path / "plain")}},
    )
    tenant = admin.create_tenant("plain", policy="plain")
    services.objects.create_bucket(tenant, "files")

    status, data = run("sweep")

    assert (0, ["plain/files"]) == (status, data["unsupported"])
    chosen = ["--tenant", "plain", "--bucket", "files"]
    assert 1 == main(["--data", str(services.config.data_dir), "sweep", *chosen])
