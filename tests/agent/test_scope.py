"""What the agent may be asked to touch."""

from __future__ import annotations

import pytest

from modules.errors import InvalidArgument, PermissionDenied, StorageError
from zfsstore.agent import grammar
from zfsstore.agent.scope import Scope
from zfsstore.volumes.datasets import creation_properties
from zfsstore.zfs import commands, pool_commands

SCOPE = Scope(("tank/objects", "tank/more"))

CREATED = creation_properties("0b1e", "acme", 2**30)


def authorise(*argv: str) -> None:
    SCOPE.authorise(grammar.parse(argv))


@pytest.mark.parametrize(
    "argv",
    [
        commands.create_argv("tank/objects/acme", CREATED),
        commands.create_argv("tank/objects/.trash", {"canmount": "off", "mountpoint": "none"}),
        commands.create_argv(
            "tank/objects/e",
            {"encryption": "on", "keyformat": "raw", **CREATED, "keylocation": "prompt"},
        ),
        ["zfs", "snapshot", "-r", "tank/objects@monday"],
        ["zfs", "set", "zfsstore:note=x", "tank/objects"],
        ["zfs", "set", "quota=none", "tank/objects/acme"],
        ["zfs", "set", "readonly=off", "tank/objects/acme"],
        ["zfs", "rename", "tank/objects/acme", "tank/objects/.trash/x"],
        ["zfs", "destroy", "tank/objects@monday"],
        commands.get_argv(["tank/more"], ["all"]),
        ["zfs", "inherit", "quota", "tank/objects/acme"],
        ["zpool", "status", "-p", "tank"],
    ],
)  # fmt: skip
def test_what_volumes_need_is_allowed(argv: list[str]) -> None:
    authorise(*argv)


@pytest.mark.parametrize(
    "argv",
    [
        ["zfs", "create", "tank"],
        ["zfs", "create", "tank/objects"],
        ["zfs", "create", "tank/objectsx/y"],
        ["zfs", "create", "other/objects/acme"],
        ["zfs", "destroy", "-r", "tank"],
        ["zfs", "destroy", "-r", "tank/objects"],
        ["zfs", "destroy", "tank@monday"],
        ["zfs", "destroy", "rpool/ROOT/debian"],
        ["zfs", "set", "quota=none", "tank/objects"],
        ["zfs", "set", "zfsstore:x=y", "tank"],
        ["zfs", "inherit", "quota", "tank/objects"],
        ["zfs", "inherit", "-S", "mountpoint", "tank/objects/acme"],
        ["zfs", "rename", "tank/objects/acme", "tank/acme"],
        ["zfs", "rename", "tank/home", "tank/objects/home"],
        ["zfs", "rename", "tank/objects", "tank/objects2"],
        ["zfs", "rename", "tank/objects/acme", "tank/more/acme"],
        ["zfs", "clone", "tank/home@monday", "tank/objects/stolen"],
        ["zfs", "clone", "tank/objects@monday", "tank/out"],
        ["zfs", "snapshot", "tank/objects@a", "tank/home@a"],
        ["zfs", "rollback", "tank/home@monday"],
        ["zfs", "mount", "tank/objects"],
        ["zfs", "unmount", "tank/home"],
        ["zfs", "promote", "tank/home"],
        ["zfs", "hold", "keep", "tank/home@monday"],
        ["zfs", "bookmark", "tank/objects@a", "tank/home#a"],
        ["zfs", "send", "tank/home@monday"],
        ["zfs", "send", "-i", "tank/home@sunday", "tank/objects@monday"],
        ["zfs", "receive", "-u", "tank/objects"],
        ["zfs", "receive", "-u", "tank/home"],
        ["zfs", "unload-key", "tank/home"],
        pool_commands.list_argv(["rpool"]),
        ["zfs", "list", "-Hp", "-r", "-t", "filesystem", "-o", "name", "tank"],
    ],
)  # fmt: skip
def test_what_is_not_below_a_root_is_refused(argv: list[str]) -> None:
    with pytest.raises(PermissionDenied):
        authorise(*argv)


@pytest.mark.parametrize(
    "pair",
    [
        *("mountpoint=/etc", "mountpoint=none", "canmount=on", "setuid=on", "exec=on"),
        *("devices=on", "sharenfs=on", "sharesmb=on", "overlay=on", "zoned=on", "sync=disabled"),
        *("keylocation=file:///etc/shadow", "context=system_u:object_r:etc_t:s0", "com.sun:auto=1"),
        *("userquota@bob=1G", "volsize=1G", "checksum=off", "snapdir=disabled", "atime=on"),
        *("encryption=on", "keylocation=prompt"),
    ],
)
@pytest.mark.parametrize(
    "command", ["set {} tank/objects/acme", "clone -o {} tank/objects/a@b tank/objects/c",
                "receive -u -o {} tank/objects/c"],
)  # fmt: skip
def test_an_unlisted_property_is_refused(command: str, pair: str) -> None:
    with pytest.raises(StorageError) as caught:
        authorise("zfs", *command.format(pair).split())
    assert isinstance(caught.value, PermissionDenied | InvalidArgument)


@pytest.mark.parametrize(
    "pairs",
    [
        {"mountpoint": "/etc"},
        {"mountpoint": "none"},
        {"mountpoint": "/etc", "canmount": "off"},
        {"keylocation": "file:///etc/shadow"},
        {"keylocation": "https://example.org/key"},
        {"setuid": "on"},
        {"canmount": "on"},
    ],
)
def test_a_volume_is_not_created_with(pairs: dict[str, str]) -> None:
    with pytest.raises((PermissionDenied, InvalidArgument)):
        authorise(*commands.create_argv("tank/objects/acme", pairs))
