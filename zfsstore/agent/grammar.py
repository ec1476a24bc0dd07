"""From an argv that somebody sent to a typed operation, or a refusal.

Each command has a parser that takes what our own client writes and nothing else: an unknown
command, flag or order is refused, since the operation's own ``argv()`` must give back exactly
what was sent. Names and properties are checked by the rules of ZFS here, and against what the
agent may touch in :mod:`zfsstore.agent.scope`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from modules.errors import NotSupported
from zfsstore.agent import operations as ops
from zfsstore.agent.words import Words, malformed, pairs
from zfsstore.zfs import names
from zfsstore.zfs.client_snapshots import check_tag
from zfsstore.zfs.properties import check_property_name, check_property_names
from zfsstore.zfs.stream_commands import SendFlags, check_token

TYPES: Final = frozenset({"filesystem", "snapshot", "volume", "bookmark"})


def parse(argv: Sequence[str]) -> ops.Operation:
    """Return the operation that *argv* stands for.

    Raises:
        NotSupported: the agent has no such command.
        InvalidArgument: it is spelled in another way than our client does, or a name or
            property is malformed.
    """
    parser = _PARSERS.get(tuple(argv[:2]))
    if parser is None:
        raise NotSupported(
            f"the agent has no command {' '.join(argv[:2])!r:.80}", capability="agent"
        )
    operation = parser(Words(argv[2:]))
    if operation.argv() != list(argv):
        raise malformed("it has options that the agent does not know, or in another order")
    return operation


def _version(words: Words) -> ops.Operation:
    return ops.Version()


def _pool_usage(words: Words) -> ops.Operation:
    words.flag("-Hp")
    words.value("-o")
    return ops.PoolUsage(_pools(words))


def _pool_state(words: Words) -> ops.Operation:
    as_json = words.flag("-jp", "-p") == "-jp"
    return ops.PoolState(_pools(words), as_json)


def _pools(words: Words) -> tuple[str, ...]:
    pools = words.rest()
    for pool in pools:
        names.check_pool_name(pool)
    return pools


def _list(words: Words) -> ops.Operation:
    as_json = words.flag("-jp", "-Hp") == "-jp"
    recursive = words.has("-r")
    depth = _depth(words)
    types = tuple((words.value("-t") or "").split(","))
    if not TYPES.issuperset(types):
        raise malformed("it asks for unknown types")
    sort = []
    while (spelling := words.flag("-s", "-S")) is not None:
        sort.append(("-" if spelling == "-S" else "") + check_property_name(words.word()))
    columns = tuple((words.value("-o") or "").split(","))
    check_property_names(columns)
    chosen = words.rest()
    for name in chosen:
        names.check_any_name(name)
    return ops.ListNames(chosen, columns[1:], types, recursive, depth, tuple(sort), as_json)


def _get(words: Words) -> ops.Operation:
    words.flag("-Hp")
    depth = _depth(words)
    words.value("-t")
    words.value("-o")
    properties = tuple(words.word().split(","))
    check_property_names(properties)
    datasets = words.rest()
    for dataset in datasets:
        names.check_dataset_name(dataset)
    return ops.GetProperties(datasets, properties, depth)


def _create(words: Words) -> ops.Operation:
    mount = not words.has("-u")
    properties = words.properties()
    return ops.Create(names.check_dataset_name(words.word()), properties, mount)


def _destroy(words: Words) -> ops.Operation:
    dry_run, recursive = words.has("-nvp"), words.has("-r")
    force, defer = words.has("-f"), words.has("-d")
    name = words.word()
    dataset, at, shorts = name.partition("@")
    if at:
        for short in shorts.split(","):
            names.check_snapshot_name(f"{dataset}@{short}")
    else:
        names.check_any_name(name)
    return ops.Destroy(name, recursive, force, defer, dry_run)


def _set(words: Words) -> ops.Operation:
    *chosen, name = words.rest()
    if not chosen:
        raise malformed("a property is missing")
    return ops.SetProperties(names.check_any_name(name), pairs(chosen))


def _inherit(words: Words) -> ops.Operation:
    recursive, received = words.has("-r"), words.has("-S")
    property_name = check_property_name(words.word())
    return ops.Inherit(names.check_any_name(words.word()), property_name, recursive, received)


def _rename(words: Words) -> ops.Operation:
    recursive, force = words.has("-r"), words.has("-f")
    old, new = words.word(), words.word()
    if "@" in old:
        names.check_snapshot_name(old)
        return ops.RenameSnapshot(old, names.check_snapshot_name(new), recursive)
    return ops.Rename(names.check_dataset_name(old), names.check_dataset_name(new), force)


def _snapshot(words: Words) -> ops.Operation:
    recursive = words.has("-r")
    properties = words.properties()
    return ops.Snapshot(_snapshots(words), properties, recursive)


def _clone(words: Words) -> ops.Operation:
    properties = words.properties()
    snapshot = names.check_snapshot_name(words.word())
    return ops.Clone(snapshot, names.check_dataset_name(words.word()), properties)


def _promote(words: Words) -> ops.Operation:
    return ops.Promote(names.check_dataset_name(words.word()))


def _rollback(words: Words) -> ops.Operation:
    newer, force = words.has("-r"), words.has("-f")
    return ops.Rollback(names.check_snapshot_name(words.word()), newer, force)


def _hold(words: Words) -> ops.Operation:
    recursive = words.has("-r")
    tag = words.word()
    check_tag(tag)
    return ops.Hold(tag, _snapshots(words), recursive)


def _release(words: Words) -> ops.Operation:
    recursive = words.has("-r")
    tag = words.word()
    check_tag(tag)
    return ops.Release(tag, _snapshots(words), recursive)


def _holds(words: Words) -> ops.Operation:
    exact = words.flag("-Hp", "-H") == "-Hp"
    recursive = words.has("-r")
    return ops.ListHolds(_snapshots(words), recursive, exact)


def _bookmark(words: Words) -> ops.Operation:
    source, bookmark = words.word(), names.check_bookmark_name(words.word())
    check = names.check_bookmark_name if "#" in source else names.check_snapshot_name
    return ops.Bookmark(check(source), bookmark)


def _mount(words: Words) -> ops.Operation:
    return ops.Mount(names.check_dataset_name(words.word()))


def _unmount(words: Words) -> ops.Operation:
    force = words.has("-f")
    return ops.Unmount(names.check_dataset_name(words.word()), force)


def _load_key(words: Words) -> ops.Operation:
    recursive = words.has("-r")
    if words.value("-L") is None:
        raise malformed("a key is passed to the agent, never read from a keylocation")
    return ops.LoadKey(names.check_dataset_name(words.word()), recursive)


def _unload_key(words: Words) -> ops.Operation:
    recursive = words.has("-r")
    return ops.UnloadKey(names.check_dataset_name(words.word()), recursive)


def _send(words: Words) -> ops.Operation:
    dry_run = words.has("-nvP")
    if (token := words.value("-t")) is not None:
        return ops.ResumeSend(check_token(token), dry_run)
    flags = SendFlags(
        raw=words.has("-w"),
        compressed=words.has("-c"),
        large_blocks=words.has("-L"),
        embedded=words.has("-e"),
        properties=words.has("-p"),
        replicate=words.has("-R"),
    )
    spelling = words.flag("-i", "-I")
    base = None if spelling is None else words.word()
    if base is not None:
        check = names.check_bookmark_name if "#" in base else names.check_snapshot_name
        check(base)
    return ops.Send(names.check_snapshot_name(words.word()), base, spelling == "-I", flags, dry_run)


def _receive(words: Words) -> ops.Operation:
    if words.has("-A"):
        return ops.AbortReceive(names.check_dataset_name(words.word()))
    resumable, mount, rollback = words.has("-s"), not words.has("-u"), words.has("-F")
    properties, exclude = words.properties(), tuple(words.values("-x"))
    check_property_names(exclude)
    dataset = names.check_dataset_name(words.word())
    return ops.Receive(dataset, resumable, mount, rollback, properties, exclude)


def _depth(words: Words) -> int | None:
    depth = words.value("-d")
    if depth is None:
        return None
    if not (depth.isascii() and depth.isdigit() and len(depth) <= 3):
        raise malformed("a depth is no number")
    return int(depth)


def _snapshots(words: Words) -> tuple[str, ...]:
    chosen = words.rest()
    for name in chosen:
        names.check_snapshot_name(name)
    return chosen


_PARSERS: Final[dict[tuple[str, ...], Callable[[Words], ops.Operation]]] = {
    ("zfs", "version"): _version,
    ("zpool", "list"): _pool_usage,
    ("zpool", "status"): _pool_state,
    ("zfs", "list"): _list,
    ("zfs", "get"): _get,
    ("zfs", "create"): _create,
    ("zfs", "destroy"): _destroy,
    ("zfs", "set"): _set,
    ("zfs", "inherit"): _inherit,
    ("zfs", "rename"): _rename,
    ("zfs", "snapshot"): _snapshot,
    ("zfs", "clone"): _clone,
    ("zfs", "promote"): _promote,
    ("zfs", "rollback"): _rollback,
    ("zfs", "hold"): _hold,
    ("zfs", "release"): _release,
    ("zfs", "holds"): _holds,
    ("zfs", "bookmark"): _bookmark,
    ("zfs", "mount"): _mount,
    ("zfs", "unmount"): _unmount,
    ("zfs", "load-key"): _load_key,
    ("zfs", "unload-key"): _unload_key,
    ("zfs", "send"): _send,
    ("zfs", "receive"): _receive,
}
