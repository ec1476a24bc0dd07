"""Whose a dataset is, and that a uuid finds the volume that carries it, or nothing."""

from __future__ import annotations

import pytest

from modules.errors import (
    CommandFailed,
    ConfigurationError,
    InvalidArgument,
    PermissionDenied,
    Unavailable,
    VolumeNotFound,
)
from tests.backend.scripted import C1, LIST_POOL, V1, Script, knowing, list_one, populated, row
from zfsstore import ZfsBackend

OTHER = "33333333-3333-4333-8333-333333333333"
GONE = "cannot open 'p/v1': dataset does not exist\n"


def test_a_volume_renamed_by_somebody_is_found_under_its_new_name() -> None:
    script = populated()
    backend = knowing(script)
    script.fail("list", "p/v1", stderr=GONE)
    script.say("list", "p", stdout=row("p") + row("p/v2", V1))
    found = backend.get_volume(V1)
    assert found is not None
    assert "v2" == found["name"]
    assert [list_one("p/v1"), LIST_POOL] == script.taken()


def test_another_volume_under_the_old_name_is_left_alone() -> None:
    script = populated()
    backend = knowing(script)
    script.say("list", "p/v1", stdout=row("p/v1", OTHER))
    script.say("list", "p", stdout=row("p") + row("p/v1", OTHER))
    with pytest.raises(VolumeNotFound):
        backend.delete_volume(V1)
    assert [list_one("p/v1"), LIST_POOL] == script.taken()


def test_a_volume_destroyed_by_somebody_is_gone() -> None:
    script = populated()
    backend = knowing(script)
    script.fail("list", "p/v1", stderr=GONE)
    script.say("list", "p", stdout=row("p"))
    assert backend.get_volume(V1) is None
    for call in (
        backend.delete_volume,
        backend.access_handle,
        backend.list_snapshots,
        backend.patch_volume,
    ):
        with pytest.raises(VolumeNotFound):
            call(V1)


def test_not_found_only_when_it_is_not_found() -> None:
    script = populated()
    backend = knowing(script)
    script.fail("list", stderr="cannot open 'p/v1': permission denied\n")
    with pytest.raises(PermissionDenied):
        backend.get_volume(V1)
    script.fail("list", stderr="internal error: out of memory\n")
    with pytest.raises(CommandFailed):
        backend.get_volume(V1)


def test_a_missing_pool_is_no_empty_one() -> None:
    script = Script()
    script.fail("list", stderr="cannot open 'p': dataset does not exist\n")
    backend = ZfsBackend(pool="p", runner=script)
    with pytest.raises(Unavailable):
        backend.list_volumes()
    with pytest.raises(Unavailable):
        backend.get_volume(V1)


@pytest.mark.parametrize("uuid", ["junk", "", "p/v1", None, 7])
def test_what_is_no_uuid_is_an_invalid_argument(uuid: str) -> None:
    backend = knowing(populated())
    with pytest.raises(InvalidArgument):
        backend.get_volume(uuid)
    with pytest.raises(InvalidArgument):
        backend.get_snapshot(V1, uuid)


def test_datasets_without_a_uuid_of_their_own_are_no_volumes() -> None:
    script = Script()
    script.say("list", "p", stdout=row("p", OTHER) + row("p/byhand", OTHER) + row("p/v1", V1))
    assert [V1] == [volume["uuid"] for volume in ZfsBackend(pool="p", runner=script).list_volumes()]


def test_tenants_of_an_object_store_are_no_volumes() -> None:
    script = Script()
    script.say("list", "p", stdout=row("p") + row("p/acme", OTHER, store_name="acme"))
    assert [] == ZfsBackend(pool="p", runner=script).list_volumes()


def test_a_tenant_of_an_object_store_is_no_pool() -> None:
    script = Script()
    script.say("list", "p", stdout=row("p", OTHER, store_name="acme") + row("p/v1", V1))
    with pytest.raises(ConfigurationError):
        ZfsBackend(pool="p", runner=script).list_volumes()


def test_a_uuid_that_appears_twice_stays_with_the_older_volume() -> None:
    script = Script()
    copy = row("p/copy", V1, createtxg="99")
    script.say("list", "p", stdout=row("p") + copy + row("p/v1", V1, createtxg="7"))
    volumes = ZfsBackend(pool="p", runner=script).list_volumes()
    assert ["copy", "v1"] == [volume["name"] for volume in volumes]
    new, old = (volume["uuid"] for volume in volumes)
    assert V1 == old
    assert ["zfs", "set", f"zfsstore:uuid={new}", "p/copy"] == script.taken()[-1]


def test_states() -> None:
    script = Script()
    offline = row("p/v1", V1, mounted="no")
    script.say("list", "p", stdout=row("p") + row("p/c1", C1, readonly="on") + offline)
    replica, volume = ZfsBackend(pool="p", runner=script).list_volumes()
    assert ("online", "dp") == (replica["state"], replica["vol_type"])
    assert ("offline", "rw") == (volume["state"], volume["vol_type"])


def test_a_clone_of_another_pools_child_names_it_in_full() -> None:
    script = Script()
    script.say("list", "p", stdout=row("p") + row("p/c1", C1, origin="p2/v@s"))
    (clone,) = ZfsBackend(pool="p", runner=script).list_volumes()
    assert {"parent_volume": "p2/v", "parent_snapshot": "s"} == clone["clone"]


def test_output_that_is_not_understood_is_an_error() -> None:
    script = Script()
    script.say("list", "p", stdout=row("p") + "p/v1\tjunk\n")
    with pytest.raises(CommandFailed):
        ZfsBackend(pool="p", runner=script).list_volumes()


def test_a_runner_that_raises_or_returns_junk_is_a_failed_command() -> None:
    def raising(argv: object) -> None:
        raise ZeroDivisionError

    for runner in (raising, lambda argv: None, lambda argv: {"success": "yes"}):
        with pytest.raises(CommandFailed):
            ZfsBackend(pool="p", runner=runner).list_volumes()  # type: ignore[arg-type]


def test_usage() -> None:
    script = populated()
    usage = {"used_bytes": 98304, "available_bytes": 1000000, "size_bytes": 2147483648}
    assert usage == knowing(script).usage(V1)
