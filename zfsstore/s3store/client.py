"""The boto3 client: one for each process, made when it is first needed."""

from __future__ import annotations

import configparser
import functools
import os
import stat
import threading
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import boto3
import botocore.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError
from botocore.loaders import create_loader

from modules.errors import ConfigurationError, PermissionDenied
from zfsstore.s3store.config import S3Config

_CLEANUP_TIMEOUT_S: Final = 5.0
_DEFAULT_REGION: Final = "us-east-1"
_MAX_FILE_BYTES: Final = 64 * 1024
_READABLE_BY_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO
_AWS_NAMES: Final = ("aws_access_key_id", "aws_secret_access_key", "aws_session_token")


@dataclass(slots=True, repr=False)
class _Made:
    """Clients, and what they were made of: another file of credentials needs others.

    It holds secrets, so it shows nothing.
    """

    signature: tuple[int, ...]
    make: Callable[..., Any]
    normal: Any
    cleanup: Any = None


class Clients:
    """Gives the clients of this process; they are safe for any number of threads.

    A fork leaves them behind: two processes must not talk through one connection.
    """

    def __init__(self, config: S3Config) -> None:
        self._config = config
        self.forget()
        _all.add(self)

    def get(self) -> Any:
        """Return the client for all that matters.

        Raises:
            ConfigurationError: boto3 cannot make one of these arguments.
            PermissionDenied: others may read the file of credentials, or we may not.
        """
        return self._current().normal

    def cleanup(self) -> Any:
        """Return a client that does not try again, for what a sweep would do as well."""
        made = self._current()
        with self._lock:
            if made.cleanup is None:
                made.cleanup = made.make(config=self._settings(is_cleanup=True))
            return made.cleanup

    def forget(self) -> None:
        """Make other clients for the next call; whoever uses these may go on."""
        self._lock = threading.Lock()
        self._made: _Made | None = None

    def _current(self) -> _Made:
        signature = self._signature()
        made = self._made
        if made is None or made.signature != signature:
            with self._lock:
                made = self._made
                if made is None or made.signature != signature:
                    made = self._made = self._make(signature)
        return made

    def _signature(self) -> tuple[int, ...]:
        """Return what changes when the file of credentials does."""
        path = (self._config.credentials or {}).get("file")
        if path is None:
            return ()
        try:
            status = os.stat(path)
        except OSError as error:
            raise _unreadable(path, error) from error
        return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)

    def _make(self, signature: tuple[int, ...]) -> _Made:
        given = self._config.credentials or {}
        keys = _keys_of(given)
        profile = None if "file" in given else given.get("profile")
        try:
            core = botocore.session.get_session()
            session = boto3.session.Session(botocore_session=core, profile_name=profile)
            loader = _loader(core.get_config_variable("data_path"))
            core.register_component("data_loader", loader)
            make = functools.partial(
                session.client,
                "s3",
                region_name=self._region(session),
                endpoint_url=self._config.endpoint_url,
                verify=self._config.ca_file,
                **keys,
            )
            return _Made(signature, make, make(config=self._settings()))
        except (BotoCoreError, ValueError) as error:
            raise ConfigurationError(
                f"boto3 makes no client of the arguments ({type(error).__name__})",
                operation="use S3 service",
                field="credentials" if profile else "endpoint_url",
                hint="check profile, region and endpoint_url",
            ) from None  # the values may be secrets

    def _region(self, session: Any) -> str | None:
        found: str | None = self._config.region or session.region_name
        return found or (_DEFAULT_REGION if self._config.endpoint_url else None)

    def _settings(self, *, is_cleanup: bool = False) -> Any:
        config = self._config
        style = config.addressing
        if style == "auto" and config.endpoint_url:
            style = "path"  # a service of one's own rarely has a name for each bucket
        connect, read = config.connect_timeout_s, config.read_timeout_s
        if is_cleanup:
            connect, read = min(connect, _CLEANUP_TIMEOUT_S), min(read, _CLEANUP_TIMEOUT_S)
        return Config(
            connect_timeout=connect,
            read_timeout=read,
            max_pool_connections=config.max_connections,
            retries={
                "mode": "standard",
                "total_max_attempts": 1 if is_cleanup else config.max_attempts,
            },
            s3={"addressing_style": style},
            # we give and check our own: those of ranges and of parts would not be checked
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            tcp_keepalive=True,
        )


@functools.cache
def _loader(data_path: str | None) -> Any:
    """Return one reader of boto3's descriptions for all clients; parsing them takes 0.1 s."""
    return create_loader(data_path)


_all: Final[weakref.WeakSet[Clients]] = weakref.WeakSet()


def _after_fork() -> None:
    for clients in list(_all):
        clients.forget()


os.register_at_fork(after_in_child=_after_fork)


def _keys_of(given: Any) -> dict[str, str]:
    """Return the keys for boto3; none where it looks for them itself."""
    if "file" in given:
        return _keys_in_file(given["file"], given.get("profile", "default"))
    if "environment" in given:
        return _keys_in_environment(given["environment"])
    return {f"aws_{name}": value for name, value in given.items() if name != "profile"}


def _keys_in_environment(prefix: str) -> dict[str, str]:
    found = {
        name: os.environ.get(f"{prefix}_{name.removeprefix('aws_').upper()}") for name in _AWS_NAMES
    }
    keys = {name: value for name, value in found.items() if value}
    if len(keys.keys() - {"aws_session_token"}) < 2:
        raise ConfigurationError(
            f"{prefix}_ACCESS_KEY_ID and {prefix}_SECRET_ACCESS_KEY are not both set",
            field="credentials.environment",
            operation="use S3 service",
            hint="set them in the environment of the process that stores objects",
        )
    return keys


def _keys_in_file(path: str, profile: str) -> dict[str, str]:
    """Return the keys in a file of AWS's format; what it holds is in no error."""
    try:
        with open(path, encoding="utf-8") as file:
            if os.fstat(file.fileno()).st_mode & _READABLE_BY_OTHERS:
                raise PermissionDenied(
                    "others than its owner may use it",
                    permission="mode 0600",
                    operation="read file of credentials",
                    subject=path,
                    hint=f"chmod 600 {path}",
                )
            content = file.read(_MAX_FILE_BYTES)
    except (OSError, UnicodeDecodeError) as error:
        raise _unreadable(path, error) from error
    parser = configparser.RawConfigParser()
    try:
        parser.read_string(content)
        section = dict(parser.items(profile))
    except configparser.Error as error:
        raise _bad_file(path, f"it has no readable section [{profile}]", error) from None
    keys = {name: section[name] for name in _AWS_NAMES if section.get(name)}
    if len(keys.keys() - {"aws_session_token"}) < 2:
        raise _bad_file(path, f"[{profile}] lacks aws_access_key_id or aws_secret_access_key", None)
    return keys


def _bad_file(path: str, reason: str, error: Exception | None) -> ConfigurationError:
    kind = f" ({type(error).__name__})" if error else ""
    return ConfigurationError(
        reason + kind,
        field="credentials.file",
        operation="read file of credentials",
        subject=path,
        hint="its format is that of ~/.aws/credentials",
    )


def _unreadable(path: str, error: Exception) -> ConfigurationError | PermissionDenied:
    if isinstance(error, PermissionError):
        return PermissionDenied(
            "this process may not read it",
            permission="read",
            operation="read file of credentials",
            subject=path,
            hint="make it belong to the user of this process",
        )
    reason = (error.strerror if isinstance(error, OSError) else None) or "it is no text"
    return ConfigurationError(
        reason,
        field="credentials.file",
        operation="read file of credentials",
        subject=path,
        hint="its format is that of ~/.aws/credentials",
    )
