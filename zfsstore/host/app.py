"""The WSGI application: the same under the embedded gunicorn and under Apache mod_wsgi."""

from __future__ import annotations

import logging
import os
import secrets
from collections.abc import Iterable, Mapping
from typing import Any, Final, Protocol

import falcon

from modules.errors import NotFound, StorageError
from zfsstore.host.bootstrap import bootstrap
from zfsstore.host.cdmi import CdmiFrontEnd
from zfsstore.host.code import record_code
from zfsstore.host.config import Config
from zfsstore.host.errors import (
    MethodNotAllowed,
    RangeNotSatisfiable,
    Unauthenticated,
    http_status,
)
from zfsstore.host.exchange import Exchange, to_json
from zfsstore.host.http import error_body, internal_error_body, simple_error_body
from zfsstore.host.paths import request_path
from zfsstore.host.services import Services
from zfsstore.host.uploads import Upload

_log: Final = logging.getLogger(__name__)

RETRY_AFTER_S: Final = 2
REALM: Final = "zfsstore"


class FrontEnd(Protocol):
    """A translator of one dialect to the services."""

    def handle(self, exchange: Exchange) -> None:
        """Answer a request; raise StorageError for anything else."""


class Host:
    """A WSGI application over the services of this process.

    Make it after a fork, with ``create_app``.
    """

    def __init__(self, services: Services) -> None:
        self._services = services
        self._config = services.config
        services.registry.load_all()
        services.objects.publishing.start()
        services.objects.chores.start()
        self._authenticator = services.authenticator()
        self._front_ends: Mapping[str, FrontEnd] = {
            "cdmi": CdmiFrontEnd(services.objects, services.administration)
        }
        self._falcon = falcon.App()
        # An answer without a body has no type; Falcon takes None, its annotation does not.
        self._falcon.resp_options.default_media_type = None  # type: ignore[assignment]
        self._falcon.add_sink(self._answer, prefix="/")
        self._falcon.add_error_handler(Exception, self._answer_fault)
        self._falcon.add_error_handler(falcon.HTTPError, self._answer_http_error)
        self._falcon.add_error_handler(StorageError, self._answer_error)

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """Answer one request. Source: PEP 3333."""
        connection = environ.get("gunicorn.socket")
        if connection is not None:  # elsewhere the web server has a timeout of its own
            connection.settimeout(self._config.stall_timeout_s)
        return self._falcon(environ, start_response)

    def close(self) -> None:
        """Close catalog, modules and namespaces."""
        self._services.close()

    def _answer(self, req: falcon.Request, resp: falcon.Response, **_: Any) -> None:
        req.context.id = secrets.token_hex(8)
        resp.set_header("X-Request-Id", req.context.id)
        path = request_path(req.env)
        front_end = self._front_ends.get(path.components[0]) if path.components else None
        if front_end is None:
            raise NotFound("there is nothing here", hint="everything is below /cdmi/")
        revision = self._services.registry.follow()
        identity = self._authenticator.authenticate(
            req.env.get("HTTP_AUTHORIZATION"), revision=revision
        )
        req.context.identity = identity
        upload = Upload(req.env, max_bytes=self._config.max_object_bytes)
        req.context.upload = upload
        front_end.handle(Exchange(req, resp, path, identity, upload))

    def _answer_error(
        self, request: falcon.Request, response: falcon.Response, error: StorageError, _: Any
    ) -> None:
        status = http_status(error)
        if status == 500:
            _log.error("request %s: %s", _id(request), error, exc_info=error)
        elif status > 500:
            _log.warning("request %s: %s", _id(request), error)
        _clear(response)
        if isinstance(error, Unauthenticated):
            response.set_header("WWW-Authenticate", f'Basic realm="{REALM}", charset="UTF-8"')
        elif isinstance(error, MethodNotAllowed):
            response.set_header("Allow", ", ".join(error.allowed))
        elif isinstance(error, RangeNotSatisfiable):
            response.set_header("Content-Range", f"bytes */{error.size_bytes}")
        elif status == 503:
            response.set_header("Retry-After", str(RETRY_AFTER_S))
        is_detailed = status != 500 or _is_administrator(request)
        body = error_body(error, request_id=_id(request), is_detailed=is_detailed)
        _finish(request, response, status, body)

    def _answer_http_error(
        self, request: falcon.Request, response: falcon.Response, error: falcon.HTTPError, _: Any
    ) -> None:
        _clear(response)
        status = error.status_code
        code = str(error.title or error.status).lower().replace(" ", "_")
        message = error.description or "the request is not understood"
        _finish(request, response, status, simple_error_body(code, message))

    def _answer_fault(
        self, request: falcon.Request, response: falcon.Response, error: Exception, _: Any
    ) -> None:
        _log.error("request %s failed", _id(request), exc_info=error)
        _clear(response)
        _finish(request, response, 500, internal_error_body(_id(request)))


def create_app(config: Config | Mapping[str, Any] | str | os.PathLike[str]) -> Host:
    """Return the WSGI application for these settings, creating the store when it is new.

    Call it in the process that serves, after any fork. It takes the code of storage modules that
    is there: a web server has nobody who could say whether all its processes start, or one.

    Args:
        config: a Config, a mapping of settings, or the path of a TOML file.

    Raises:
        StorageError: a setting is wrong, or the data directory or the catalog cannot be used.
    """
    checked = Config.load(config)
    bootstrap(checked)
    record_code(checked)
    return Host(Services.open(checked))


def _finish(
    request: falcon.Request, response: falcon.Response, status: int, body: Mapping[str, Any]
) -> None:
    response.status = status
    response.content_type = falcon.MEDIA_JSON
    response.data = to_json(body)
    upload = getattr(request.context, "upload", None)
    if upload is None:
        try:
            upload = Upload(request.env)
        except StorageError:
            return
    upload.drain()


def _clear(response: falcon.Response) -> None:
    """Take back what a handler set before it failed."""
    for name in ("ETag", "Last-Modified", "Accept-Ranges", "Content-Range", "Content-Length"):
        response.delete_header(name)
    response.stream = None
    response.data = None


def _id(request: falcon.Request) -> str:
    return str(getattr(request.context, "id", "-"))


def _is_administrator(request: falcon.Request) -> bool:
    identity = getattr(request.context, "identity", None)
    return identity is not None and identity.is_administrator
