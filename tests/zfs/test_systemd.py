"""The units of systemd/ under a systemd: started as docs/agent.md says, and what they forbid."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from modules.errors import PermissionDenied
from modules.volume_properties import EncryptionKey
from tests.host.serving import ROOT, Client, path_of, wait_until
from tests.storage.helpers import get, put
from tests.zfs import sandboxed
from tests.zfs.datasets import named, run, value, zfs
from tests.zfs.indexed import zfs_volumes
from tests.zfs.nfsserver import is_possible, mounted, serving
from tests.zfs.systemd import DIRECTORY, UNITS, Systemd, as_user, let_others_in, missing
from zfsstore import ZFSStorage
from zfsstore.agent.client import AgentRunner
from zfsstore.agent.exports import AgentExports
from zfsstore.agent.mounts import read_mounts
from zfsstore.agent.protocol import DEFAULT_SOCKET
from zfsstore.exports import Export

pytestmark = [
    pytest.mark.zfs,
    pytest.mark.skipif(not is_possible(), reason="needs a machine of its own: tools/zfs-vm"),
]

USER = "zfsstore"
OPT = Path("/opt/zfsstore")
AGENT, HOST = "zfsstore-agent.service", "zfsstore.service"
SOCKET = "zfsstore-agent.socket"
LOG = Path("/run/zfsstore-units.log")
UUID = "0b6f8d2e-6a1c-4f43-9a60-6a2f3f0d7c11"


@pytest.fixture(scope="module")
def user() -> Iterator[pwd.struct_passwd]:
    home = "/var/lib/zfsstore"
    run("useradd", "--system", "--home-dir", home, "--shell", "/usr/sbin/nologin", USER)
    yield pwd.getpwnam(USER)
    run("userdel", USER)


@pytest.fixture(scope="module")
def systemd(
    root_dataset: str, user: pwd.struct_passwd, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Systemd]:
    if reason := missing():
        (pytest.fail if "CI" in os.environ else pytest.skip)(reason)
    mountpoint = value(root_dataset, "mountpoint")
    os.chown(mountpoint, user.pw_uid, user.pw_gid)
    run("mount", "--make-shared", mountpoint)
    let_others_in()
    OPT.symlink_to(sys.prefix)
    Path("/etc/zfsstore").mkdir()
    Path("/etc/zfsstore/agent.env").write_text(f"ROOT={root_dataset}\nOPTIONS=\n")
    running = Systemd(tmp_path_factory.mktemp("systemd"))
    running.start()
    try:
        install(running)
        yield running
    finally:
        print(running.log.read_text(), LOG.read_text() if LOG.exists() else "")
        running.end()
        OPT.unlink()
        shutil.rmtree("/etc/zfsstore")
        shutil.rmtree("/var/lib/zfsstore", ignore_errors=True)


def install(systemd: Systemd) -> None:
    """Install the units; drop-ins name this checkout and a log."""
    files = sorted(UNITS.iterdir())
    run("install", "-m", "644", *map(str, files), str(DIRECTORY))
    lines = [f"Environment=PYTHONPATH={ROOT}", f"StandardOutput=append:{LOG}"]
    lines += [f"StandardError=append:{LOG}"]
    for name in (AGENT, HOST):
        if name == HOST:
            lines += sorted(
                set(filter(None, map(shown, (ROOT, Path(sys.prefix), Path(sys.base_prefix)))))
            )
        drop_in(name, *lines)
        drop_in(f"probe-{name}", *lines, "Type=oneshot", "Restart=no", "ExecReload=", "ExecStart=",
                f"StandardOutput=truncate:{LOG}.{name}",
                f"ExecStart={sys.executable} -I {sandboxed.__file__} /dev/vda")  # fmt: skip
        shutil.copy(UNITS / name, DIRECTORY / f"probe-{name}")
    systemd.call("daemon-reload")
    systemd.call("enable", SOCKET, AGENT, HOST)


def shown(path: Path) -> str | None:
    """Return what keeps the host's sandbox from hiding a checkout or an interpreter, if it does."""
    if path.is_relative_to("/home") or path.is_relative_to("/root"):
        return "ProtectHome=read-only"
    if path.is_relative_to("/tmp") or path.is_relative_to("/var/tmp"):
        return "PrivateTmp=no"
    return None


def drop_in(unit: str, *lines: str) -> None:
    directory = DIRECTORY / f"{unit}.d"
    directory.mkdir()
    (directory / "test.conf").write_text("\n".join(("[Service]", *lines, "")))


def probe(systemd: Systemd, unit: str) -> dict[str, str]:
    """Try what is forbidden in the sandbox of a unit."""
    systemd.call("start", f"probe-{unit}")
    tried = json.loads(Path(f"{LOG}.{unit}").read_text())
    assert tried.keys() == sandboxed.ATTEMPTS.keys()
    return dict(tried)


def test_the_agent_starts_with_the_first_connection_and_does_all_that_is_asked_of_it(
    systemd: Systemd, root_dataset: str, user: pwd.struct_passwd, tmp_path: Path
) -> None:
    systemd.call("start", SOCKET)
    assert systemd.show(AGENT, "ActiveState") == "inactive"
    key = tmp_path / "key"
    key.write_bytes(os.urandom(32))
    key.chmod(0o600)
    os.chown(key, user.pw_uid, user.pw_gid)
    for path in tmp_path.parents:
        path.chmod(path.stat().st_mode | 0o011)
    tmp_path.chmod(0o755)

    def work() -> None:
        store = ZFSStorage(dataset=root_dataset, agent=DEFAULT_SOCKET)
        volumes = zfs_volumes(store)
        volumes.create_volume("acme", encryption=EncryptionKey(file=str(key)))
        bucket = volumes.create_volume("acme/photos")
        context = {"tenant": "acme/photos"}
        kept = put(store, context, b"old")
        volumes.create_snapshot(bucket["uuid"], "monday")
        store.delete(context, kept)
        assert get(store, {**context, "snapshot": "monday"}, kept) == b"old"
        with volumes.send_stream("acme/photos", "monday") as stream:
            volumes.create_volume("copies")
            volumes.receive_stream("copies/photos", stream)
        received = {"tenant": "copies/photos", "snapshot": "monday"}
        assert get(store, received, kept) == b"old"  # in another mount namespace than the agent's
        uuid = named(store, "copies/photos")["uuid"]
        volumes.break_off_volume(uuid)
        volumes.rename_volume(uuid, "copies/pictures")
        assert get(store, {"tenant": "copies/pictures"}, kept) == b"old"
        volumes.destroy_volume(uuid)
        with pytest.raises(PermissionDenied, match="not below a root"):
            AgentRunner()(["zfs", "destroy", f"{root_dataset.partition('/')[0]}/else"])

    as_user(user.pw_uid, user.pw_gid, work)
    assert systemd.show(AGENT, "ActiveState") == "active"
    assert user.pw_uid == os.stat(value(f"{root_dataset}/acme", "mountpoint")).st_uid
    assert '"operation":"receive"' in LOG.read_text()


def test_others_cannot_connect(systemd: Systemd) -> None:
    def ask() -> None:
        with pytest.raises(PermissionDenied, match="may not connect"):
            AgentRunner()(["zfs", "version"])

    as_user(65534, 65534, ask)


def test_the_agent_exports_with_nothing_but_unix_sockets(
    systemd: Systemd, root_dataset: str, tmp_path: Path
) -> None:
    dataset = f"{root_dataset}/acme"
    path = value(dataset, "mountpoint")
    exports, export = AgentExports(clients=["127.0.0.1"]), Export("v", UUID, dataset, path, UUID)
    with serving():
        exports.export(export)
        with mounted(path, tmp_path / "client") as client:
            assert client.is_dir()
        with exports.withdrawn(export):
            assert not exports.is_exported(export)


def test_the_agent_is_in_the_mount_namespace_of_the_system_and_confined(systemd: Systemd) -> None:
    process = systemd.process(AGENT)
    status = (process / "status").read_text().split("\n")
    facts = dict(line.split(":\t", 1) for line in status if ":\t" in line)
    # CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_SYS_ADMIN
    assert {int(facts[name], 16) for name in ("CapBnd", "CapPrm", "CapEff")} == {1 | 2 | 1 << 21}
    assert (facts["NoNewPrivs"], facts["Seccomp"]) == ("1", "2")
    parent = facts["PPid"].strip()
    assert os.readlink(process / "ns/mnt") == os.readlink(f"/proc/{parent}/ns/mnt")
    assert probe(systemd, AGENT) == {
        **dict.fromkeys(sandboxed.ATTEMPTS, "EPERM"),
        "the device of zfs": "done",
        "mounting": "done",
        "writing to /usr": "done",
        "network": "EAFNOSUPPORT",
        "a socket of the kernel": "EAFNOSUPPORT",
    }


def test_the_host_works_without_any_privilege(
    systemd: Systemd, root_dataset: str, user: pwd.struct_passwd
) -> None:
    systemd.call("start", HOST)
    password = Path("/var/lib/zfsstore/administrator.password")
    wait_until(password.exists, 180)
    admin = Client(8080, "administrator", password.read_text().strip())
    wait_until(lambda: is_answering(admin), 180)
    spec = {
        "module": "zfsstore.ZFSStorage",
        "args": {"dataset": root_dataset, "agent": DEFAULT_SOCKET},
    }
    assert admin.put_json("/cdmi/system_configuration/vendor_modules/tank", spec).status == 204
    made = admin.put_json("/cdmi/system_configuration/users/beta", {"policy": "tank"})
    client = Client(8080, "beta", made.json()["password"])
    assert client.put(path_of("photos", is_container=True)).status == 201
    assert client.put(path_of("photos", "one"), b"data").status == 201
    assert client.get(path_of("photos", "one")).body == b"data"
    zfs("snapshot", f"{root_dataset}/beta/photos@now")
    for one in (admin, client):
        one.close()
    assert probe(systemd, HOST) == {
        **dict.fromkeys(sandboxed.ATTEMPTS, "EPERM"),
        "the device of zfs": "ENOENT",
        "a disk": "ENOENT",
        "network": "done",
        "a socket of the kernel": "EAFNOSUPPORT",
        "code in memory": "done",
        "writing to /usr": "EROFS",
    }


def is_answering(client: Client) -> bool:
    with suppress(ConnectionRefusedError):
        return client.get("/cdmi/").status < 500
    return False


def test_a_restarted_agent_and_a_stop_that_ends_well(systemd: Systemd, root_dataset: str) -> None:
    systemd.call("kill", "-s", "KILL", AGENT)
    assert AgentRunner()(["zfs", "version"])["success"]  # the socket waits for the next agent
    systemd.call("stop", HOST, AGENT, SOCKET)
    for unit in (HOST, AGENT):
        assert systemd.show(unit, "Result") == "success"
    assert not Path(DEFAULT_SOCKET).exists()
    assert any(entry.source == f"{root_dataset}/acme" for entry in read_mounts())
