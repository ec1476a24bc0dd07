"""The host's settings: from a TOML file or a mapping, checked once, frozen."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from types import UnionType
from typing import Any, Final, Self, get_args, get_origin, get_type_hints

from modules.errors import ConfigurationError

MIN_THREADS: Final = 32
MAX_UPLOAD_STALL_S: Final = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Every setting of the host; each has a default that works.

    Attributes:
        data_dir: catalog, objects of the module "default", password file.
        listen: "address:port", "[IPv6]:port" or "unix:/path"; port 0 takes a free one.
        workers: processes.
        threads: requests served at once by each process. A slow upload or download holds one.
        database_url: SQLAlchemy URL of catalog and namespace; None for SQLite in *data_dir*.
        python_path: folders, eggs or wheels that every module may be imported from.
        max_object_bytes: larger uploads get 413; None for no limit.
        stall_timeout_s: a client that neither sends nor takes a byte for so long is cut off.
        graceful_timeout_s: how long a stopping or reloading worker may finish its requests.
        keepalive_s: how long an idle connection stays open.
        max_argon2: password checks at once in each process; each takes 19 MiB and a core.
        access_log: one line a request on standard output, without secrets.
        log_level: "debug", "info", "warning" or "error".
        http_parser: "auto" (the C parser when gunicorn-h1c is installed), "fast" or "python".
    """

    data_dir: Path = Path("data")
    listen: str = "127.0.0.1:8080"
    workers: int = 2
    threads: int = 64
    database_url: str | None = None
    python_path: tuple[str, ...] = ()
    max_object_bytes: int | None = None
    stall_timeout_s: float = 60.0
    graceful_timeout_s: int = 30
    keepalive_s: int = 15
    max_argon2: int = 2
    access_log: bool = False
    log_level: str = "info"
    http_parser: str = "auto"

    def __post_init__(self) -> None:
        """Check what the types do not say.

        Raises:
            ConfigurationError: with the field's name.
        """
        object.__setattr__(self, "data_dir", Path(os.path.abspath(self.data_dir)))
        _at_least("workers", self.workers, 1)
        _at_least("threads", self.threads, MIN_THREADS)
        _at_least("max_argon2", self.max_argon2, 1)
        _at_least("graceful_timeout_s", self.graceful_timeout_s, 1)
        _at_least("keepalive_s", self.keepalive_s, 1)
        if self.max_object_bytes is not None:
            _at_least("max_object_bytes", self.max_object_bytes, 1)
        if not 0 < self.stall_timeout_s <= MAX_UPLOAD_STALL_S:
            raise _wrong("stall_timeout_s", f"must be above 0 and up to {MAX_UPLOAD_STALL_S:.0f}")
        _one_of("log_level", self.log_level, ("debug", "info", "warning", "error"))
        _one_of("http_parser", self.http_parser, ("auto", "fast", "python"))
        _check_listen(self.listen)
        for entry in self.python_path:
            if not os.path.isabs(entry):
                raise _wrong("python_path", f"{entry!r} is no absolute path")
        if self.database_url is not None and "://" not in self.database_url:
            raise _wrong(
                "database_url", "is no URL", hint="write sqlite:////path/file.db or postgresql://"
            )

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], *, base: Path | None = None) -> Self:
        """Return the settings in *values*, the rest at their defaults.

        Args:
            base: what a relative ``data_dir`` is relative to; the current directory if None.

        Raises:
            ConfigurationError: an unknown name, a wrong type, a value out of range.
        """
        hints = get_type_hints(cls)
        unknown = sorted(set(values) - set(hints))
        if unknown:
            raise _wrong(
                unknown[0], "there is no such setting", hint=f"the settings are {', '.join(hints)}"
            )
        settings = {name: _typed(name, value, hints[name]) for name, value in values.items()}
        if base is not None and "data_dir" in settings:
            settings["data_dir"] = base / settings["data_dir"]
        return cls(**settings)

    @classmethod
    def from_file(cls, path: str | os.PathLike[str]) -> Self:
        """Return the settings of a TOML file; a relative ``data_dir`` is relative to the file.

        Raises:
            ConfigurationError: unreadable, no TOML, or as ``from_dict``.
        """
        file = Path(path)
        try:
            with file.open("rb") as stream:
                values = tomllib.load(stream)
        except OSError as error:
            raise ConfigurationError(
                error.strerror or str(error), operation="read settings", subject=str(file)
            ) from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ConfigurationError(
                f"it is no TOML: {error}", operation="read settings", subject=str(file)
            ) from error
        return cls.from_dict(values, base=file.absolute().parent)

    @classmethod
    def load(cls, source: Self | Mapping[str, Any] | str | os.PathLike[str]) -> Self:
        """Return *source* when it is a Config, else what the mapping or the TOML file says."""
        if isinstance(source, cls):
            return source
        if isinstance(source, Mapping):
            return cls.from_dict(source)
        if isinstance(source, str | os.PathLike):
            return cls.from_file(source)
        raise ConfigurationError(f"must be settings or a path, not {type(source).__name__}")

    def __repr__(self) -> str:
        """Name every setting but the database URL, which may hold a password."""
        shown = ", ".join(
            f"{item.name}={getattr(self, item.name)!r}"
            for item in fields(self)
            if item.name != "database_url"
        )
        return f"Config({shown})"

    @property
    def catalog_url(self) -> str:
        """SQLAlchemy URL of the catalog."""
        return self.database_url or f"sqlite:///{self.data_dir / 'catalog.db'}"

    @property
    def namespace_url(self) -> str:
        """SQLAlchemy URL for the namespaces of modules without a state directory."""
        return self.database_url or f"sqlite:///{self.data_dir / 'namespace.db'}"

    @property
    def password_file(self) -> Path:
        """Where the generated password of the user ``administrator`` is written, once."""
        return self.data_dir / "administrator.password"


def _wrong(field: str, reason: str, *, hint: str | None = None) -> ConfigurationError:
    return ConfigurationError(
        reason, operation="use setting", subject=field, field=field, hint=hint
    )


def _at_least(field: str, value: int, minimum: int) -> None:
    if value < minimum:
        raise _wrong(field, f"must be {minimum} or more, not {value}")


def _one_of(field: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise _wrong(field, f"must be one of {', '.join(choices)}, not {value!r}")


def _check_listen(listen: str) -> None:
    if listen.startswith("unix:") and os.path.isabs(listen.removeprefix("unix:")):
        return
    address, _, port = listen.rpartition(":")
    if not address or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise _wrong("listen", f"{listen!r} is no address", hint="write 127.0.0.1:8080")


def _typed(field: str, value: Any, hint: Any) -> Any:
    """Return *value* as the type *hint*; TOML and JSON know no paths and no tuples."""
    choices = get_args(hint) if isinstance(hint, UnionType) else (hint,)
    for choice in choices:
        if choice is type(None) and value is None:
            return None
        if choice is Path and isinstance(value, str | os.PathLike) and "\0" not in str(value):
            return Path(value)
        if choice is float and isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
        if get_origin(choice) is tuple and isinstance(value, list | tuple):
            if all(isinstance(item, str) for item in value):
                return tuple(value)
        elif isinstance(choice, type) and type(value) is choice:
            return value
    names = " or ".join(getattr(choice, "__name__", str(choice)) for choice in choices)
    raise _wrong(field, f"must be {names}, not {value!r}")
