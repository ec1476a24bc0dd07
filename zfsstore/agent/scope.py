"""What the agent may be asked to touch: datasets below its roots, and properties that are safe.

A root itself can be read, snapshotted and sent, but not what the operator has set on it: its
quota and mountpoint are the limits of the store.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, NoReturn, assert_never

from modules.errors import PermissionDenied
from zfsstore.agent import operations as ops
from zfsstore.volumes.datasets import FIXED
from zfsstore.volumes.properties import ENCRYPTION, SETTABLE

OWN_PREFIX: Final = "zfsstore:"

SAFE: Final = {"setuid": "off", "exec": "off", "devices": "off"}
"""Whatever becomes a file system gets these, asked for or not."""

_OTHERS: Final[Mapping[str, frozenset[str]]] = {
    **{name: frozenset({value}) for name, value in FIXED.items()},
    **{name: frozenset({value}) for name, value in SAFE.items()},
    "readonly": frozenset({"on", "off"}),
}
_UNMOUNTED: Final = {"canmount": "off", "mountpoint": "none"}
"""What the trash is created with; no dataset is given another mountpoint."""

_HINT: Final = "the agent's roots are given by --root where it is started"


@dataclass(frozen=True, slots=True)
class Scope:
    """The datasets that an agent works for.

    Args:
        roots: datasets of which none is below another.
    """

    roots: tuple[str, ...]

    def root_of(self, name: str) -> str | None:
        """Return the root that a dataset, snapshot or bookmark is in, None when it is in none."""
        dataset = dataset_of(name)
        return next((root for root in self.roots if is_within(dataset, root)), None)

    def authorise(self, operation: ops.Operation) -> None:
        """Make sure that the operation touches nothing but what is below a root.

        Raises:
            PermissionDenied: it does; or it sets a property that may not be set.
        """
        match operation:
            case ops.Version() | ops.ResumeSend():
                pass  # what a token names is checked when zfs has told it
            case ops.PoolUsage() | ops.PoolState():
                self._own_pools(operation.pools)
            case ops.ListNames():
                self._within(*operation.names)
            case ops.GetProperties():
                self._within(*operation.datasets)
            case ops.ListHolds() | ops.Hold() | ops.Release():
                self._within(*operation.snapshots)
            case ops.Snapshot():
                self._within(*operation.snapshots)
                _check_own(operation.properties)
            case ops.Bookmark():
                self._within(operation.source, operation.bookmark)
            case ops.Rollback():
                self._within(operation.snapshot)
            case ops.RenameSnapshot():
                self._within(operation.snapshot, operation.new_name)
            case ops.Send():
                self._within(operation.snapshot, *filter(None, (operation.base,)))
            case ops.LoadKey() | ops.UnloadKey():
                self._within(operation.dataset)
            case ops.Destroy():
                self._destroyable(operation.name)
            case ops.SetProperties():
                self._settable(operation.name, operation.properties)
            case ops.Inherit():
                self._inheritable(operation)
            case _:
                self._authorise_place(operation)

    def _authorise_place(self, operation: ops.Placing) -> None:
        """Authorise what makes, moves or mounts file systems below a root."""
        match operation:
            case ops.Create():
                self._below(operation.dataset)
                _check_new(operation.properties)
            case ops.Clone():
                self._same_root(operation.snapshot, operation.dataset)
                _check_set(operation.properties)
            case ops.Receive():
                self._below(operation.dataset)
                _check_set(operation.properties)
            case ops.Rename():
                self._same_root(operation.dataset, operation.new_name)
                self._below(operation.dataset)
            case ops.Promote() | ops.Mount() | ops.Unmount() | ops.AbortReceive():
                self._below(operation.dataset)
            case _:
                assert_never(operation)

    def require_within(self, names: Iterable[str]) -> None:
        """Make sure that names which zfs has told are in a root, too."""
        self._within(*names)

    def _own_pools(self, pools: Iterable[str]) -> None:
        own = {root.partition("/")[0] for root in self.roots}
        for pool in pools:
            if pool not in own:
                _refuse(pool, "it is not the pool of a root")

    def _within(self, *names: str) -> None:
        for name in names:
            if self.root_of(name) is None:
                _refuse(name, "it is not below a root of the agent")

    def _below(self, dataset: str) -> None:
        self._within(dataset)
        if dataset in self.roots:
            _refuse(dataset, "the root itself is the operator's")

    def _same_root(self, source: str, new: str) -> None:
        self._within(source)
        self._below(new)
        if self.root_of(source) != self.root_of(new):
            _refuse(new, "it is in another root")

    def _destroyable(self, name: str) -> None:
        if "@" in name or "#" in name:
            self._within(name)
        else:
            self._below(name)

    def _settable(self, name: str, properties: Mapping[str, str]) -> None:
        self._within(name)
        if "@" in name or name in self.roots:
            _check_own(properties)
        else:
            _check_set(properties)

    def _inheritable(self, operation: ops.Inherit) -> None:
        self._within(operation.name)
        name = operation.property
        is_root = operation.name in self.roots
        if not name.startswith(OWN_PREFIX) and (is_root or name not in SETTABLE):
            _refuse(name, "the agent does not change this property")


def dataset_of(name: str) -> str:
    """Return the dataset of a dataset, a snapshot or a bookmark."""
    return name.replace("#", "@").partition("@")[0]


def is_within(dataset: str, ancestor: str) -> bool:
    """Return whether *dataset* is *ancestor* or below it."""
    return dataset == ancestor or dataset.startswith(f"{ancestor}/")


def _check_own(properties: Mapping[str, str]) -> None:
    for name in properties:
        if not name.startswith(OWN_PREFIX):
            _refuse(name, f"only properties of {OWN_PREFIX}* may be set here")


def _check_set(properties: Mapping[str, str]) -> None:
    """Make sure that *properties* may be set on a file system below a root."""
    for name, value in properties.items():
        if name.startswith(OWN_PREFIX):
            continue
        if name in SETTABLE:
            SETTABLE[name].checked(value)
        elif value not in _OTHERS.get(name, ()):
            _refuse(f"{name}={value}", "it is not among what the agent may set")


def _check_new(properties: Mapping[str, str]) -> None:
    """Make sure that a file system may be created with *properties*."""
    rest = dict(properties)
    unmounted = {name: rest.pop(name) for name in _UNMOUNTED if name in rest}
    if unmounted and unmounted != _UNMOUNTED:
        _refuse("mountpoint", "a volume is mounted below its root, or not at all")
    for name in [name for name in rest if name in ENCRYPTION]:
        ENCRYPTION[name].checked(rest.pop(name))
    _check_set(rest)


def _refuse(subject: str, reason: str) -> NoReturn:
    raise PermissionDenied(reason, operation="use", subject=f"{subject!s:.300}", hint=_HINT)
