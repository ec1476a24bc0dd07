"""Exports through the property sharenfs."""

from __future__ import annotations

import pytest

from modules.errors import InvalidArgument, NotSupported
from tests.exports.recording import Recorder
from zfsstore.exports import Export, SharenfsExports

UUID = "0c1a2b3c-4d5e-6f70-8192-a3b4c5d6e7f8"
EXPORT = Export(name="v1", uuid=UUID, dataset="p/v1", path="/srv/v1", fsid=UUID)
VALUE = f"rw=10.0.0.0/8:h1:[2001:db8::]/32,sync,no_subtree_check,root_squash,crossmnt,fsid={UUID}"
GET = ["zfs", "get", "-H", "-o", "value", "sharenfs", "p/v1"]
OFF = ["zfs", "set", "sharenfs=off", "p/v1"]
ON = ["zfs", "set", f"sharenfs={VALUE}", "p/v1"]


def test_export_sets_the_property() -> None:
    run = Recorder()
    SharenfsExports(run, ("10.0.0.0/8", "h1", "2001:db8::/32")).export(EXPORT)
    assert [ON] == run.argvs


def test_read_only() -> None:
    run = Recorder()
    SharenfsExports(run, ("h1",), options=("ro", "sync")).export(EXPORT)
    assert [["zfs", "set", f"sharenfs=ro=h1,sync,fsid={UUID}", "p/v1"]] == run.argvs


def test_read_only_and_writable_at_once_is_refused() -> None:
    with pytest.raises(InvalidArgument):
        SharenfsExports(Recorder(), ("h1",), options=("ro", "rw"))


def test_netgroups_are_refused() -> None:
    with pytest.raises(NotSupported) as caught:
        SharenfsExports(Recorder(), ("@group",))
    assert "netgroups" == caught.value.capability


def test_withdrawn_turns_it_off_and_leaves_it_off() -> None:
    run = Recorder(zfsget=VALUE + "\n")
    with SharenfsExports(run, ("h1",)).withdrawn(EXPORT):
        pass
    assert [GET, OFF] == run.argvs


def test_set_as_it_was_when_the_block_fails() -> None:
    run = Recorder(zfsget=VALUE + "\n")
    with pytest.raises(ZeroDivisionError), SharenfsExports(run, ("h1",)).withdrawn(EXPORT):
        raise ZeroDivisionError
    assert [GET, OFF, ON] == run.argvs


def test_what_is_off_is_left_alone() -> None:
    run = Recorder(zfsget="off\n")
    target = SharenfsExports(run, ("h1",))
    with target.withdrawn(EXPORT):
        assert not target.is_exported(EXPORT)
    assert [GET, GET] == run.argvs
