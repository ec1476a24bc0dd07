"""The program: its arguments, its refusals, its socket and its units."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from modules.errors import ConfigurationError, InvalidName
from zfsstore.agent import main

ROOT = Path(__file__).parents[2]
UNITS = ROOT / "systemd"


def test_without_root_it_says_why_it_will_not_start(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert 2 == main.main(["--root", "tank/objects", "--user", "root"])
    said = capsys.readouterr().err
    assert "only root can mount" in said
    assert "docs/agent.md" in said


def test_help_says_what_it_is_for(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main.main(["--help"])
    said = capsys.readouterr().out
    assert '"agent": "/run/zfsstore/agent.sock"' in said
    assert "Exit status" in said


@pytest.mark.parametrize(
    "roots", [["tank/objects", "tank/objects/acme"], ["tank/objects", "tank/objects"]]
)
def test_no_root_is_within_another(roots: list[str]) -> None:
    with pytest.raises(ConfigurationError, match="within another"):
        main.check_roots(roots)


def test_a_malformed_root_is_refused() -> None:
    with pytest.raises(InvalidName):
        main.check_roots(["/tank"])


def test_an_unknown_user_or_group_is_named() -> None:
    with pytest.raises(ConfigurationError, match="no user nobody-at-all"):
        main.find_user("nobody-at-all")
    with pytest.raises(ConfigurationError, match="no group nobody-at-all"):
        main.find_group("nobody-at-all")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a socket to a group")
def test_a_socket_that_a_dead_agent_left_is_taken_over(tmp_path: Path) -> None:
    path = str(tmp_path / "agent.sock")
    main.bound_socket(path, 0).close()
    with main.bound_socket(path, os.getgid()):
        assert 0o660 == os.stat(path).st_mode & 0o777
        with pytest.raises(ConfigurationError, match="another agent"):
            main.bound_socket(path, 0)


def test_without_a_socket_it_says_how_to_get_one() -> None:
    with pytest.raises(ConfigurationError, match="no socket to listen on"):
        main.bound_socket(None, 0)


def test_the_socket_of_systemd_is_taken(tmp_path: Path) -> None:
    program = (
        "import os, sys\n"
        "os.dup2(int(sys.argv[1]), 3)\n"
        "os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='1')\n"
        "from zfsstore.agent.main import inherited_socket\n"
        "print(inherited_socket().getsockname())\n"
    )
    path = str(tmp_path / "agent.sock")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(path)
        listener.listen()
        done = subprocess.run(
            [sys.executable, "-c", program, str(listener.fileno())],
            pass_fds=[listener.fileno()],
            capture_output=True,
            text=True,
            cwd=ROOT,
            check=True,
        )
    assert path == done.stdout.strip()


def test_readiness_is_told_to_systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = str(tmp_path / "notify.sock")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(path)
        listener.settimeout(30)
        monkeypatch.setenv("NOTIFY_SOCKET", path)
        main.tell_systemd("READY=1")
        assert b"READY=1" == listener.recv(100)


def test_the_agent_needs_the_standard_library_only() -> None:
    program = (
        "import sys, zfsstore.agent.main\n"
        "print([m for m in sys.modules if m.split('.')[0] in "
        "('falcon', 'gunicorn', 'sqlalchemy', 'argon2')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert "[]" == done.stdout.strip()


def test_the_agents_unit_makes_no_mount_namespace() -> None:
    own_namespace = {
        *("ProtectSystem", "ProtectHome", "PrivateTmp", "PrivateDevices", "PrivateMounts"),
        *("ProtectKernelTunables", "ProtectKernelModules", "ProtectKernelLogs", "MountFlags"),
        *("ProtectControlGroups", "ProtectProc", "ReadWritePaths", "ReadOnlyPaths", "BindPaths"),
        *("InaccessiblePaths", "TemporaryFileSystem", "RootDirectory", "DynamicUser"),
    }
    lines = (UNITS / "zfsstore-agent.service").read_text().splitlines()
    assert not own_namespace & {line.partition("=")[0] for line in lines}
    assert "MountFlags=slave" in (UNITS / "zfsstore.service").read_text().splitlines()


def test_systemd_finds_nothing_wrong_with_the_units(tmp_path: Path) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd-analyze is not installed")
    program = shutil.which("true")
    for unit in UNITS.iterdir():
        lines = [
            f"{line.partition('=')[0]}={program}"
            if line.startswith(("ExecStart=", "ExecReload="))
            else line
            for line in unit.read_text().splitlines()
        ]
        (tmp_path / unit.name).write_text("\n".join(lines) + "\n")
    done = subprocess.run(
        [analyze, "verify", "--man=no", *map(str, tmp_path.iterdir())],
        capture_output=True,
        text=True,
        check=False,
    )
    said = [line for line in done.stderr.splitlines() if "zfsstore" in line]
    assert (0, []) == (done.returncode, said)
