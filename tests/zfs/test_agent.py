"""The agent as root with the capabilities of its unit: what it does, and what it must not do."""

from __future__ import annotations

import os
import secrets
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from modules.errors import Busy, PermissionDenied, StorageError, Unavailable
from tests.host.serving import wait_until
from tests.zfs.agents import NOBODY, RunningAgent, running_agent
from tests.zfs.client import exists
from tests.zfs.datasets import destroy_tree, run, value, zfs
from tests.zfs.nfsserver import is_possible, mounted, serving
from zfsstore.agent.exports import AgentExports
from zfsstore.agent.mounts import read_mounts
from zfsstore.exports import Export
from zfsstore.volumes.datasets import creation_properties
from zfsstore.zfs.client import ZfsClient
from zfsstore.zfs.errors import KeyNotLoaded
from zfsstore.zfs.stream_commands import SendFlags
from zfsstore.zfs.transfer import copy_stream

pytestmark = pytest.mark.zfs

UUID = "5d3e9c57-8c4e-4f5e-9d2b-6f1a2b3c4d5e"


@pytest.fixture(scope="module")
def agent(pool: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningAgent]:
    root = f"{pool}/agent-{secrets.token_hex(4)}"
    zfs("create", root)
    os.chown(value(root, "mountpoint"), NOBODY, NOBODY)
    try:
        with running_agent(root, tmp_path_factory.mktemp("agent")) as started:
            yield started
    finally:
        destroy_tree(root)


@pytest.fixture
def volume(agent: RunningAgent) -> str:
    """A new dataset, made through the agent."""
    name = f"{agent.root}/v{secrets.token_hex(4)}"
    agent.client.create(name, creation_properties(UUID, "v", None))
    return name


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    """A directory that stands for /etc."""
    path = tmp_path / "etc"
    path.mkdir()
    (path / "passwd").write_text("root")
    return path


def receive(content: bytes, dataset: str) -> None:
    with ZfsClient().open_receive(dataset, resumable=True) as sink:
        sink.write(content)
        sink.finish()


def path_of(dataset: str) -> Path:
    return Path(value(dataset, "mountpoint"))


def is_mounted(dataset: str) -> bool:
    return value(dataset, "mounted") == "yes"


def test_a_new_volume_is_the_hosts_and_has_no_powers(agent: RunningAgent, volume: str) -> None:
    found = path_of(volume).stat()
    assert (NOBODY, NOBODY) == (found.st_uid, found.st_gid)
    options = [line.split()[3] for line in Path("/proc/mounts").read_text().splitlines()
               if line.startswith(f"{volume} ")]  # fmt: skip
    assert {"nosuid", "nodev", "noexec"} <= set(options[0].split(","))
    for name in ("setuid", "exec", "devices"):
        assert "off" == value(volume, name)
    assert "noauto" == value(volume, "canmount")


def test_a_snapshot_is_seen_where_the_agent_has_mounted(agent: RunningAgent, volume: str) -> None:
    (path_of(volume) / "file").write_text("old")
    agent.client.snapshot([f"{volume}@a"])
    (path_of(volume) / "file").write_text("new")
    assert "old" == (path_of(volume) / ".zfs/snapshot/a/file").read_text()
    agent.client.clone(f"{volume}@a", f"{volume}-fork")
    assert "old" == (path_of(f"{volume}-fork") / "file").read_text()
    assert "off" == value(f"{volume}-fork", "setuid")


def test_a_link_at_the_mountpoint_is_not_followed(
    agent: RunningAgent, volume: str, victim: Path
) -> None:
    name = f"{agent.root}/evil{secrets.token_hex(4)}"
    place = path_of(agent.root) / name.rpartition("/")[2]
    place.symlink_to(victim)
    with pytest.raises(StorageError, match="no directory but a link"):
        agent.client.create(name)
    assert not is_mounted(name)
    with pytest.raises(StorageError, match="no directory but a link"):
        agent.client.mount(name)
    zfs("destroy", name)
    with pytest.raises(StorageError, match="no directory but a link"):
        agent.client.rename(volume, name)
    assert not is_mounted(name)
    assert "root" == (victim / "passwd").read_text()
    place.unlink()
    agent.client.mount(name)
    assert place.is_mount()


def test_a_rename_moves_the_tree_with_its_mounts(agent: RunningAgent, volume: str) -> None:
    agent.client.create(f"{volume}/inner")
    (path_of(f"{volume}/inner") / "file").write_text("x")
    zfs("snapshot", f"{volume}/inner@a")
    assert (path_of(f"{volume}/inner") / ".zfs/snapshot/a/file").exists()  # mounted by that
    old, new = path_of(volume), f"{volume}-new"
    agent.client.rename(volume, new)
    assert "x" == (path_of(f"{new}/inner") / "file").read_text()
    assert not old.exists()
    with (path_of(f"{new}/inner") / "file").open():
        with pytest.raises(Busy):
            agent.client.rename(new, volume)
        assert is_mounted(new)
        assert is_mounted(f"{new}/inner")
    zfs("create", "-o", "canmount=off", "-o", "mountpoint=none", f"{new}-trash")
    agent.client.rename(new, f"{new}-trash/x")
    assert not is_mounted(f"{new}-trash/x/inner")
    agent.client.rename(f"{new}-trash/x", new)
    assert is_mounted(f"{new}/inner")


def test_what_a_stream_says_of_mounts_and_powers_does_not_count(
    agent: RunningAgent, pool: str, victim: Path
) -> None:
    source = f"{pool}/s{secrets.token_hex(4)}"
    zfs("create", "-u", "-o", f"mountpoint={victim}", "-o", "setuid=on", "-o", "exec=on",
        "-o", "sharenfs=off", "-o", "overlay=on", "-o", "compression=zle", source)  # fmt: skip
    zfs("snapshot", f"{source}@a")
    name = f"{agent.root}/received"
    try:
        with ZfsClient().open_send(f"{source}@a", flags=SendFlags(properties=True)) as stream:
            copy_stream(stream, agent.client.open_receive(name, mount=True))
        assert path_of(agent.root) / "received" == path_of(name)
        assert is_mounted(name)
        assert "off" == value(name, "setuid")
        assert "off" == value(name, "exec")
        assert "noauto" == value(name, "canmount")
        assert "zle" == value(name, "compression")
        assert not victim.is_mount()
    finally:
        destroy_tree(source)


def test_a_stream_cannot_show_what_lies_elsewhere(agent: RunningAgent, pool: str) -> None:
    source = f"{pool}/s{secrets.token_hex(4)}"
    zfs("create", source)
    try:
        (path_of(source) / "secret").write_text("secret")
        zfs("snapshot", f"{source}@a")
        zfs("clone", f"{source}@a", f"{source}/clone")
        zfs("snapshot", f"{source}/clone@b")
        name = f"{agent.root}/stolen"
        stream = ZfsClient().open_send(f"{source}/clone@b", base=f"{source}@a")
        with stream, pytest.raises(PermissionDenied, match="origin is elsewhere"):
            copy_stream(stream, agent.client.open_receive(name, mount=True))
        assert not exists(name)
        with ZfsClient().open_send(f"{source}@a") as stream:
            content = stream.read()
        with pytest.raises(StorageError):
            receive(content[:-8], f"{source}/half")
        token = value(f"{source}/half", "receive_resume_token")
        for ask in (agent.client.read_token, lambda t: agent.client.open_resumed_send(t).read()):
            with pytest.raises(PermissionDenied, match="not below a root"):
                ask(token)
    finally:
        destroy_tree(source)


def test_a_key_goes_to_zfs_and_nowhere_else(agent: RunningAgent) -> None:
    name, key = f"{agent.root}/encrypted", b"0123456789abcdef" * 2
    agent.client.create_encrypted(name, {"keyformat": "raw"}, key)
    assert is_mounted(name)
    agent.client.unmount(name)
    agent.client.unload_key(name)
    with pytest.raises(KeyNotLoaded):
        agent.client.mount(name)
    with pytest.raises(StorageError):
        agent.client.load_key(name, b"x" * 32)
    agent.client.load_key(name, key)
    agent.client.mount(name)
    assert is_mounted(name)
    assert key.decode() not in agent.audit.read_text()
    assert '"operation":"load_key"' in agent.audit.read_text()


@pytest.mark.skipif(not is_possible(), reason="needs a machine of its own: tools/zfs-vm")
def test_what_is_exported_stays_where_it_is(
    agent: RunningAgent, volume: str, tmp_path: Path
) -> None:
    exports = AgentExports(agent.path, ["127.0.0.1"])
    export = Export("v", UUID, volume, str(path_of(volume)), UUID)
    (path_of(volume) / "file").write_text("x")
    with serving():
        exports.export(export)
        with mounted(str(path_of(volume)), tmp_path / "client") as client:
            assert "x" == (client / "file").read_text()
            with pytest.raises(OSError, match="Read-only"):
                (client / "file").write_text("y")
        for change in (
            lambda: agent.client.unmount(volume),
            lambda: agent.client.rename(volume, f"{volume}x"),
            lambda: agent.client.destroy(volume),
        ):
            with pytest.raises(Busy, match="is exported"):
                change()
        with exports.withdrawn(export):
            wait_until(lambda: is_destroyed(agent, volume))
        assert not exports.is_exported(export)


def is_destroyed(agent: RunningAgent, dataset: str) -> bool:
    """Try to destroy: the kernel lets go of what was exported a little later."""
    try:
        agent.client.destroy(dataset)
    except Busy:
        return False
    return True


def test_an_agent_that_is_killed_leaves_a_store_that_goes_on(
    agent: RunningAgent, volume: str
) -> None:
    zfs("snapshot", f"{volume}@a")
    with ZfsClient().open_send(f"{volume}@a") as stream:
        content = stream.read()
    sink = agent.client.open_receive(f"{agent.root}/half")
    sink.write(content[:1000])
    agent.end(signal.SIGKILL)
    with pytest.raises(Unavailable):
        sink.finish()
    with pytest.raises(Unavailable, match="zfsstore-agent"):
        agent.client.version()
    zfs("unmount", volume)
    agent.start()
    assert is_mounted(volume)  # the agent mounts what it finds unmounted
    assert not any(entry.source.endswith("/half") for entry in read_mounts())
    run("zfs", "list", "-t", "filesystem", volume)
    agent.client.destroy(volume, recursive=True)
    assert not exists(volume)
