"""The loader: every failure names the entry, the class or the argument that is wrong."""

from __future__ import annotations

import sys
import textwrap
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from modules.errors import ModuleLoadError
from modules.loader import check_entry, entry_digest, load_class, load_module

GOOD = """
    from modules import StorageModule

    class Store(StorageModule):
        def __init__(self, folder, size=1):
            if size < 0:
                raise ValueError("size must not be negative")
            self.folder = folder
        def available(self, context, module_data): return False
        def put(self, context, stream): return "x"
        def get_read_stream(self, context, module_data): raise KeyError
        def delete(self, context, module_data): pass
        def statistics(self, context): return {}
        def capabilities(self, context): return {}

    class NoDelete(Store):
        delete = None

    class OneArgumentPut(Store):
        def put(self, stream): return "x"

    class Inherits(StorageModule):
        pass

    def function(): pass
"""


@pytest.fixture(autouse=True)
def _clean_imports() -> Iterator[None]:
    path, modules = list(sys.path), set(sys.modules)
    yield
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        del sys.modules[name]


@pytest.fixture
def folder(tmp_path: Path) -> str:
    package = tmp_path / "vendor_package"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "good.py").write_text(textwrap.dedent(GOOD))
    (package / "broken.py").write_text("1 / 0\n")
    (package / "needy.py").write_text("import a_library_nobody_has\n")
    return str(tmp_path)


def test_loads_from_a_folder(folder: str) -> None:
    module = load_module("vendor_package.good.Store", {"folder": "/x"}, python_path=[folder])
    assert module.folder == "/x"  # type: ignore[attr-defined]  # the vendor's own attribute


@pytest.mark.parametrize("suffix", [".egg", ".whl"])
def test_loads_from_an_archive(folder: str, tmp_path: Path, suffix: str) -> None:
    archive = tmp_path / f"vendor{suffix}"
    with zipfile.ZipFile(archive, "w") as out:
        for name in ("__init__.py", "good.py"):
            out.write(Path(folder, "vendor_package", name), f"vendor_package/{name}")
    loaded = load_class("vendor_package.good.Store", python_path=[str(archive)])
    assert str(archive) in str(sys.modules[loaded.__module__].__file__)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("Store", "no dotted name"),
        ("", "no dotted name"),
        ("vendor_package..Store", "no dotted name"),
        ("vendor_package.good/../Store", "no dotted name"),
        ("vendor_package.absent.Store", "no module vendor_package.absent"),
        ("absent_package.good.Store", "no module absent_package"),
        ("vendor_package.good.Absent", "has no class Absent"),
        ("vendor_package.good.function", "not a class"),
        ("vendor_package.broken.Store", "raised ZeroDivisionError"),
        ("vendor_package.needy.Store", "needs a_library_nobody_has"),
        ("vendor_package.good.NoDelete", "add delete(self, context, module_data)"),
        ("vendor_package.good.OneArgumentPut", "make it put(self, context, stream)"),
        ("vendor_package.good.Inherits", "it has no method available"),
    ],
)
def test_a_wrong_class_is_named_with_the_reason(folder: str, name: str, says: str) -> None:
    with pytest.raises(ModuleLoadError) as caught:
        load_class(name, python_path=[folder])
    assert says in str(caught.value)
    assert caught.value.field == "module"


@pytest.mark.parametrize(
    ("args", "says"),
    [
        ({}, "missing a required argument: 'folder'"),
        ({"folder": "/x", "colour": 1}, "unexpected keyword argument 'colour'"),
        ({"folder": "/x", "size": -1}, "size must not be negative"),
    ],
)
def test_a_wrong_argument_is_named(folder: str, args: dict[str, object], says: str) -> None:
    with pytest.raises(ModuleLoadError) as caught:
        load_module("vendor_package.good.Store", args, python_path=[folder])
    assert says in str(caught.value)
    assert caught.value.field == "args"


def test_a_wrong_argument_shows_the_constructor(folder: str) -> None:
    with pytest.raises(ModuleLoadError, match=r"Store\(folder, size=1\)"):
        load_module("vendor_package.good.Store", {}, python_path=[folder])


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ("relative/path", "no absolute path"),
        ("/nul\0byte", "no absolute path"),
        ("/absent/x.egg", "does not exist"),
        ("TEXT", "no zip archive"),
        ("ODD", "ends in none of"),
    ],
)
def test_a_wrong_entry_is_named(tmp_path: Path, entry: str, says: str) -> None:
    (tmp_path / "x.egg").write_text("no zip")
    with zipfile.ZipFile(tmp_path / "x.tar", "w") as out:
        out.writestr("a.py", "")
    actual = {"TEXT": str(tmp_path / "x.egg"), "ODD": str(tmp_path / "x.tar")}.get(entry, entry)
    with pytest.raises(ModuleLoadError) as caught:
        check_entry(actual)
    assert says in str(caught.value)
    assert caught.value.field == "python_path"
    assert repr(actual) in str(caught.value)


def test_digest_of_a_folder_changes_with_its_code_only(folder: str) -> None:
    before = entry_digest(folder)
    Path(folder, "notes.txt").write_text("no code")
    assert entry_digest(folder) == before
    Path(folder, "vendor_package", "good.py").write_text("changed = True\n")
    assert entry_digest(folder) != before
