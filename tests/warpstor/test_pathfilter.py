"""Keeping only some paths of a tree."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from modules.errors import InvalidArgument
from zfsstore.warpstor.pathfilter import PathFilter

TREE = ["a.txt", "b.log", "src/main.c", "src/deep/x.txt", "src/deep/y.log", "out/x.o", "out/[1]"]


def kept(root: Path, include: list[str] | str = (), exclude: list[str] | str = ()) -> list[str]:
    """Build the tree, filter it, and return what files are left."""
    for name in TREE:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    (root / "empty").mkdir()
    PathFilter(include, exclude).apply(str(root))
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


@pytest.mark.parametrize(
    ("include", "exclude", "expected"),
    [
        ([], [], sorted(TREE)),
        (["*.txt"], [], ["a.txt", "src/deep/x.txt"]),
        ("*.txt", [], ["a.txt", "src/deep/x.txt"]),
        (["/*.txt"], [], ["a.txt"]),
        (["src"], [], ["src/deep/x.txt", "src/deep/y.log", "src/main.c"]),
        (["src/"], ["*.log"], ["src/deep/x.txt", "src/main.c"]),
        (["deep"], [], ["src/deep/x.txt", "src/deep/y.log"]),
        (["src/*/x.txt"], [], ["src/deep/x.txt"]),
        (["src/*"], ["src/deep"], ["src/main.c"]),
        (["**/x.*"], [], ["out/x.o", "src/deep/x.txt"]),
        (["src/**"], [], ["src/deep/x.txt", "src/deep/y.log", "src/main.c"]),
        (["[ab].*"], [], ["a.txt", "b.log"]),
        (["[!b].txt"], [], ["a.txt", "src/deep/x.txt"]),
        (["?.log"], [], ["b.log", "src/deep/y.log"]),
        (["out/[[]1]"], [], ["out/[1]"]),
        ([], ["*"], []),
        ([], ["src"], ["a.txt", "b.log", "out/[1]", "out/x.o"]),
        (["nothing"], [], []),
    ],
)
def test_patterns(
    tmp_path: Path, include: list[str], exclude: list[str], expected: list[str]
) -> None:
    assert expected == kept(tmp_path, include, exclude)


def test_directories_without_anything_to_keep_go(tmp_path: Path) -> None:
    kept(tmp_path, ["src/main.c"])
    assert ["src"] == os.listdir(tmp_path)
    assert ["main.c"] == os.listdir(tmp_path / "src")


def test_an_empty_directory_that_is_included_stays(tmp_path: Path) -> None:
    kept(tmp_path, ["empty"])
    assert ["empty"] == os.listdir(tmp_path)


def test_symbolic_links_are_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").write_text("kept")
    root = tmp_path / "root"
    root.mkdir()
    (root / "link").symlink_to(outside)
    (root / "dangling").symlink_to("nowhere")
    assert 2 == PathFilter(["nothing"]).apply(str(root))
    assert ["kept"] == os.listdir(outside)
    (tmp_path / "link").symlink_to(outside)
    with pytest.raises(OSError, match="link"):
        PathFilter(["nothing"]).apply(str(tmp_path / "link"))


def test_names_with_odd_bytes(tmp_path: Path) -> None:
    for name in (b"new\nline.txt", b"\xff.txt", b"\xff.log", b"star*"):
        Path(os.fsdecode(os.path.join(os.fsencode(tmp_path), name))).touch()
    PathFilter(["*.txt"]).apply(str(tmp_path))
    assert [b"new\nline.txt", b"\xff.txt"] == sorted(os.listdir(os.fsencode(tmp_path)))


@pytest.mark.parametrize("pattern", ["", "/", "..", "a/../b", "a\0b", None, 7, "[z-a]"])
def test_wrong_patterns(pattern: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        PathFilter([pattern])
    assert "include" == caught.value.field
