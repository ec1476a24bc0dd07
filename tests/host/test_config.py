"""Settings: defaults that work, and mistakes that are named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from modules.errors import ConfigurationError
from zfsstore.host.config import Config


def test_defaults() -> None:
    config = Config()
    assert config.listen == "127.0.0.1:8080"
    assert config.threads >= 32
    assert config.catalog_url == f"sqlite:///{config.data_dir}/catalog.db"
    assert config.data_dir.is_absolute()


def test_a_toml_file(tmp_path: Path) -> None:
    file = tmp_path / "zfsstore.toml"
    file.write_text('data_dir = "store"\nthreads = 40\npython_path = ["/srv/a.egg"]\n')
    config = Config.load(str(file))
    assert config == Config(data_dir=tmp_path / "store", threads=40, python_path=("/srv/a.egg",))


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"thread": 40}, "thread"),
        ({"threads": 31}, "threads"),
        ({"threads": "40"}, "threads"),
        ({"threads": True}, "threads"),
        ({"workers": 0}, "workers"),
        ({"listen": "8080"}, "listen"),
        ({"listen": "host:99999"}, "listen"),
        ({"listen": "unix:relative"}, "listen"),
        ({"data_dir": 3}, "data_dir"),
        ({"data_dir": "a\0b"}, "data_dir"),
        ({"python_path": "relative"}, "python_path"),
        ({"python_path": ["relative"]}, "python_path"),
        ({"database_url": "catalog.db"}, "database_url"),
        ({"max_object_bytes": 0}, "max_object_bytes"),
        ({"stall_timeout_s": 0}, "stall_timeout_s"),
        ({"log_level": "loud"}, "log_level"),
        ({"http_parser": "C"}, "http_parser"),
    ],
)
def test_mistakes_are_named(values: dict[str, Any], field: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Config.from_dict(values)
    assert caught.value.field == field
    assert field in str(caught.value)


@pytest.mark.parametrize("text", [b"threads = ", b"\xff", b"[section]\n"])
def test_files_that_are_wrong(tmp_path: Path, text: bytes) -> None:
    file = tmp_path / "zfsstore.toml"
    file.write_bytes(text)
    with pytest.raises(ConfigurationError):
        Config.from_file(file)
    with pytest.raises(ConfigurationError, match="absent"):
        Config.from_file(tmp_path / "absent.toml")


def test_the_database_password_is_not_shown() -> None:
    assert "hunter2" not in repr(Config(database_url="postgresql://zfsstore:hunter2@db/x"))
