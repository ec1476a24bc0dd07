"""Containers by plain HTTP: the root, buckets, and nested containers inside them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from modules.errors import InvalidArgument, InvalidName, NotFound, ObjectNotFound
from zfsstore.host.buckets import Bucket
from zfsstore.host.exchange import Exchange
from zfsstore.host.http import (
    limit_parameter,
    query_parameters,
    refuse_snapshot,
)
from zfsstore.host.namespace.records import CommonPrefix, Version
from zfsstore.host.objects import ObjectService

RESERVED_PREFIX: Final = "cdmi_"

_PAGE_PARAMETERS: Final = ("limit", "after")
CHILDREN_PARAMETERS: Final = (*_PAGE_PARAMETERS, "snapshot")
"""Of a GET of a container, also without its slash."""


class Containers:
    """Translates requests for containers to the object service."""

    def __init__(self, objects: ObjectService) -> None:
        self._objects = objects

    def handle_root(self, exchange: Exchange) -> None:
        """Answer a request for /cdmi/: the buckets of the user's tenant."""
        if not exchange.path.is_container:
            exchange.redirect_to_container()
            return

        def get() -> None:
            parameters = query_parameters(exchange.query, _PAGE_PARAMETERS)
            page = self._objects.list_buckets(
                exchange.identity.tenant,
                after=parameters.get("after"),
                limit=limit_parameter(parameters),
            )
            children = [_bucket_entry(bucket) for bucket in page.buckets]
            exchange.answer_json({"children": children, "next": page.next_after})

        exchange.dispatch({"GET": get})

    def handle_bucket(self, exchange: Exchange, name: str) -> None:
        """Answer a request for a child of the root."""
        tenant = exchange.identity.tenant
        if not exchange.path.is_container:
            self._handle_without_slash(exchange, name)
            return

        def put() -> None:
            refuse_snapshot(exchange.query)
            _check_bucket_name(name)
            exchange.upload.require_empty("creating a container")
            try:
                self._objects.get_bucket(tenant, name)
            except NotFound:
                self._objects.create_bucket(tenant, name)
                exchange.answer_done(created=True)
            else:
                exchange.answer_done()

        def get() -> None:
            self._answer_children(exchange, name, "")

        def delete() -> None:
            refuse_snapshot(exchange.query)
            self._objects.delete_bucket(tenant, name)
            exchange.answer_done()

        exchange.dispatch({"GET": get, "PUT": put, "DELETE": delete})

    def handle_nested(self, exchange: Exchange, bucket: str, key: str) -> None:
        """Answer a request for a container inside a bucket; *key* ends in a slash."""
        tenant = exchange.identity.tenant

        def put() -> None:
            refuse_snapshot(exchange.query)
            exchange.upload.require_empty("creating a container")
            created = self._objects.create_container(tenant, bucket, key)
            exchange.answer_done(created=created)

        def get() -> None:
            self._answer_children(exchange, bucket, key)

        def delete() -> None:
            refuse_snapshot(exchange.query)
            self._objects.delete_container(tenant, bucket, key)
            exchange.answer_done()

        exchange.dispatch({"GET": get, "PUT": put, "DELETE": delete})

    def _handle_without_slash(self, exchange: Exchange, name: str) -> None:
        if exchange.method in ("GET", "HEAD"):
            snapshot = query_parameters(exchange.query, CHILDREN_PARAMETERS).get("snapshot")
            self._objects.get_bucket(exchange.identity.tenant, name, snapshot=snapshot)
            exchange.redirect_to_container()
            return
        raise InvalidArgument(
            "the root holds containers only, and a container's path ends in a slash",
            operation=exchange.method,
            subject=name,
            field="path",
            hint="create a container first: PUT it with a slash at the end",
        )

    def _answer_children(self, exchange: Exchange, bucket: str, prefix: str) -> None:
        parameters = query_parameters(exchange.query, CHILDREN_PARAMETERS)
        after, snapshot = parameters.get("after"), parameters.get("snapshot")
        tenant = exchange.identity.tenant
        if not prefix:
            self._objects.get_bucket(tenant, bucket, snapshot=snapshot)
        page = self._objects.list_children(
            tenant,
            bucket,
            prefix,
            after=None if after is None else prefix + after,
            limit=limit_parameter(parameters),
            snapshot=snapshot,
        )
        if (
            prefix
            and not page.items
            and not self._objects.container_exists(tenant, bucket, prefix, snapshot=snapshot)
        ):
            raise ObjectNotFound(
                "there is no such container", operation="list", subject=f"{bucket}/{prefix}"
            )
        children = [_entry(item, prefix) for item in page.items]
        next_after = None if page.next_after is None else page.next_after.removeprefix(prefix)
        exchange.answer_json({"children": children, "next": next_after})


def _check_bucket_name(name: str) -> None:
    if name.startswith(RESERVED_PREFIX):
        raise InvalidName(
            f"names that start with {RESERVED_PREFIX!r} are reserved by CDMI",
            operation="create container",
            subject=name,
            field="path",
        )


def _bucket_entry(bucket: Bucket) -> Mapping[str, Any]:
    return {"name": f"{bucket.name}/", "type": "container"}


def _entry(item: Version | CommonPrefix, prefix: str) -> Mapping[str, Any]:
    name = item.key.removeprefix(prefix)
    if isinstance(item, CommonPrefix) or item.is_container:
        return {"name": name, "type": "container"}
    return {
        "name": name,
        "type": "object",
        "size": item.size_bytes,
        "etag": item.etag,
        "modified": item.modified_at.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "content_type": item.content_type,
    }
