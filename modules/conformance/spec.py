"""How to make the module under test, in this process and in others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from modules import StorageModule
from modules.errors import ConfigurationError
from modules.loader import bind_module, load_module


@dataclass(frozen=True, slots=True)
class ModuleSpec:
    """A module as an administrator configures it.

    Attributes:
        name: package.module.Class.
        args: keyword arguments of its constructor; JSON values.
        python_path: folders, eggs or wheels to import it from.
        inner: for a wrapper: the modules that ``context["func"]["getModule"]`` finds, by name.
    """

    name: str
    args: Mapping[str, Any] = field(default_factory=dict)
    python_path: tuple[str, ...] = ()
    inner: Mapping[str, ModuleSpec] = field(default_factory=dict)

    def load(self) -> StorageModule:
        """Return a new instance.

        Raises:
            modules.errors.ModuleLoadError
        """
        return load_module(self.name, self.args, python_path=self.python_path)

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON object that :meth:`from_dict` reads."""
        return {
            "name": self.name,
            "args": dict(self.args),
            "python_path": list(self.python_path),
            "inner": {name: spec.to_dict() for name, spec in self.inner.items()},
        }

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> ModuleSpec:
        inner = value.get("inner", {})
        return cls(
            name=value["name"],
            args=value.get("args", {}),
            python_path=tuple(value.get("python_path", ())),
            inner={name: cls.from_dict(spec) for name, spec in inner.items()},
        )


class Modules:
    """The modules that a context's ``getModule`` finds: each made once per process."""

    def __init__(self, inner: Mapping[str, ModuleSpec]) -> None:
        self._specs = dict(inner)
        self._loaded: dict[str, StorageModule] = {}
        self._loading: list[str] = []
        for name in self._specs:
            self.get(name)

    def get(self, name: str) -> StorageModule:
        """Return the module configured as *name*, as a host does."""
        if name in self._loaded:
            return self._loaded[name]
        if name not in self._specs:
            raise ConfigurationError(
                f"the known modules are {', '.join(sorted(self._specs)) or 'none'}",
                operation="find module",
                subject=name,
            )
        if name in self._loading:
            raise ConfigurationError("it wraps itself", operation="find module", subject=name)
        self._loading.append(name)
        try:
            self._loaded[name] = self.make(self._specs[name])
        finally:
            self._loading.remove(name)
        return self._loaded[name]

    def make(self, spec: ModuleSpec) -> StorageModule:
        """Return a new instance that is bound to these modules, as a host makes one."""
        return bind_module(spec.name, spec.load(), self.get)

    def context(self, extra: Mapping[str, Any]) -> dict[str, Any]:
        """Return a context that reaches these modules."""
        return {"func": {"getModule": self.get}, **extra}
