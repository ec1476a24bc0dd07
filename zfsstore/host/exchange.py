"""One request and its answer, as the front ends see them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import falcon

from zfsstore.host.auth import Identity
from zfsstore.host.errors import MethodNotAllowed
from zfsstore.host.paths import RequestPath, format_path
from zfsstore.host.uploads import Upload


@dataclass(frozen=True, slots=True)
class Exchange:
    """A request that was authenticated, its path decoded, and the answer to fill."""

    request: falcon.Request
    response: falcon.Response
    path: RequestPath
    identity: Identity
    upload: Upload

    @property
    def environ(self) -> Mapping[str, Any]:
        """The WSGI environment."""
        return self.request.env

    @property
    def method(self) -> str:
        """The method; HEAD is answered as GET is, without the body."""
        return self.request.method

    @property
    def query(self) -> str:
        """The query string as it was sent, "" for none."""
        return str(self.request.env.get("QUERY_STRING") or "")

    def dispatch(self, methods: Mapping[str, Callable[[], None]]) -> None:
        """Call what *methods* has for the request's method; a GET answers HEAD, too.

        Raises:
            MethodNotAllowed: it has none.
        """
        allowed = dict(methods)
        if "GET" in allowed:
            allowed.setdefault("HEAD", allowed["GET"])
        if self.method not in allowed:
            raise MethodNotAllowed(self.method, tuple(allowed))
        allowed[self.method]()

    def redirect_to_container(self) -> None:
        """Answer 301 to the same path with a slash at its end."""
        query = self.environ.get("QUERY_STRING")
        path = format_path(self.path.components, is_container=True, mount=self.path.mount)
        self.response.status = falcon.HTTP_301
        self.response.set_header("Location", f"{path}?{query}" if query else path)

    def answer_json(self, value: object, *, status: str = falcon.HTTP_200) -> None:
        """Answer with a JSON value."""
        self.response.status = status
        self.response.content_type = falcon.MEDIA_JSON
        self.response.data = to_json(value)

    def answer_done(self, *, created: bool = False) -> None:
        """Answer 201 when something was *created*, else 204; no body."""
        self.response.status = falcon.HTTP_201 if created else falcon.HTTP_204


def to_json(value: object) -> bytes:
    """Return a JSON value as UTF-8 text that ends in a line feed, as terminals like it.

    A file name of the system that is no UTF-8, in a module's error say, is written as JSON escapes.
    """
    text = json.dumps(value, ensure_ascii=False, indent=1)
    return text.encode("utf-8", "backslashreplace") + b"\n"
