"""``zfsstore bucket publish``, ``unpublish`` and ``adopt`` on directories."""

from __future__ import annotations

import json
import os
from pathlib import Path

from tests.cli.conftest import Store


def files(store: Store) -> Path:
    return Path(store.json("volume", "show", "acme/photos")["path"], "files")


def test_objects_are_shown_as_files_until_unpublished(store: Store) -> None:
    assert {"bucket": "acme/photos", "dry_run": True} == store.json(
        "bucket", "publish", "acme/photos", "--dry-run"
    )
    assert not files(store).exists()

    assert "published acme/photos\n" == store.says("bucket", "publish", "acme/photos")

    assert "first" == (files(store) / "plan").read_text()
    store.says("bucket", "publish", "acme/photos", "--rebuild")
    store.says("bucket", "unpublish", "acme/photos", "--dry-run")
    assert "first" == (files(store) / "plan").read_text()
    assert "unpublished acme/photos\n" == store.says("bucket", "unpublish", "acme/photos")
    assert not (files(store) / "plan").exists()
    assert "first" == store.get("acme/photos", "plan")


def test_a_tree_is_adopted(store: Store, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "a/empty").mkdir(parents=True)
    (tree / "a/b").write_text("by path")
    adopt = ("bucket", "adopt", str(tree), "acme/photos")

    planned = store.json(*adopt, "--dry-run")
    assert (1, len("by path"), True) == (
        planned["adopted"],
        planned["adopted_bytes"],
        planned["dry_run"],
    )
    assert {**planned, "dry_run": False} == store.json(*adopt)

    assert "by path" == store.get("acme/photos", "a/b")
    assert "by path" == (tree / "a/b").read_text()
    assert store.says(*adopt).startswith("adopted 0 files, 0 B; 1 were there")


def test_what_is_left_out_is_told_and_status_1(store: Store, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    os.mkfifo(tree / "pipe")

    status, out, err = store.run("bucket", "adopt", str(tree), "acme/photos")

    assert 1 == status
    assert out.endswith("1 left out\n")
    assert err.startswith("left out pipe: ")


def test_wrong_names_are_refused(store: Store, tmp_path: Path) -> None:
    for command in (("publish",), ("unpublish",), ("adopt", str(tmp_path))):
        for bucket in ("acme", "acme/none", "nobody/photos", "acme/"):
            assert store.refused("bucket", *command, bucket)
            assert store.refused("bucket", *command, bucket, "--dry-run")
    assert store.refused("bucket", "adopt", str(tmp_path / "none"), "acme/photos")


def test_names_that_are_no_utf8_can_be_printed(store: Store, tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"tree\xff")).mkdir()
    (tmp_path / os.fsdecode(b"tree\xff/\xff\n")).write_bytes(b"x")
    adopt = ("bucket", "adopt", os.fsdecode(os.fsencode(tmp_path) + b"/tree\xff"), "acme/photos")
    status, out, err = store.run(*adopt, "--json")
    assert 1 == status
    (problem,) = json.loads(out)["problems"]
    assert {"path": "\\udcff\\n", "reason": "it is no valid UTF-8"} == problem
    assert 1 == err.count("\n")


def test_the_files_themselves(store: Store, tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree/a").write_text("by link")
    store.says("bucket", "adopt", "--link", str(tmp_path / "tree"), "acme/photos")
    assert 0o444 == (tmp_path / "tree/a").stat().st_mode & 0o777
    store.says("bucket", "publish", "acme/photos")
    assert (tmp_path / "tree/a").samefile(files(store) / "a")
