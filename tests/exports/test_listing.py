"""Reading back what is exported."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tests.exports.recording import Recorder
from zfsstore.exports import Export, Exported, FileExports, file_exports, sharenfs_exports

UUID = "0c1a2b3c-4d5e-6f70-8192-a3b4c5d6e7f8"
OTHER = "1c1a2b3c-4d5e-6f70-8192-a3b4c5d6e7f8"
EXPORT = Export(name="acme/photos", uuid=UUID, dataset="p/v1", path="/srv/v1", fsid=UUID)


def test_files_read_back_as_they_were_written(tmp_path: Path) -> None:
    exports = FileExports(
        Recorder(), ["10.0.0.0/8", "@group"], options=["ro"], directory=str(tmp_path)
    )
    exports.export(EXPORT)
    exports.export(replace(EXPORT, name="acme", uuid=OTHER, fsid=OTHER))

    found = {entry.fsid: entry for entry in file_exports(str(tmp_path))}

    assert {UUID, OTHER} == set(found)
    rules = (f"10.0.0.0/8(ro,fsid={UUID})", f"@group(ro,fsid={UUID})")
    assert Exported(UUID, "files", rules) == found[UUID]


def test_what_others_wrote_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "trident_x.exports").write_text("# by hand\n/srv *(ro)\n\n/a b c\n")
    (tmp_path / "other.exports").write_text(f"/srv h1(ro,fsid={UUID})\n")
    (tmp_path / "trident_y.exports").write_bytes(b"\xff\xfe\n")
    assert [] == list(file_exports(str(tmp_path)))
    assert [] == list(file_exports(str(tmp_path / "none")))


def test_shared_volumes_are_found_by_one_command() -> None:
    run = Recorder(
        zfsget=f"p/a\tzfsstore:uuid\t{UUID}\np/a\tsharenfs\tro=h1\n"
        f"p/b\tzfsstore:uuid\t{OTHER}\np/b\tsharenfs\toff\np/c\tsharenfs\ton\n"
    )
    assert [Exported(UUID, "sharenfs", ("ro=h1",))] == list(sharenfs_exports(run))
    assert 1 == len(run.argvs)
