"""?snapshot= over HTTP, on a real server; the snapshots are an operator's."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.host.serving import Client, Server, path_of
from zfsstore.host.config import Config
from zfsstore.host.services import open_services


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    running = Server(tmp_path_factory.mktemp("snapshots") / "data").start()
    yield running
    assert running.stop() == 0


@pytest.fixture(scope="module")
def client(server: Server) -> Client:
    """Return a client whose bucket "photos" was changed after its snapshot "monday"."""
    client = server.client()
    for names in (("photos",), ("photos", "trips")):
        assert client.put(path_of(*names, is_container=True)).status == 201
    assert client.put(path_of("photos", "a.jpg"), b"old", Content_Type="image/jpeg").status == 201
    assert client.put(path_of("photos", "trips", "b"), b"in a trip").status == 201
    with open_services(Config(data_dir=server.data_dir)) as services:
        services.volumes.create_snapshot("administrator/photos", "monday")
    assert client.put(path_of("photos", "a.jpg"), b"new").status == 204
    assert client.delete(path_of("photos", "trips", "b")).status == 204
    assert client.delete(path_of("photos", "trips", is_container=True)).status == 204
    return client


PHOTO = path_of("photos", "a.jpg")


def test_an_object_as_it_was(client: Client) -> None:
    got = client.get(f"{PHOTO}?snapshot=monday")
    assert (got.status, got.body) == (200, b"old")
    assert got.headers["content-type"] == "image/jpeg"
    head = client.request("HEAD", f"{PHOTO}?snapshot=monday")
    assert (head.status, head.headers["etag"]) == (200, got.headers["etag"])
    part = client.get(f"{PHOTO}?snapshot=monday", Range="bytes=1-1")
    assert (part.status, part.body) == (206, b"l")
    same = client.get(f"{PHOTO}?snapshot=monday", If_None_Match=got.headers["etag"])
    assert same.status == 304
    assert client.get(PHOTO).body == b"new"


def test_containers_as_they_were(client: Client) -> None:
    bucket, trips = (path_of(*n, is_container=True) for n in (("photos",), ("photos", "trips")))
    children = client.get(f"{bucket}?snapshot=monday").json()["children"]
    assert [child["name"] for child in children] == ["a.jpg", "trips/"]
    page = client.get(f"{bucket}?snapshot=monday&limit=1").json()
    after = client.get(f"{bucket}?snapshot=monday&after={page['next']}").json()
    assert [child["name"] for child in after["children"]] == ["trips/"]
    below = client.get(f"{trips}?snapshot=monday").json()["children"]
    assert [child["name"] for child in below] == ["b"]
    assert client.get(trips).status == 404
    moved = client.get(f"{trips.rstrip('/')}?snapshot=monday")
    assert (moved.status, moved.headers["location"]) == (301, f"{trips}?snapshot=monday")
    moved = client.get(f"{bucket.rstrip('/')}?snapshot=monday")
    assert (moved.status, moved.headers["location"]) == (301, f"{bucket}?snapshot=monday")


def test_what_is_not_there(client: Client) -> None:
    for path, code in (
        (f"{PHOTO}?snapshot=tuesday", "snapshot_not_found"),
        (path_of("photos", is_container=True) + "?snapshot=tuesday", "snapshot_not_found"),
        (path_of("photos", "later") + "?snapshot=monday", "object_not_found"),
        (path_of("absent", "a.jpg") + "?snapshot=monday", "volume_not_found"),
    ):
        answer = client.get(path)
        assert (answer.status, answer.error["code"]) == (404, code), path
    answer = client.get(f"{PHOTO}?snapshot=a%2Fb")
    assert (answer.status, answer.error["field"]) == (400, "snapshot")
    assert client.get(f"{PHOTO}?snapshot=monday&snapshot=monday").status == 400
    assert client.get(f"{PHOTO}?snapshot=monday&limit=1").status == 400
    assert client.get("/cdmi/?snapshot=monday").status == 400


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
@pytest.mark.parametrize("names", [("photos",), ("photos", "trips"), ("photos", "a.jpg")])
def test_nothing_is_changed_in_a_snapshot(
    client: Client, method: str, names: tuple[str, ...]
) -> None:
    path = path_of(*names, is_container=names[-1] != "a.jpg")
    answer = client.request(method, f"{path}?snapshot=monday", b"")
    assert (answer.status, answer.error["field"]) == (400, "snapshot")
    assert "cannot be changed" in answer.error["message"]
    assert client.get(PHOTO).body == b"new"


def test_a_module_without_snapshots(server: Server, client: Client, tmp_path: Path) -> None:
    spec = {"module": "simple.simple.SimpleStorage", "args": {"storage_dir": str(tmp_path)}}
    base = "/cdmi/system_configuration"
    assert client.put_json(f"{base}/vendor_modules/plain", spec).status == 204
    made = client.put_json(f"{base}/users/plain", {"policy": "plain"})
    user = server.client("plain", made.json()["password"])
    assert user.put(path_of("b", is_container=True)).status == 201
    answer = user.get(path_of("b", "k") + "?snapshot=monday")
    assert (answer.status, answer.error["code"]) == (501, "not_supported")


def test_todays_catalog_says_who_may_read(server: Server, client: Client) -> None:
    stranger = server.client("stranger", "no such password")
    assert stranger.get(f"{PHOTO}?snapshot=monday").status == 401
    base = "/cdmi/system_configuration"
    made = client.put_json(f"{base}/users/other", {"policy": "default"})
    other = server.client("other", made.json()["password"])
    assert other.get(f"{PHOTO}?snapshot=monday").status == 404
