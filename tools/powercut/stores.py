"""The store as its clients see it: through ObjectService, or through HTTP."""

from __future__ import annotations

import base64
import http.client
import io
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from modules.errors import VolumeExists
from zfsstore import ZFSStorage
from zfsstore.host.catalog.records import Tenant
from zfsstore.host.objects import ObjectService

TENANT: Final = Tenant("load", "zfs")
BUCKET: Final = "objects"
_TYPE: Final = re.compile(r"application/x\.step-(\d+)")


class Store(Protocol):
    """What a client calls. Each method returns when the store has acknowledged."""

    def put(self, key: str, content: bytes, number: int) -> None: ...
    def delete(self, key: str) -> None: ...
    def create_container(self, key: str) -> None: ...
    def delete_container(self, key: str) -> None: ...
    def create_bucket(self, name: str) -> None: ...
    def delete_bucket(self, name: str) -> None: ...


@dataclass(frozen=True, slots=True)
class Site:
    """Where a store is: exactly one of a dataset and a directory.

    Attributes:
        names_file: the SQL database that an ObjectService wants to have; of no use here.
    """

    names_file: str
    dataset: str | None = None
    directory: str | None = None

    def storage(self) -> ZFSStorage:
        return ZFSStorage(dataset=self.dataset, directory=self.directory)

    @contextmanager
    def service(self, storage: ZFSStorage | None = None) -> Iterator[ObjectService]:
        """Give the service, as a process of the host has it."""
        module = storage or self.storage()

        def get_module(_name: str) -> ZFSStorage:
            return module

        def context(**extra: Any) -> dict[str, Any]:
            return {"func": {"getModule": get_module}, **extra}

        service = ObjectService(
            modules=get_module,
            context=context,
            database_url=f"sqlite:///{self.names_file}",
            cache_dir=Path(f"{self.names_file}-cache"),
        )
        try:
            yield service
        finally:
            service.close()

    def create(self) -> None:
        """Create tenant and bucket."""
        storage = self.storage()
        storage.volumes.create_volume(TENANT.name)
        with self.service(storage) as service:
            service.create_bucket(TENANT, BUCKET)


class ServiceStore:
    """Calls the service in this process."""

    def __init__(self, service: ObjectService) -> None:
        self._service = service

    def put(self, key: str, content: bytes, number: int) -> None:
        self._service.put_object(
            TENANT,
            BUCKET,
            key,
            io.BytesIO(content),
            content_length=len(content),
            content_type=format_type(number),
            metadata={"step": number},
        )

    def delete(self, key: str) -> None:
        self._service.delete_object(TENANT, BUCKET, key)

    def create_container(self, key: str) -> None:
        self._service.create_container(TENANT, BUCKET, key)

    def delete_container(self, key: str) -> None:
        self._service.delete_container(TENANT, BUCKET, key)

    def create_bucket(self, name: str) -> None:
        self._service.create_bucket(TENANT, name)

    def delete_bucket(self, name: str) -> None:
        self._service.delete_bucket(TENANT, name)


class HttpStore:
    """Talks to a server on the loopback address, on one connection: one thread's own."""

    def __init__(self, port: int, password: str) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        token = base64.b64encode(f"{TENANT.name}:{password}".encode()).decode()
        self._headers = {"Authorization": f"Basic {token}"}

    def put(self, key: str, content: bytes, number: int) -> None:
        self._request("PUT", f"{BUCKET}/{key}", content, {"Content-Type": format_type(number)})

    def delete(self, key: str) -> None:
        self._request("DELETE", f"{BUCKET}/{key}")

    def create_container(self, key: str) -> None:
        self._request("PUT", f"{BUCKET}/{key}")

    def delete_container(self, key: str) -> None:
        self._request("DELETE", f"{BUCKET}/{key}")

    def create_bucket(self, name: str) -> None:
        self._request("PUT", f"{name}/")

    def delete_bucket(self, name: str) -> None:
        self._request("DELETE", f"{name}/")

    def _request(
        self, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None
    ) -> None:
        self._connection.request(
            method, f"/cdmi/{path}", body, {**self._headers, **(headers or {})}
        )
        answer = self._connection.getresponse()
        text = answer.read()
        if answer.status not in (201, 204):
            raise RuntimeError(f"{method} {path}: {answer.status} {text[:500]!r}")


def format_type(number: int) -> str:
    """Return the content type that a step's object gets: index and data name the same step."""
    return f"application/x.step-{number}"


def parse_type(content_type: str | None) -> int | None:
    """Return the number of the step, None when it is none of ours."""
    found = _TYPE.fullmatch(content_type or "")
    return int(found[1]) if found else None


def finish_bucket(service: ObjectService, name: str) -> None:
    """Create a bucket whose creation or deletion may have been cut off anywhere."""
    try:
        service.create_bucket(TENANT, name)
    except VolumeExists:
        service.get_bucket(TENANT, name)


def index_file(storage: ZFSStorage, bucket: str) -> Path:
    """Return the database of a bucket's names."""
    path = storage.state_dir({"tenant": f"{TENANT.name}/{bucket}"}) / "index.db"
    if not os.path.isfile(path):
        raise RuntimeError(f"bucket {bucket} has no index")
    return path
