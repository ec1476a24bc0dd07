"""durable_file: all or nothing, whatever happens inside the block."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from modules import durable
from modules.durable import durable_file, make_directories


def test_appears_whole_and_read_only(tmp_path: Path) -> None:
    with durable_file(tmp_path / "a") as file:
        file.write(b"data")
        assert not (tmp_path / "a").exists()
    assert (tmp_path / "a").read_bytes() == b"data"
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o444


@pytest.mark.parametrize("failure", [RuntimeError, KeyboardInterrupt, GeneratorExit])
def test_an_exception_leaves_nothing(tmp_path: Path, failure: type[BaseException]) -> None:
    with pytest.raises(failure), durable_file(tmp_path / "a"):
        raise failure
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("is_name_secret", [False, True])
@pytest.mark.parametrize("step", ["fsync", "rename"])
def test_a_failing_step_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, is_name_secret: bool
) -> None:
    def fail(*args: object) -> None:
        raise OSError(5, "I/O error")

    monkeypatch.setattr(os, step, fail)
    target = durable_file(tmp_path / "a", is_name_secret=is_name_secret)
    with pytest.raises(OSError, match="I/O error"), target as file:
        file.write(b"data")
    assert os.listdir(tmp_path) == []


def test_a_failing_directory_fsync_takes_the_name_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(path: object) -> None:
        raise OSError(5, "I/O error")

    monkeypatch.setattr(durable, "fsync_directory", fail)
    with pytest.raises(OSError, match="I/O error"), durable_file(tmp_path / "a") as file:
        file.write(b"data")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("is_name_secret", "expected"),
    [
        (False, ["fsync file", "rename", "fsync directory"]),
        (True, ["rename", "fsync file", "fsync directory"]),
    ],
)
def test_a_known_name_appears_after_the_fsync_a_secret_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_name_secret: bool, expected: list[str]
) -> None:
    calls: list[str] = []
    real_fsync, real_rename = os.fsync, os.rename

    def fsync(fd: int) -> None:
        calls.append("fsync directory" if stat.S_ISDIR(os.fstat(fd).st_mode) else "fsync file")
        real_fsync(fd)

    def rename(source: str, target: str) -> None:
        calls.append("rename")
        real_rename(source, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "rename", rename)
    with durable_file(tmp_path / "a", is_name_secret=is_name_secret) as file:
        file.write(b"data")
    assert expected == calls


def test_make_directories_creates_all_parents(tmp_path: Path) -> None:
    make_directories(tmp_path / "a" / "b" / "c")
    make_directories(tmp_path / "a" / "b" / "c")
    assert (tmp_path / "a" / "b" / "c").is_dir()


def test_a_short_write_is_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real_write = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: real_write(fd, bytes(data[:3])))
    with durable_file(tmp_path / "a") as file:
        assert file.write(b"0123456789") == 10
    assert (tmp_path / "a").read_bytes() == b"0123456789"
