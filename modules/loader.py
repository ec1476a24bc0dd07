"""From a dotted class name and JSON arguments to a checked instance, or a clear error.

The class is checked before it is instantiated; every failure names the python-path entry, the
class, or the argument that is wrong, with the signature that was expected.
"""

from __future__ import annotations

import hashlib
import importlib
import inspect
import os
import re
import sys
import threading
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, cast

from modules import StorageModule
from modules.errors import ModuleLoadError, StorageError
from modules.extensions import SupportsBinding

METHODS: Final[Mapping[str, tuple[str, ...]]] = {
    "available": ("context", "module_data"),
    "put": ("context", "stream"),
    "get_read_stream": ("context", "module_data"),
    "delete": ("context", "module_data"),
    "statistics": ("context",),
    "capabilities": ("context",),
}
"""The methods beside ``__init__`` and what each is called with, by position."""

_DOTTED_NAME: Final = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)+")
_import_lock = threading.Lock()


def load_module(
    name: str, args: Mapping[str, Any] | None = None, *, python_path: Sequence[str] = ()
) -> StorageModule:
    """Import, check and instantiate a storage module.

    Args:
        name: package.module.Class, as in ``newstore.newstore.NewStorage``.
        args: keyword arguments of its constructor, from JSON.
        python_path: folders, eggs or wheels to import it from, searched first.

    Raises:
        ModuleLoadError: what is wrong and where; no instance exists then.
    """
    module_class = load_class(name, python_path=python_path)
    arguments = dict(args or {})
    _check_arguments(name, module_class, arguments)
    try:
        return module_class(**arguments)
    except StorageError as error:
        raise ModuleLoadError(
            str(error), operation="instantiate", subject=name, field=getattr(error, "field", None)
        ) from error
    except Exception as error:  # a vendor's constructor may raise anything
        raise ModuleLoadError(
            f"its constructor raised {type(error).__name__}: {error}",
            operation="instantiate",
            subject=name,
            field="args",
        ) from error


def bind_module(
    name: str, module: StorageModule, get_module: Callable[[str], StorageModule]
) -> StorageModule:
    """Bind a wrapper to the modules it stores through; return *module*, whatever it is.

    Args:
        name: for errors: how it is called.
        get_module: returns a configured module, bound itself.

    Raises:
        ModuleLoadError: they cannot be found, or are not usable.
    """
    if isinstance(module, SupportsBinding):
        try:
            module.bind(get_module)
        except StorageError as error:
            raise ModuleLoadError(
                str(error), operation="bind", subject=name, field=getattr(error, "field", None)
            ) from error
        except Exception as error:  # a vendor's wrapper may raise anything
            raise ModuleLoadError(
                f"its bind raised {type(error).__name__}: {error}", operation="bind", subject=name
            ) from error
    return module


def load_class(name: str, *, python_path: Sequence[str] = ()) -> type[StorageModule]:
    """Import a storage module's class and check that it has all methods, without calling any.

    Raises:
        ModuleLoadError: the name, a python-path entry, the import or the class is wrong.
    """
    if not isinstance(name, str) or not _DOTTED_NAME.fullmatch(name):
        raise ModuleLoadError(
            "it is no dotted name",
            operation="load module",
            subject=repr(name),
            hint="write package.module.Class, such as newstore.newstore.NewStorage",
            field="module",
        )
    entries = [check_entry(entry) for entry in python_path]
    with _import_lock:
        _add_to_path(entries)
        candidate = _import_class(name, entries)
    check_class(name, candidate)
    return cast("type[StorageModule]", candidate)  # or duck-typed: check_class proved the shape


def check_entry(entry: str) -> str:
    """Return a python-path entry as an absolute path, proven to be importable from.

    Raises:
        ModuleLoadError: relative, absent, unreadable, or no folder and no zip file.
    """

    def fail(reason: str, hint: str) -> ModuleLoadError:
        return ModuleLoadError(
            reason,
            operation="use python-path entry",
            subject=repr(entry),
            hint=hint,
            field="python_path",
        )

    if not isinstance(entry, str) or "\0" in entry or not os.path.isabs(entry):
        raise fail("it is no absolute path", "name the full path of a folder, .egg or .whl")
    if not os.path.exists(entry):
        raise fail("it does not exist", "copy the egg, wheel or folder there first")
    if not os.access(entry, os.R_OK | (os.X_OK if os.path.isdir(entry) else 0)):
        raise fail("this process may not read it", "check owner and mode")
    if not os.path.isdir(entry):
        if not zipfile.is_zipfile(entry):
            raise fail("it is no folder and no zip archive", "name a folder, .egg or .whl")
        if os.path.splitext(entry)[1] not in (".egg", ".whl", ".zip"):
            raise fail("its name ends in none of .egg, .whl, .zip", "rename it")
    return os.path.normpath(entry)


def entry_digest(entry: str) -> str:
    """Return a digest of the code in a python-path entry, so that a change can be noticed.

    For an archive: of its bytes. For a folder: of the paths and bytes of its ``.py`` and ``.so``
    files.
    """
    digest = hashlib.sha256()
    path = Path(entry)
    if path.is_dir():
        files = [p for p in path.rglob("*") if p.suffix in (".py", ".so") and p.is_file()]
        for file in sorted(files):
            digest.update(str(file.relative_to(path)).encode() + b"\0")
            digest.update(hashlib.sha256(file.read_bytes()).digest())
    else:
        with path.open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def check_class(name: str, candidate: object) -> None:
    """Check that *candidate* is a class with the methods of a storage module.

    Raises:
        ModuleLoadError: not a class, a method is missing or cannot be called as the host does.
    """
    if not inspect.isclass(candidate):
        raise ModuleLoadError(
            f"it is a {type(candidate).__name__}, not a class",
            operation="load module",
            subject=name,
            field="module",
        )
    for method, parameters in METHODS.items():
        expected = f"{method}(self, {', '.join(parameters)})"
        function = getattr(candidate, method, None)
        if not callable(function) or function is getattr(StorageModule, method):
            raise ModuleLoadError(
                f"it has no method {method}",
                operation="load module",
                subject=name,
                hint=f"add {expected}",
                field="module",
            )
        try:
            inspect.signature(function).bind(None, *parameters)
        except TypeError:
            raise ModuleLoadError(
                f"its method {method}{inspect.signature(function)} cannot be called with "
                f"{len(parameters)} arguments",
                operation="load module",
                subject=name,
                hint=f"make it {expected}",
                field="module",
            ) from None
        except ValueError:  # a method written in C that gives no signature
            continue


def _add_to_path(entries: Sequence[str]) -> None:
    for entry in reversed(entries):
        if entry not in sys.path:
            sys.path.insert(0, entry)
    importlib.invalidate_caches()


def _import_class(name: str, entries: Sequence[str]) -> object:
    module_name, _, class_name = name.rpartition(".")
    searched = ", ".join(entries) if entries else "the python-path"
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        is_own = error.name is not None and f"{module_name}.".startswith(f"{error.name}.")
        reason = (
            f"there is no module {error.name} in {searched}"
            if is_own
            else f"{module_name} needs {error.name}, which is not installed"
        )
        raise ModuleLoadError(
            reason,
            operation="load module",
            subject=name,
            hint="check the name and the python-path entries"
            if is_own
            else "install it for this host's Python",
            field="module",
        ) from error
    except Exception as error:  # a vendor's module may raise anything while imported
        raise ModuleLoadError(
            f"importing {module_name} raised {type(error).__name__}: {error}",
            operation="load module",
            subject=name,
            field="module",
        ) from error
    try:
        return getattr(module, class_name)
    except AttributeError:
        classes = [n for n, value in vars(module).items() if inspect.isclass(value)]
        raise ModuleLoadError(
            f"{module_name} has no class {class_name}",
            operation="load module",
            subject=name,
            hint=f"its classes are {', '.join(sorted(classes)) or 'none'}",
            field="module",
        ) from None


def _check_arguments(
    name: str, module_class: type[StorageModule], arguments: Mapping[str, Any]
) -> None:
    try:
        signature = inspect.signature(module_class)
    except ValueError:  # a class written in C that gives no signature
        return
    try:
        signature.bind(**arguments)
    except TypeError as error:
        raise ModuleLoadError(
            f"its arguments do not fit: {error}",
            operation="instantiate",
            subject=name,
            hint=f"the constructor is {module_class.__name__}{signature}",
            field="args",
        ) from error
