"""Tenants, users, modules and buckets by command line, on a real data folder without a server."""

from __future__ import annotations

import base64
import io
import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from zfsstore.cli.main import main
from zfsstore.host.auth import Authenticator
from zfsstore.host.bootstrap import bootstrap
from zfsstore.host.catalog import Catalog
from zfsstore.host.config import Config
from zfsstore.host.errors import Unauthenticated

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data folder; the first command fills it."""
    folder = tmp_path / "data"
    folder.mkdir()
    return folder


@pytest.fixture(scope="module")
def settled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A filled data folder for commands that must change nothing in it."""
    folder = tmp_path_factory.mktemp("settled")
    bootstrap(Config(data_dir=folder))
    return folder


@pytest.fixture
def run(data: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command on the data folder; return status, output and errors."""

    def call(*argv: str) -> tuple[int, str, str]:
        status = main(["--data", str(data), *argv])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return call


def as_json(run: Run, *argv: str) -> Any:
    status, out, err = run(*argv, "--json")
    assert (0, "") == (status, err)
    return json.loads(out)


def can_log_in(data: Path, name: str, password: str) -> bool:
    catalog = Catalog(f"sqlite:///{data}/catalog.db")
    try:
        token = base64.b64encode(f"{name}:{password}".encode()).decode()
        Authenticator(catalog).authenticate(f"Basic {token}")
    except Unauthenticated:
        return False
    else:
        return True
    finally:
        catalog.close()


def test_a_new_store_has_a_default_module_and_a_private_password(run: Run, data: Path) -> None:
    assert ["default"] == [module["name"] for module in as_json(run, "module", "list")]
    assert ["administrator"] == [user["name"] for user in as_json(run, "user", "list")]
    password_file = data / "administrator.password"
    assert 0o600 == stat.S_IMODE(password_file.stat().st_mode)
    assert can_log_in(data, "administrator", password_file.read_text().strip())


def test_a_data_folder_that_does_not_exist_is_not_made_up(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert 1 == main(["--data", str(tmp_path / "typo"), "tenant", "list"])
    assert "there is no such folder; name it with --data" in capsys.readouterr().err
    assert not (tmp_path / "typo").exists()


def test_the_data_folder_comes_from_the_environment_or_the_settings(
    data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = data.parent / "zfsstore.toml"
    settings.write_text('data_dir = "data"\n')

    assert 0 == main(["tenant", "list", "--config", str(settings)])
    monkeypatch.setenv("ZFSSTORE_DATA", str(data))
    assert 0 == main(["tenant", "list"])
    first, second = capsys.readouterr().out.split("TENANT")[1:]
    assert first == second


def test_a_wrong_setting_is_named(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = tmp_path / "zfsstore.toml"
    settings.write_text("worker = 3\n")

    assert 1 == main(["--config", str(settings), "tenant", "list"])
    assert "cannot use setting worker: there is no such setting" in capsys.readouterr().err


def test_a_tenant_from_creation_to_deletion(run: Run) -> None:
    created = as_json(run, "tenant", "create", "acme", "--policy", "default", "--quota", "1GiB")
    assert {"name": "acme", "policy": "default", "quota_bytes": 1024**3} == created
    assert created == as_json(run, "tenant", "show", "acme")
    status, out, _ = run("tenant", "list")
    assert 0 == status
    assert ["acme", "default", "1.0", "GiB"] == out.splitlines()[1].split()

    assert {"deleted": "acme"} == as_json(run, "tenant", "delete", "acme")
    status, out, err = run("tenant", "show", "acme")
    assert (1, "") == (status, out)
    assert "zfsstore: cannot find tenant acme: there is no tenant of this name\n" == err


@pytest.mark.parametrize(
    ("argv", "reason"),
    [
        (["tenant", "create", "acme", "--policy", "nowhere"], "there is no vendor module"),
        (["tenant", "create", "a/b", "--policy", "default"], "it starts with a dot, or holds a /"),
        (["tenant", "create", "../x", "--policy", "default"], "it starts with a dot"),
        (["tenant", "create", "\x1b[2J", "--policy", "default"], "control character"),
        (["tenant", "create", "n" * 200, "--policy", "default"], "longer than 128 bytes"),
        (["tenant", "create", "acme", "--policy", "default", "--quota", "0"], "above 0"),
        (["tenant", "delete", "nobody"], "cannot"),
        (["user", "create", "acme"], "is new and needs a policy"),
        (["user", "delete", "administrator"], "it is the last administrator"),
        (["user", "password", "nobody"], "cannot"),
        (["module", "delete", "default"], "tenant administrator uses it"),
        (["module", "show", "nothing"], "cannot"),
        (["module", "put", "m", "no.such.Class"], "there is no module no in"),
        (["module", "put", "m", "simple.simple.SimpleStorage", "--args", '{"x": 1}'], "x"),
        (
            ["module", "put", "m", "simple.simple.SimpleStorage", "--label", "\udcff"],
            "no valid Unicode",
        ),
        (["bucket", "list", "nobody"], "there is no tenant of this name"),
        (["sweep", "--bucket", "b"], "cannot sweep: a bucket is named without its tenant"),
        (["sweep", "--tenant", "administrator", "--bucket", "none"], "cannot"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_changes_nothing(
    settled: Path, capsys: pytest.CaptureFixture[str], argv: list[str], reason: str
) -> None:
    assert 1 == main(["--data", str(settled), *argv])

    captured = capsys.readouterr()
    assert "" == captured.out
    assert reason in captured.err
    assert captured.err.startswith("zfsstore: ")
    assert 1 == captured.err.count("\n")
    assert captured.err.rstrip("\n").isprintable()
    for group, names in (("tenant", ["administrator"]), ("user", ["administrator"])):
        assert 0 == main(["--data", str(settled), group, "list", "--json"])
        assert names == [row["name"] for row in json.loads(capsys.readouterr().out)]


def test_a_user_gets_a_generated_password_once(run: Run, data: Path) -> None:
    created = as_json(run, "user", "create", "acme", "--policy", "default")
    password = created.pop("password")

    assert {"name": "acme", "tenant": "acme", "role": "user"} == created
    assert can_log_in(data, "acme", password)
    assert created == as_json(run, "user", "show", "acme")
    for file in data.rglob("*"):
        if file.is_file():
            assert password.encode() not in file.read_bytes()


def test_a_new_password_ends_the_old_one(run: Run, data: Path) -> None:
    old = as_json(run, "user", "create", "acme", "--policy", "default")["password"]

    new = as_json(run, "user", "password", "acme")["password"]

    assert [False, True] == [can_log_in(data, "acme", password) for password in (old, new)]


def test_a_password_from_a_file_or_standard_input_is_not_printed(
    run: Run, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "secret").write_text("correct horse\nnot this line\n")

    status, out, _ = run(
        *("user", "create", "acme", "--policy", "default"),
        *("--password-file", str(tmp_path / "secret")),
    )
    assert (0, "created user acme of tenant acme\n") == (status, out)
    assert can_log_in(data, "acme", "correct horse")

    monkeypatch.setattr("sys.stdin", io.StringIO("battery staple\n"))
    status, out, _ = run("user", "password", "acme", "--password-file", "-")
    assert (0, "changed the password of acme\n") == (status, out)
    assert can_log_in(data, "acme", "battery staple")


@pytest.mark.parametrize("content", ["", "\n", "short\n"])
def test_a_password_that_is_none_is_refused(run: Run, tmp_path: Path, content: str) -> None:
    (tmp_path / "secret").write_text(content)

    status, _, err = run(
        *("user", "create", "acme", "--policy", "default"),
        *("--password-file", str(tmp_path / "secret")),
    )

    assert 1 == status
    assert "empty" in err or "8 characters" in err


def test_no_command_takes_a_password_as_an_argument(run: Run) -> None:
    status, _, err = run("user", "create", "acme", "--policy", "default", "--password", "x")
    assert 2 == status
    assert "unrecognized arguments" in err


def test_a_module_is_configured_changed_and_removed_and_keeps_its_secrets(
    run: Run, tmp_path: Path
) -> None:
    package = tmp_path / "path" / "vendor_of_the_cli_test"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(
        "from simple.simple import SimpleStorage\n"
        "class Store(SimpleStorage):\n"
        "    def __init__(self, storage_dir, secret_key):\n"
        "        super().__init__(storage_dir)\n"
    )
    arguments = tmp_path / "args.json"
    arguments.write_text(
        json.dumps({"storage_dir": str(tmp_path / "objects"), "secret_key": "hunter22"})
    )
    put = (
        *("module", "put", "vendor", "vendor_of_the_cli_test.Store", "--args", f"@{arguments}"),
        *("--python-path", str(package.parent)),
    )

    assert 0 == run(*put, "--label", "first")[0]
    assert 0 == run(*put, "--label", "second")[0]

    shown = as_json(run, "module", "show", "vendor")
    assert "second" == shown["label"]
    assert [str(package.parent)] == shown["python_path"]
    assert "hunter22" not in json.dumps(shown) + run("module", "show", "vendor")[1]
    assert {"deleted": "vendor"} == as_json(run, "module", "delete", "vendor")
    assert ["default"] == [module["name"] for module in as_json(run, "module", "list")]


def test_an_unexpected_error_is_one_line_and_a_traceback_only_with_debug(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("boom\nand more")

    monkeypatch.setattr("zfsstore.host.catalog.Catalog.list_tenants", fail)

    status, _, err = run("tenant", "list")
    assert 1 == status
    assert (
        "zfsstore: cannot go on: unexpected RuntimeError: boom\\nand more; "
        "run with --debug for the traceback\n" == err
    )
    assert "Traceback" in run("tenant", "list", "--debug")[2]


def test_output_that_nobody_reads_is_no_error(data: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "zfsstore.cli", "--data", str(data), "tenant", "list"],
        stdout=writer,
        stderr=subprocess.PIPE,
        check=False,
    )
    os.close(writer)

    assert (1, b"") == (done.returncode, done.stderr)
