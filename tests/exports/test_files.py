"""One file for each exported volume."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from modules.errors import CommandFailed, InvalidArgument
from tests.exports.recording import Recorder, failure
from zfsstore.exports import Export, FileExports

UUID = "0c1a2b3c-4d5e-6f70-8192-a3b4c5d6e7f8"
EXPORT = Export(name="v1", uuid=UUID, dataset="p/v1", path="/srv/v1", fsid=UUID)
REFRESH = ["exportfs", "-r"]
SHOW = ["exportfs", "-v"]


def exports(directory: Path, run: Recorder, *clients: str) -> FileExports:
    return FileExports(run, clients or ("10.0.0.0/8", "h1"), directory=str(directory))


def test_export_writes_a_line_for_each_client_and_refreshes(tmp_path: Path) -> None:
    run = Recorder()
    exports(tmp_path / "exports.d", run).export(EXPORT)
    options = f"rw,sync,no_subtree_check,root_squash,crossmnt,mountpoint,fsid={UUID}"
    (file,) = (tmp_path / "exports.d").iterdir()
    assert "trident_v1.exports" == file.name
    assert f"/srv/v1 10.0.0.0/8({options})\n/srv/v1 h1({options})\n" == file.read_text()
    assert 0o644 == file.stat().st_mode & 0o777
    assert [REFRESH] == run.argvs


def test_without_clients_nothing_is_exported(tmp_path: Path) -> None:
    run = Recorder()
    FileExports(run, (), directory=str(tmp_path)).export(EXPORT)
    assert [] == run.argvs
    assert [] == list(tmp_path.iterdir())


def test_a_name_without_a_safe_character_is_not_exported(tmp_path: Path) -> None:
    run = Recorder()
    exports(tmp_path, run).export(replace(EXPORT, name="..."))
    assert [] == list(tmp_path.iterdir())


def test_names_that_differ_in_odd_characters_have_files_of_their_own(tmp_path: Path) -> None:
    target = exports(tmp_path, Recorder())
    target.export(replace(EXPORT, name="ab"))
    target.export(replace(EXPORT, name="a:b"))
    assert ["trident_ab.exports", f"trident_ab.{UUID}.exports"] == sorted(
        (file.name for file in tmp_path.iterdir()), key=len
    )


@pytest.mark.parametrize("path", ["/srv/a b", "/srv/a\n/etc", "none", "legacy", "/srv/../etc"])
def test_a_path_that_cannot_be_written_is_refused_before_anything_happens(
    tmp_path: Path, path: str
) -> None:
    run = Recorder()
    with pytest.raises(InvalidArgument):
        exports(tmp_path, run).export(replace(EXPORT, path=path))
    assert [] == list(tmp_path.iterdir())
    assert [] == run.argvs


def test_a_failed_refresh_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    exports(tmp_path, Recorder()).export(EXPORT)
    (before,) = (file.read_bytes() for file in tmp_path.iterdir())
    target = exports(tmp_path, Recorder(exportfsr=failure()), "other")
    with pytest.raises(CommandFailed):
        target.export(EXPORT)
    assert before == (tmp_path / "trident_v1.exports").read_bytes()


def test_a_failed_refresh_leaves_no_file_where_there_was_none(tmp_path: Path) -> None:
    target = exports(tmp_path, Recorder(exportfsr=failure()))
    with pytest.raises(CommandFailed):
        target.export(EXPORT)
    assert [] == list(tmp_path.iterdir())


def test_somebody_elses_broken_export_does_not_stop_ours(tmp_path: Path) -> None:
    run = Recorder(
        exportfsr=failure("exportfs: /etc/exports:3: unknown keyword"),
        exportfsv="/other        \thost(ro)\n/srv/v1       \th1(rw)\n",
    )
    target = exports(tmp_path, run)
    target.export(EXPORT)
    assert target.is_exported(EXPORT)
    assert [REFRESH, SHOW] == run.argvs


def test_withdrawn_inside_the_block_and_gone_after_it(tmp_path: Path) -> None:
    run = Recorder()
    target = exports(tmp_path, run)
    target.export(EXPORT)
    with target.withdrawn(EXPORT):
        assert not target.is_exported(EXPORT)
        assert [REFRESH, REFRESH] == run.argvs
    assert [] == list(tmp_path.iterdir())
    assert [REFRESH, REFRESH] == run.argvs


def test_exported_again_as_it_was_when_the_block_fails(tmp_path: Path) -> None:
    run = Recorder()
    target = exports(tmp_path, run)
    target.export(EXPORT)
    file = tmp_path / "trident_v1.exports"
    file.write_text("/srv/v1 byhand(ro)\n")
    with pytest.raises(ZeroDivisionError), target.withdrawn(EXPORT):
        raise ZeroDivisionError
    assert "/srv/v1 byhand(ro)\n" == file.read_text()
    assert [REFRESH] * 3 == run.argvs


def test_a_failed_block_exports_nothing_that_was_not_exported(tmp_path: Path) -> None:
    run = Recorder()
    with pytest.raises(ZeroDivisionError), exports(tmp_path, run).withdrawn(EXPORT):
        raise ZeroDivisionError
    assert [] == list(tmp_path.iterdir())
    assert [REFRESH] == run.argvs


def test_the_block_does_not_run_while_the_volume_is_still_exported(tmp_path: Path) -> None:
    run = Recorder()
    target = exports(tmp_path, run)
    target.export(EXPORT)
    run.answers = {"exportfsr": failure(), "exportfsv": "/srv/v1\n\t\th1(rw)\n"}
    with pytest.raises(CommandFailed), target.withdrawn(EXPORT):
        pytest.fail("the block ran")
    assert target.is_exported(EXPORT)


def test_without_exportfs_what_is_not_exported_can_be_withdrawn(tmp_path: Path) -> None:
    missing = failure("exportfs: No such file or directory")
    with exports(tmp_path, Recorder(exportfsr=missing, exportfsv=missing)).withdrawn(EXPORT):
        pass


def test_a_symbolic_link_in_the_directory_is_not_followed(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret")
    directory = tmp_path / "exports.d"
    directory.mkdir()
    (directory / "trident_v1.exports").symlink_to(secret)
    with pytest.raises(Exception, match="export"):
        exports(directory, Recorder()).export(EXPORT)
    assert "secret" == secret.read_text()
