"""The ssh runner against a real sshd on the loopback address."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from modules.errors import (
    CommandFailed,
    CommandTimeout,
    ConfigurationError,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    Unavailable,
)
from tests.zfs.client import exists, new, path, tree
from tests.zfs.datasets import run, value, zfs
from zfsstore.zfs.client import ZfsClient
from zfsstore.zfs.ssh import SshRunner
from zfsstore.zfs.transfer import copy_stream

pytestmark = pytest.mark.zfs
HERE = ZfsClient()


class Sshd:
    """A server of the test's own: its keys, its configuration, a free port."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        for key in ("host", "user", "stranger"):
            run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", f"{directory}/{key}")
        shutil.copy(directory / "user.pub", directory / "authorized_keys")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        Path("/run/sshd").mkdir(exist_ok=True)
        self._process = subprocess.Popen(
            [
                *("/usr/sbin/sshd", "-D", "-e", "-f", "/dev/null"),
                *("-h", f"{directory}/host", "-p", str(self.port)),
                *("-o", "ListenAddress=127.0.0.1", "-o", "StrictModes=no", "-o", "UsePAM=no"),
                *("-o", f"AuthorizedKeysFile={directory}/authorized_keys"),
                *("-o", f"PidFile={directory}/pid", "-o", "PermitRootLogin=yes"),
                *("-o", "LogLevel=VERBOSE"),
                *("-o", "SetEnv=SHLVL=2"),  # or bash reads a .bashrc, which may be slow
            ],
            stderr=open(directory / "log", "wb"),  # noqa: SIM115  # for as long as it runs
        )
        self._wait()

    def _wait(self) -> None:
        deadline = time.monotonic() + 30
        while socket.socket().connect_ex(("127.0.0.1", self.port)) != 0:
            assert self._process.poll() is None, (self.directory / "log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()

    def options(self, key: str = "user", strict: str = "no") -> list[str]:
        known = f"UserKnownHostsFile={self.directory}/known"
        return [
            *("-F", "none", "-p", str(self.port), "-i", f"{self.directory}/{key}"),
            *("-o", f"StrictHostKeyChecking={strict}", "-o", known, "-o", "IdentitiesOnly=yes"),
        ]

    def logins(self) -> int:
        return (self.directory / "log").read_text().count("Accepted publickey")


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    server = Sshd(tmp_path_factory.mktemp("sshd"))
    yield server
    server.stop()


@pytest.fixture(scope="module")
def runner(sshd: Sshd) -> Iterator[SshRunner]:
    with SshRunner("root@127.0.0.1", options=sshd.options()) as runner:
        yield runner


@pytest.fixture(scope="module")
def root(pool: str) -> Iterator[str]:
    with tree(pool) as name:
        yield name


def sh(script: str) -> list[str]:
    return ["sh", "-c", script]


def test_any_number_of_commands_are_one_login(sshd: Sshd, runner: SshRunner) -> None:
    for _ in range(3):
        assert runner(["true"])["success"]
    with runner.open_read(["echo", "x"]) as stream:
        assert stream.read() == b"x\n"
    assert runner.with_timeout(50)(["true"])["success"]
    assert sshd.logins() == 1


def test_output_exit_code_and_locale(runner: SshRunner) -> None:
    assert runner(sh('echo out; echo err >&2; echo "$LC_ALL"; exit 3')) == {
        "success": False,
        "stdout": "out\nC\n",
        "stderr": "err\n",
        "exit_code": 3,
    }


def test_an_exit_code_of_255_is_the_commands_own(runner: SshRunner) -> None:
    assert runner(sh("exit 255"))["exit_code"] == 255
    with runner.open_read(sh("exit 255")) as stream, pytest.raises(CommandFailed) as caught:
        stream.read()
    assert caught.value.exit_code == 255


def test_every_argument_arrives_as_it_is(runner: SshRunner) -> None:
    arguments = ["a b", "$HOME", "`id`", "'", '"', "\\", ";", "*", "ü\n", "", "-n"]
    expected = "".join(f"<{argument}>" for argument in arguments)
    assert runner(["printf", "<%s>", *arguments])["stdout"] == expected


def test_an_absent_program_is_a_result(runner: SshRunner) -> None:
    result = runner(["no-such-program-here"])
    assert (result["success"], result["exit_code"]) == (False, 127)


def test_a_command_that_takes_too_long(runner: SshRunner) -> None:
    with pytest.raises(CommandTimeout):
        runner.with_timeout(0.5)(["sleep", "60"])
    assert runner(["true"])["success"]


def test_the_client_over_there(runner: SshRunner, root: str) -> None:
    there = ZfsClient(runner)
    there.create(f"{root}/new", {"a:b": "sp ace $x"})
    there.snapshot([f"{root}/new@s p"])
    assert value(f"{root}/new", "a:b") == "sp ace $x"
    assert [s.name for s in there.list_snapshots(f"{root}/new")] == [f"{root}/new@s p"]
    with pytest.raises(NotFound):
        there.destroy(f"{root}/absent")


def test_replication_there_and_back(runner: SshRunner, root: str) -> None:
    there, data, source = ZfsClient(runner), os.urandom(3 << 20), new(root)
    (path(source) / "file").write_bytes(data)
    zfs("snapshot", f"{source}@1")
    with HERE.open_send(f"{source}@1") as stream:
        copy_stream(stream, there.open_receive(f"{root}/there"))
    with there.open_send(f"{root}/there@1") as stream:
        copy_stream(stream, HERE.open_receive(f"{root}/back", mount=True))
    assert (path(f"{root}/back") / "file").read_bytes() == data


def test_a_stream_that_is_closed_or_aborted_ends_over_there(
    runner: SshRunner, root: str, tmp_path: Path
) -> None:
    with runner.open_read(sh(f"echo $$ > {tmp_path}/pid; exec yes")) as stream:
        stream.read(10)
    pid = (tmp_path / "pid").read_text().strip()
    deadline = time.monotonic() + 30
    while Path(f"/proc/{pid}").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    source = new(root)
    (path(source) / "file").write_bytes(os.urandom(1 << 20))
    zfs("snapshot", f"{source}@1")
    with HERE.open_send(f"{source}@1") as stream:
        sink = ZfsClient(runner).open_receive(f"{root}/aborted")
        sink.write(stream.read(100_000))
        sink.abort()
    deadline = time.monotonic() + 30
    while exists(f"{root}/aborted"):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def masters() -> set[int]:
    """The processes of ours that hold a connection."""
    found = set()
    for task in os.listdir("/proc/self/task"):
        for child in Path(f"/proc/self/task/{task}/children").read_text().split():
            if b"ControlMaster=yes" in Path(f"/proc/{child}/cmdline").read_bytes():
                found.add(int(child))
    return found


def test_a_connection_that_broke_is_made_anew(sshd: Sshd) -> None:
    others, logins = masters(), sshd.logins()
    with SshRunner("root@127.0.0.1", options=sshd.options()) as runner:
        assert runner(["true"])["success"]
        (master,) = masters() - others
        os.kill(master, 9)
        assert runner(["true"])["success"]
        assert sshd.logins() == logins + 2
    assert masters() == others


def test_a_connection_that_breaks_fails_the_stream(sshd: Sshd) -> None:
    others = masters()
    with (
        SshRunner("root@127.0.0.1", options=sshd.options()) as runner,
        runner.open_read(sh("echo x; sleep 60")) as stream,
    ):
        assert stream.read(10) == b"x\n"
        (master,) = masters() - others
        os.kill(master, 9)
        with pytest.raises(Unavailable):
            stream.read(10)


def test_nothing_listens() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        runner = SshRunner("127.0.0.1", options=["-F", "none", "-p", str(free.getsockname()[1])])
        with pytest.raises(Unavailable, match="Connection refused"):
            runner(["true"])
        with pytest.raises(Unavailable):
            ZfsClient(runner).open_send("tank@1")


def test_a_key_that_is_not_known_over_there(sshd: Sshd) -> None:
    runner = SshRunner("root@127.0.0.1", options=sshd.options("stranger"))
    with pytest.raises(PermissionDenied, match="authorized_keys"):
        runner(["true"])


def test_a_host_that_is_not_known_here(sshd: Sshd, tmp_path: Path) -> None:
    options = sshd.options(strict="yes")
    options[-3] = f"UserKnownHostsFile={tmp_path}/none"
    runner = SshRunner("root@127.0.0.1", options=options)
    with pytest.raises(ConfigurationError, match="known_hosts"):
        runner(["true"])


@pytest.mark.parametrize("destination", ["", "-oProxyCommand=id", "root@-x y", "a b", "host\n"])
def test_destinations_that_are_none(destination: str) -> None:
    with pytest.raises(InvalidArgument):
        SshRunner(destination)


def test_the_socket_is_in_a_private_directory_that_goes(sshd: Sshd) -> None:
    others = masters()
    with SshRunner("root@127.0.0.1", options=sshd.options()) as runner:
        runner(["true"])
        (master,) = masters() - others
        words = Path(f"/proc/{master}/cmdline").read_text().split("\0")
        (control,) = (word for word in words if word.startswith("ControlPath="))
        directory = Path(control.partition("=")[2]).parent
        assert directory.stat().st_mode & 0o777 == 0o700
    assert not directory.exists()
