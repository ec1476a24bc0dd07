"""One instance per module and process, replaced when the catalog says so."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import pytest

from modules.errors import ConfigurationError, ModuleLoadError, Unavailable
from zfsstore.host.catalog import Catalog, VendorModule
from zfsstore.host.errors import CodeChanged
from zfsstore.host.registry import ModuleRegistry

CODE = """
from simple.simple import SimpleStorage

class Store(SimpleStorage):
    code = {number}
"""


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    opened = Catalog(f"sqlite:///{tmp_path}/catalog.db")
    yield opened
    opened.close()


def simple(directory: Path, label: str = "") -> VendorModule:
    return VendorModule("m", "simple.simple.SimpleStorage", label, {"storage_dir": str(directory)})


def write_code(folder: Path, package: str, number: int) -> None:
    (folder / package).mkdir(parents=True, exist_ok=True)
    (folder / package / "__init__.py").write_text(CODE.format(number=number))


def test_one_instance_until_it_changes(catalog: Catalog, tmp_path: Path) -> None:
    catalog.set_module(simple(tmp_path / "one"))
    registry = ModuleRegistry(catalog)
    first = registry.get("m")
    assert registry.get("m") is first
    catalog.set_module(simple(tmp_path / "one", label="another label"))
    registry.follow()
    assert registry.get("m") is first
    stored = first.put({}, io.BytesIO(b"x"))
    catalog.set_module(simple(tmp_path / "two"))
    registry.follow()
    second = registry.get("m")
    assert second is not first
    assert not second.available({}, stored)
    assert first.get_read_stream({}, stored).read(1) == b"x"  # for requests still using it


def test_without_requests_a_change_is_seen_in_time(
    catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Upkeep and sweeps ask for modules and know no requests."""
    catalog.set_module(simple(tmp_path / "one"))
    registry = ModuleRegistry(catalog)
    first = registry.get("m")
    catalog.set_module(simple(tmp_path / "two"))
    monkeypatch.setattr("zfsstore.host.registry.FOLLOW_S", -1.0)
    assert registry.get("m") is not first


def test_unknown_and_removed(catalog: Catalog, tmp_path: Path) -> None:
    registry = ModuleRegistry(catalog)
    registry.load_all()
    with pytest.raises(ConfigurationError, match="absent"):
        registry.get("absent")
    catalog.set_module(simple(tmp_path))
    registry.get("m")
    catalog.delete_module("m")
    registry.follow()
    with pytest.raises(ConfigurationError):
        registry.get("m")


def test_a_broken_module_harms_no_other(catalog: Catalog, tmp_path: Path) -> None:
    catalog.set_module(simple(tmp_path))
    catalog.set_module(
        VendorModule("broken", "absent.absent.Absent", "", {"secret": "hunter2hunter2"})
    )
    registry = ModuleRegistry(catalog)
    registry.load_all()
    registry.get("m")
    for _ in range(2):
        with pytest.raises(ModuleLoadError, match=r"absent\.absent") as caught:
            registry.get("broken")
        assert "hunter2hunter2" not in str(caught.value)


def test_a_wrapper_reaches_its_inner_module(catalog: Catalog, tmp_path: Path) -> None:
    catalog.set_module(simple(tmp_path))
    registry = ModuleRegistry(catalog)
    context = registry.context(tenant="acme")
    assert context["func"]["getModule"]("m") is registry.get("m")
    assert context["tenant"] == "acme"


def test_a_wrapper_is_replaced_with_its_inner_module(catalog: Catalog, tmp_path: Path) -> None:
    catalog.set_module(simple(tmp_path / "one"))
    for name, inner in (("wrapper", "m"), ("outer", "wrapper")):
        catalog.set_module(
            VendorModule(name, "tests.wrappers.plain.PlainWrapper", "", {"inner": inner}, ())
        )
    registry = ModuleRegistry(catalog)
    before = registry.get("outer")
    made = before.put({}, io.BytesIO(b"x"))
    assert before is registry.get("outer")
    catalog.set_module(simple(tmp_path / "two"))
    registry.follow()
    assert not registry.get("outer").available({}, made)
    assert before.available({}, made), "requests under way keep the instance they have"


def test_modules_that_wrap_each_other_are_refused(catalog: Catalog) -> None:
    for name, inner in (("a", "b"), ("b", "a"), ("c", "absent")):
        catalog.set_module(
            VendorModule(name, "tests.wrappers.plain.PlainWrapper", "", {"inner": inner}, ())
        )
    registry = ModuleRegistry(catalog)
    with pytest.raises(ModuleLoadError, match="a -> b -> a"):
        registry.get("a")
    with pytest.raises(ModuleLoadError, match="there is no vendor module of this name"):
        registry.get("c")


def test_changed_code(catalog: Catalog, tmp_path: Path) -> None:
    """Two registries stand for two processes; Python's own import cache is shared here."""
    folder = tmp_path / "python"
    write_code(folder, "changing_vendor", 1)
    spec = VendorModule(
        "m",
        "changing_vendor.Store",
        "",
        {"storage_dir": str(tmp_path / "objects")},
        (str(folder),),
    )
    ours, theirs = ModuleRegistry(catalog), ModuleRegistry(catalog)
    ours.load_all()
    theirs.load_all()
    _, digests = ours.try_load(spec)
    accepted = VendorModule("m", spec.module, "", spec.args, spec.python_path, digests)
    catalog.set_module(accepted)
    assert ours.get("m").code == 1  # type: ignore[attr-defined]
    write_code(folder, "changing_vendor", 2)
    for registry in (ours, theirs):  # theirs never loaded the old code, and must not mix
        with pytest.raises(CodeChanged, match="zfsstore reload"):
            registry.try_load(spec)
    with pytest.raises(Unavailable, match="zfsstore reload"):
        theirs.get("m")
    assert ours.get("m").code == 1  # type: ignore[attr-defined]
    assert catalog.get_module("m").code_digests == digests
    _, newer = ModuleRegistry(catalog, is_code_recorded=False).try_load(spec)
    assert newer != digests


def test_what_cannot_be_loaded_is_tried_again(
    catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zfsstore.host.registry.RETRY_S", 0.0)
    folder = tmp_path / "python"
    spec = VendorModule(
        "m", "late_vendor.Store", "", {"storage_dir": str(tmp_path / "o")}, (str(folder),)
    )
    catalog.set_module(spec)
    registry = ModuleRegistry(catalog)
    registry.load_all()
    with pytest.raises(ModuleLoadError, match="does not exist"):
        registry.get("m")
    write_code(folder, "late_vendor", 1)
    assert registry.get("m").code == 1  # type: ignore[attr-defined]
