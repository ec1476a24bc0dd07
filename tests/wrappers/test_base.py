"""What a wrapper passes on, to whom it is bound, and what the suite says of one."""

from __future__ import annotations

import unittest
from collections.abc import Mapping
from datetime import timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from modules import StorageModule, extensions
from modules.conformance import QUICK, ModuleSpec, StorageModuleSuite
from modules.conformance.spec import Modules
from modules.errors import ConfigurationError, InvalidArgument, ModuleLoadError
from modules.wrappers import Wrapper
from tests.wrappers.plain import PlainWrapper
from zfsstore import ZFSStorage

PLAIN = "tests.wrappers.plain.PlainWrapper"
CONTRACTS = {
    extensions.SupportsVolumes: True,
    extensions.SupportsStateDir: True,
    extensions.SupportsFence: True,
    extensions.SupportsVolumeIdentity: True,
    extensions.NeedsVolumeIdentity: True,
    extensions.SupportsSweep: True,
    extensions.SupportsCopy: False,
    extensions.SupportsPublish: False,
}


def simple_at(path: Path) -> ModuleSpec:
    return ModuleSpec("simple.simple.SimpleStorage", {"storage_dir": str(path)})


def zfs_at(path: Path) -> ModuleSpec:
    return ModuleSpec("zfsstore.ZFSStorage", {"directory": str(path)})


def wrapped(inner: ModuleSpec) -> tuple[StorageModule, Modules]:
    modules = Modules({"leaf": inner, "wrapper": ModuleSpec(PLAIN, {"inner": "leaf"})})
    return modules.get("wrapper"), modules


def test_wrapper_offers_what_its_inner_module_offers(tmp_path: Path) -> None:
    wrapper, modules = wrapped(zfs_at(tmp_path))
    leaf = modules.get("leaf")
    assert isinstance(leaf, ZFSStorage)
    offered = {contract: isinstance(wrapper, contract) for contract in CONTRACTS}
    assert CONTRACTS == offered
    assert isinstance(wrapper, extensions.SupportsVolumes)
    assert wrapper.volumes is leaf.volumes
    assert isinstance(wrapper, extensions.NeedsVolumeIdentity)
    assert wrapper.needs_volume_identity
    assert leaf.identity({}) == wrapper.identity({})


def test_wrapper_of_a_plain_module_offers_nothing(tmp_path: Path) -> None:
    wrapper, _ = wrapped(simple_at(tmp_path))
    assert not any(isinstance(wrapper, contract) for contract in CONTRACTS)


def test_wrapper_around_a_wrapper_offers_the_same(tmp_path: Path) -> None:
    modules = Modules(
        {
            "outer": ModuleSpec(PLAIN, {"inner": "middle"}),
            "middle": ModuleSpec(PLAIN, {"inner": "leaf"}),
            "leaf": zfs_at(tmp_path),
        }
    )
    offered = {contract: isinstance(modules.get("outer"), contract) for contract in CONTRACTS}
    assert CONTRACTS == offered
    made = modules.get("outer").put({}, BytesIO(b"x"))
    assert made.startswith("p:p:z1:")
    outer: Any = modules.get("outer")
    assert () == outer.sweep({}, [made], older_than=timedelta(0)).missing
    modules.get("outer").delete({}, made)
    assert (made,) == outer.sweep({}, [made], older_than=timedelta(0)).missing


def test_unbound_wrapper_finds_its_inner_module_through_the_context(tmp_path: Path) -> None:
    modules = Modules({"leaf": zfs_at(tmp_path)})
    wrapper = PlainWrapper(inner="leaf")
    assert not any(isinstance(wrapper, contract) for contract in CONTRACTS)
    made = wrapper.put(modules.context({}), BytesIO(b"x"))
    assert wrapper.available(modules.context({}), made)
    with pytest.raises(ConfigurationError, match="offers no getModule"):
        wrapper.available({}, made)


@pytest.mark.parametrize(
    ("specs", "message"),
    [
        ({"a": ModuleSpec(PLAIN, {"inner": "a"})}, "it wraps itself"),
        (
            {"a": ModuleSpec(PLAIN, {"inner": "b"}), "b": ModuleSpec(PLAIN, {"inner": "a"})},
            "it wraps itself",
        ),
        ({"a": ModuleSpec(PLAIN, {"inner": "absent"})}, "the known modules are a"),
    ],
)
def test_recursion_and_an_absent_inner_module(specs: dict[str, ModuleSpec], message: str) -> None:
    with pytest.raises(ModuleLoadError, match=message):
        Modules(specs)


@pytest.mark.parametrize("args", [{"inner": ""}, {"inner": 3}, {"inner": "a", "key_domain": "\n"}])
def test_wrong_arguments(args: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        Wrapper(**args)


def test_key_domain_comes_from_the_context_then_the_volume_then_the_arguments(
    tmp_path: Path,
) -> None:
    on_volumes, _ = wrapped(zfs_at(tmp_path / "z"))
    plain, _ = wrapped(simple_at(tmp_path / "s"))
    assert isinstance(on_volumes, PlainWrapper)
    assert isinstance(plain, PlainWrapper)
    assert on_volumes.key_domain({"key_domain": "d1"}) == "d1"
    assert len(on_volumes.key_domain({})) == 32
    assert plain.key_domain({}) == "default"
    with pytest.raises(InvalidArgument, match=r"context\.key_domain|printable"):
        plain.key_domain({"key_domain": "a\0b"})


@pytest.mark.slow
class TestPlainWrapperOnDirectories(StorageModuleSuite, unittest.TestCase):
    module = PLAIN
    scale = QUICK

    @classmethod
    def arguments(cls, directory: str) -> Mapping[str, Any]:
        return {"inner": "leaf"}

    @classmethod
    def inner_modules(cls, directory: str) -> Mapping[str, ModuleSpec]:
        return {"leaf": zfs_at(Path(directory, "objects"))}
