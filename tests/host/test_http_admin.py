"""Vendor modules, tenants and users over HTTP, against a real server with two workers."""

from __future__ import annotations

import itertools
import stat
from pathlib import Path
from typing import Any

import pytest

from tests.host.serving import Answer, Client, Server, path_of

SYSTEM = "/cdmi/system_configuration"
_numbers = itertools.count(1)


@pytest.fixture
def name() -> str:
    return f"vendor {next(_numbers)}"


def module_path(name: str) -> str:
    return path_of("system_configuration", "vendor_modules", name)


def simple(directory: Path, **more: Any) -> dict[str, Any]:
    return {
        "module": "simple.simple.SimpleStorage",
        "label": "for tests",
        "args": {"storage_dir": str(directory)},
        **more,
    }


def connections(server: Server, user: str = "administrator", password: str | None = None) -> Any:
    """Yield answers' worker ids by asking over fresh connections, until both workers answered."""
    return [server.client(user, password) for _ in range(16)]


def test_put_get_delete(admin: Client, name: str, tmp_path: Path) -> None:
    put = admin.put_json(module_path(name), simple(tmp_path))
    assert (put.status, put.body) == (204, b"")
    assert admin.get(module_path(name)).json() == {
        "name": name, **simple(tmp_path), "python_path": [],
    }  # fmt: skip
    listed = admin.get(f"{SYSTEM}/vendor_modules/").json()["vendor_modules"]
    assert {"default", name} <= {module["name"] for module in listed}
    assert [admin.delete(module_path(name)).status for _ in range(2)] == [204, 404]
    assert admin.get(module_path(name)).status == 404


def test_the_sdks_printed_example_gets_a_clear_answer(admin: Client, name: str) -> None:
    """Its JSON misses the quote that ends "label"."""
    body = b'{"module": "newstore.newstore.NewStorage", "label: "New Storage Module", "args": {}}'
    answer = admin.put(module_path(name), body)
    assert answer.status == 400
    assert answer.error["code"] == "invalid_argument"
    assert "line 1, column 53" in answer.error["message"]
    assert "label" in answer.error["hint"]


@pytest.mark.parametrize(
    ("spec", "field", "words"),
    [
        ([], "body", "JSON object"),
        ({}, "module", "missing"),
        ({"module": "nodots"}, "module", "dotted"),
        ({"module": "absent.absent.Absent"}, "module", "absent"),
        ({"module": "simple.simple.Absent"}, "module", "SimpleStorage"),
        ({"module": "os.path.join"}, "module", "class"),
        ({"module": 5}, "module", "text"),
        ({"module": "simple.simple.SimpleStorage", "arg": {}}, "arg", "unknown"),
        ({"module": "simple.simple.SimpleStorage", "args": []}, "args", "object"),
        ({"module": "simple.simple.SimpleStorage", "args": {"dir": "/"}}, "args", "storage_dir"),
        ({"module": "simple.simple.SimpleStorage", "label": 1}, "label", "text"),
        ({"module": "simple.simple.SimpleStorage", "python_path": "x"}, "python_path", "list"),
        ({"module": "a.b.C", "python_path": ["relative"]}, "python_path", "absolute"),
        ({"module": "a.b.C", "python_path": ["/nonexistent.egg"]}, "python_path", "exist"),
        ({"module": "a.b.C", "python_path": ["/etc/hostname"]}, "python_path", "zip"),
        ({"module": "a.b.C", "python_path": ["/a\0b"]}, "python_path", "path"),
        ({"module": "a.b.C", "args": {"secret": "(redacted)"}}, "args", "redacted"),
    ],
)  # fmt: skip
def test_a_wrong_module_is_refused_and_changes_nothing(
    admin: Client, name: str, spec: Any, field: str, words: str
) -> None:
    answer = admin.put_json(module_path(name), spec)
    assert answer.status == 400
    assert answer.error["field"] == field
    assert words in answer.error["message"] + str(answer.error["hint"])
    assert str(answer.error["hint"]) not in answer.error["message"]
    assert admin.get(module_path(name)).status == 404


SICK = """
from simple.simple import SimpleStorage

class Base(SimpleStorage):
    def __init__(self, storage_dir, secret=None):
        super().__init__(storage_dir)

class NoStatistics(Base):
    def statistics(self, context):
        return {"capacity": {"total": 1}}

class Forgetful(Base):
    def get_read_stream(self, context, module_data):
        import io
        return io.BytesIO(b"something else")

class Boastful(Base):
    def available(self, context, module_data):
        return True

class Loud(Base):
    def __init__(self, storage_dir, secret):
        raise ValueError("cannot use " + secret)

class Well(Base):
    pass
"""


@pytest.fixture
def vendor_path(tmp_path: Path, name: str) -> tuple[Path, str]:
    """Return a folder with a vendor's package, and the package's unique name."""
    package = "vendor_" + name.split()[-1]
    folder = tmp_path / "python"
    (folder / package).mkdir(parents=True)
    (folder / package / "__init__.py").write_text("")
    (folder / package / "store.py").write_text(SICK)
    return folder, package


def vendor_spec(tmp_path: Path, vendor: tuple[Path, str], cls: str, **args: Any) -> dict[str, Any]:
    return {
        "module": f"{vendor[1]}.store.{cls}",
        "python_path": [str(vendor[0])],
        "args": {"storage_dir": str(tmp_path), **args},
    }


@pytest.mark.parametrize(
    ("cls", "method"),
    [("NoStatistics", "statistics"), ("Forgetful", "put"), ("Boastful", "available")],
)
def test_an_unhealthy_module_is_refused(
    admin: Client, name: str, tmp_path: Path, vendor_path: tuple[Path, str], cls: str, method: str
) -> None:
    answer = admin.put_json(module_path(name), vendor_spec(tmp_path, vendor_path, cls))
    assert (answer.status, answer.error["code"]) == (400, "module_rejected")
    assert f"method {method} failed" in answer.error["message"]
    assert admin.get(module_path(name)).status == 404


def test_secrets_are_never_shown(
    admin: Client, server: Server, name: str, tmp_path: Path, vendor_path: tuple[Path, str]
) -> None:
    spec = vendor_spec(tmp_path, vendor_path, "Loud", secret="hunter2hunter2")
    refused = admin.put_json(module_path(name), spec)
    assert refused.status == 400
    assert b"cannot use (redacted)" in refused.body
    spec = vendor_spec(tmp_path, vendor_path, "Well", secret="hunter2hunter2")
    assert admin.put_json(module_path(name), spec).status == 204
    shown = admin.get(module_path(name))
    assert shown.json()["args"] == {"storage_dir": str(tmp_path), "secret": "(redacted)"}
    assert b"hunter2hunter2" not in admin.get(f"{SYSTEM}/vendor_modules/").body
    assert "hunter2hunter2" not in server.log()


def test_new_arguments_reach_every_worker_without_a_restart(
    admin: Client, server: Server, name: str, tmp_path: Path
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    assert admin.put_json(module_path(name), simple(first)).status == 204
    user = f"user of {name}"
    answer = admin.put_json(path_of("system_configuration", "users", user), {"policy": name})
    assert answer.status == 201
    clients = connections(server, user, answer.json()["password"])
    assert clients[0].put(path_of("b", is_container=True)).status == 201
    for number, client in enumerate(clients):  # both workers have used the first instance
        assert client.put(path_of("b", f"old {number}"), b"x").status == 201
    workers = server.workers()
    assert admin.put_json(module_path(name), simple(second)).status == 204
    stored = len(list(second.rglob("*")))
    for number, client in enumerate(clients):
        assert client.put(path_of("b", f"new {number}"), b"x").status == 201
    assert len(list(second.rglob("*"))) >= stored + len(clients)
    assert server.workers() == workers
    assert admin.delete(module_path(name)).status == 409


def test_a_module_that_is_moved_gets_the_tenants_volumes(
    admin: Client, server: Server, name: str, tmp_path: Path
) -> None:
    for directory in ("first", "second"):
        spec = {"module": "zfsstore.ZFSStorage", "args": {"directory": str(tmp_path / directory)}}
        assert admin.put_json(module_path(name), spec).status == 204
        answer = create_user(admin, name, {"policy": name, "password": "long enough"})
        assert answer.status == 204
        user = server.client(name, "long enough")
        assert user.put(path_of("b", is_container=True)).status == 201
        assert user.put(path_of("b", directory), b"x").status == 201
    listed = user.get(path_of("b", is_container=True)).json()["children"]
    assert [child["name"] for child in listed] == ["second"]


def test_a_module_in_use_cannot_be_deleted(admin: Client, name: str, tmp_path: Path) -> None:
    assert admin.put_json(module_path(name), simple(tmp_path)).status == 204
    tenant = path_of("system_configuration", "tenants", f"tenant of {name}")
    assert admin.put_json(tenant, {"policy": name}).status == 204
    refused = admin.delete(module_path(name))
    assert (refused.status, refused.error["code"]) == (409, "has_dependents")
    assert f"tenant of {name}" in refused.error["message"]
    assert admin.delete(tenant).status == 204
    assert admin.delete(module_path(name)).status == 204


def test_a_tenants_quota(admin: Client, name: str) -> None:
    tenant = path_of("system_configuration", "tenants", name)
    quota = 500 * 1024 * 1024
    assert admin.put_json(tenant, {"policy": "default", "quota_bytes": quota}).status == 204
    assert admin.get(tenant).json() == {"name": name, "policy": "default", "quota_bytes": quota}
    assert admin.put_json(tenant, {"policy": "default", "quota_bytes": 2 * quota}).status == 204
    assert admin.get(tenant).json()["quota_bytes"] == 2 * quota
    assert admin.put_json(tenant, {"policy": "default"}).status == 204
    assert admin.get(tenant).json()["quota_bytes"] == 2 * quota
    assert admin.put_json(tenant, {"policy": "default", "quota_bytes": None}).status == 204
    assert admin.get(tenant).json()["quota_bytes"] is None
    chosen = {"quota": "32M"}
    assert admin.put_json(tenant, {"policy": "default", "properties": chosen}).status == 204
    assert admin.get(tenant).json()["quota_bytes"] == 32 * 1024 * 1024
    refused = admin.put_json(tenant, {"policy": "default", "properties": {"copies": "2"}})
    assert (refused.status, refused.error["code"]) == (501, "not_supported")
    assert admin.delete(tenant).status == 204


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"policy": "absent"}, "policy"),
        ({"policy": "default", "quota_bytes": 0}, "quota_bytes"),
        ({"policy": "default", "quota_bytes": 1.5}, "quota_bytes"),
        ({"policy": "default", "quota_bytes": True}, "quota_bytes"),
        ({"policy": "default", "quota": 5}, "quota"),
        ({"policy": "default", "properties": {"copies": 2}}, "properties"),
        ({}, "policy"),
    ],
)
def test_a_wrong_tenant_is_refused(admin: Client, name: str, spec: Any, field: str) -> None:
    tenant = path_of("system_configuration", "tenants", name)
    answer = admin.put_json(tenant, spec)
    assert (answer.status, answer.error["field"]) == (400, field)
    assert admin.get(tenant).status == 404


@pytest.mark.parametrize("bad", [".x", " x", "a:b", "a\nb", "x" * 200, "a\\b"])
def test_wrong_names_are_refused(admin: Client, bad: str) -> None:
    for kind in ("tenants", "users", "vendor_modules"):
        spec = {"module": "simple.simple.SimpleStorage"} if kind == "vendor_modules" else {}
        answer = admin.put_json(
            path_of("system_configuration", kind, bad), spec or {"policy": "default"}
        )
        assert (answer.status, answer.error["code"]) == (400, "invalid_name")


def test_a_user_sees_only_the_own_tenants_data(admin: Client, server: Server, name: str) -> None:
    clients = []
    for user in (f"alice {name}", f"bob {name}"):
        answer = create_user(admin, user, {"policy": "default"})
        assert answer.status == 201
        assert answer.json()["tenant"] == user
        clients.append(server.client(user, answer.json()["password"]))
    alice, bob = clients
    assert alice.put(path_of("private", is_container=True)).status == 201
    assert alice.put(path_of("private", "diary"), b"dear diary").status == 201
    assert bob.get("/cdmi/").json()["children"] == []
    for answer in (
        bob.get(path_of("private", "diary")),
        bob.get(path_of("private", is_container=True)),
        bob.put(path_of("private", "diary"), b"graffiti"),
        bob.delete(path_of("private", "diary")),
        bob.delete(path_of("private", is_container=True)),
    ):
        assert answer.status == 404
    assert alice.get(path_of("private", "diary")).body == b"dear diary"
    for path in (SYSTEM, f"{SYSTEM}/users/", module_path("default")):
        answer = bob.get(path)
        assert (answer.status, answer.error["code"]) == (403, "access_denied")
    assert bob.put_json(module_path("mine"), {}).status == 403


def test_two_users_of_one_tenant_share_its_data(admin: Client, server: Server, name: str) -> None:
    first = create_user(admin, f"one {name}", {"policy": "default", "tenant": name}).json()
    second = create_user(admin, f"two {name}", {"tenant": name}).json()
    one = server.client(first["name"], first["password"])
    two = server.client(second["name"], second["password"])
    one.put(path_of("shared", is_container=True))
    assert one.put(path_of("shared", "x"), b"x").status == 201
    assert two.get(path_of("shared", "x")).body == b"x"


def test_changing_a_user(admin: Client, server: Server, name: str) -> None:
    assert (
        create_user(admin, name, {"policy": "default", "password": "first password"}).status == 204
    )
    user = server.client(name, "first password")
    assert user.get("/cdmi/").status == 200
    assert create_user(admin, name, {"password": "second password"}).status == 204
    assert user.get("/cdmi/").status == 401
    user = server.client(name, "second password")
    assert user.get(SYSTEM).status == 403
    assert create_user(admin, name, {"role": "administrator"}).status == 204
    assert user.get(SYSTEM).status == 200
    shown = admin.get(path_of("system_configuration", "users", name))
    assert shown.json() == {"name": name, "tenant": name, "role": "administrator"}
    assert admin.delete(path_of("system_configuration", "users", name)).status == 204
    assert user.get("/cdmi/").status == 401


@pytest.mark.parametrize(
    ("spec", "status", "field"),
    [
        ({}, 400, "policy"),
        ({"policy": "absent"}, 400, "policy"),
        ({"policy": "default", "password": "short"}, 400, "password"),
        ({"policy": "default", "role": "king"}, 400, "role"),
        ({"policy": "default", "pasword": "long enough"}, 400, "pasword"),
        ({"policy": "default", "tenant": "a/b"}, 400, "name"),
    ],
)
def test_a_wrong_user_is_refused(
    admin: Client, name: str, spec: Any, status: int, field: str
) -> None:
    answer = create_user(admin, name, spec)
    assert (answer.status, answer.error.get("field")) == (status, field)
    assert admin.get(path_of("system_configuration", "users", name)).status == 404


def test_the_last_administrator_stays(admin: Client) -> None:
    administrator = path_of("system_configuration", "users", "administrator")
    others = [
        user["name"]
        for user in admin.get(f"{SYSTEM}/users/").json()["users"]
        if user["role"] == "administrator" and user["name"] != "administrator"
    ]
    for other in others:
        admin.delete(path_of("system_configuration", "users", other))
    assert admin.delete(administrator).status == 409
    assert admin.put_json(administrator, {"role": "user"}).status == 409


def test_the_password_file_is_private_and_the_password_is_nowhere_else(server: Server) -> None:
    path = server.data_dir / "administrator.password"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(server.data_dir.stat().st_mode) == 0o700
    assert server.password not in server.output + server.log()
    for file in server.data_dir.glob("catalog.db*"):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert server.password.encode() not in file.read_bytes()


def create_user(admin: Client, name: str, spec: Any) -> Answer:
    return admin.put_json(path_of("system_configuration", "users", name), spec)
