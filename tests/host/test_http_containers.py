"""Containers over plain HTTP: create, list in pages, delete."""

from __future__ import annotations

from typing import Any

import pytest

from tests.host.serving import Client, path_of


def children(client: Client, path: str) -> list[Any]:
    found = client.get(path).json()["children"]
    assert isinstance(found, list)
    return found


def test_create_list_delete(admin: Client) -> None:
    path = path_of("a container", is_container=True)
    assert [admin.put(path).status for _ in range(2)] == [201, 204]
    assert {"name": "a container/", "type": "container"} in children(admin, "/cdmi/")
    assert admin.get(path).json() == {"children": [], "next": None}
    assert admin.request("HEAD", path).body == b""
    assert [admin.delete(path).status for _ in range(2)] == [204, 404]
    assert {"name": "a container/", "type": "container"} not in children(admin, "/cdmi/")


def test_a_container_that_is_not_empty_stays(admin: Client, bucket: str) -> None:
    admin.put(path_of(bucket, "nested", is_container=True))
    assert admin.put(path_of(bucket, "nested", "x"), b"x").status == 201
    for names in ((bucket,), (bucket, "nested")):
        answer = admin.delete(path_of(*names, is_container=True))
        assert (answer.status, answer.error["code"]) == (409, "has_dependents")
    assert admin.get(path_of(bucket, "nested", "x")).body == b"x"


def test_nested_containers(admin: Client, bucket: str) -> None:
    nested = path_of(bucket, "2024", is_container=True)
    deeper = path_of(bucket, "2024", "may", is_container=True)
    assert admin.put(deeper).status == 404
    assert [admin.put(path).status for path in (nested, deeper, deeper)] == [201, 201, 204]
    assert admin.put(path_of(bucket, "2024", "may", "photo"), b"x").status == 201
    assert children(admin, path_of(bucket, is_container=True)) == [
        {"name": "2024/", "type": "container"}
    ]
    (photo,) = children(admin, deeper)
    assert (photo["name"], photo["type"], photo["size"]) == ("photo", "object", 1)
    admin.delete(path_of(bucket, "2024", "may", "photo"))
    assert [admin.delete(path).status for path in (deeper, nested)] == [204, 204]


def test_a_listing_in_pages(admin: Client, bucket: str) -> None:
    names = sorted((f"n {i}" for i in range(25)), key=str.encode)
    for name in names:
        assert admin.put(path_of(bucket, name), b"").status == 201
    path = path_of(bucket, is_container=True)
    found: list[str] = []
    after = ""
    for _ in range(10):
        page = admin.get(f"{path}?limit=10{after}").json()
        assert len(page["children"]) <= 10
        found += [child["name"] for child in page["children"]]
        if page["next"] is None:
            break
        after = "&after=" + page["next"].replace(" ", "%20")
    assert found == names


def test_a_listing_of_a_nested_container_in_pages(admin: Client, bucket: str) -> None:
    admin.put(path_of(bucket, "in", is_container=True))
    for name in ("a", "b", "c"):
        admin.put(path_of(bucket, "in", name), b"")
    path = path_of(bucket, "in", is_container=True)
    first = admin.get(f"{path}?limit=2").json()
    second = admin.get(f"{path}?limit=2&after={first['next']}").json()
    assert [c["name"] for c in first["children"] + second["children"]] == ["a", "b", "c"]
    assert second["next"] is None


@pytest.mark.parametrize("names", [(), ("nested",), ("nested", "deeper")])
def test_a_missing_slash_is_redirected(admin: Client, bucket: str, names: tuple[str, ...]) -> None:
    for depth in range(len(names)):
        admin.put(path_of(bucket, *names[: depth + 1], is_container=True))
    answer = admin.get(path_of(bucket, *names) + "?limit=5")
    assert (answer.status, answer.body) == (301, b"")
    assert admin.get(answer.headers["location"]).json()["next"] is None
    assert admin.get("/cdmi").headers["location"] == "/cdmi/"


def test_a_container_takes_no_body(admin: Client, bucket: str) -> None:
    for path in ("/cdmi/with-body/", path_of(bucket, "with-body", is_container=True)):
        assert admin.put(path, b"x").status == 400
        assert admin.get(path).status == 404


@pytest.mark.parametrize(
    ("method", "path"),
    [("PUT", "/cdmi/no%20such/x"), ("GET", "/cdmi/no%20such/"), ("GET", "/cdmi/no%20such/a/b")],
)
def test_a_missing_container_is_answered_in_words_of_http(
    admin: Client, method: str, path: str
) -> None:
    error = admin.request(method, path).error
    assert error["message"] == f"cannot {method} /cdmi/no%20such/: there is no such container"
    assert error["hint"] == "create the container first: PUT /cdmi/no%20such/"


def test_json_ends_with_a_line_feed(admin: Client, bucket: str) -> None:
    """Else a terminal's prompt would stand behind it."""
    for path in ("/cdmi/", path_of(bucket, is_container=True), "/cdmi/absent/", "/cdmi/%zz"):
        body = admin.get(path).body
        assert body.startswith(b"{")
        assert body.endswith(b"}\n")
