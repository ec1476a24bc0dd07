"""``zfsstore keys rewrap``: objects give up older tenant keys, which can be destroyed then."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from modules import fences
from modules.errors import (
    Busy,
    Conflict,
    HasDependents,
    IntegrityError,
    NotSupported,
    VolumeNotFound,
)
from modules.extensions import SupportsFence, SupportsVolumes
from modules.volumes import SnapshotBackend
from zfsstore.cli.buckets import each_bucket
from zfsstore.cli.confirmation import add_yes, confirm
from zfsstore.cli.encrypting import Encrypting
from zfsstore.cli.output import Output, format_table, printable
from zfsstore.cli.parsers import FAILED, OK, Commands, add_command
from zfsstore.cli.progress import Counting, add_progress
from zfsstore.cli.session import services

if TYPE_CHECKING:
    from zfsstore.host.catalog import Tenant
    from zfsstore.host.services import Services

_EXIT_STATUS: Final = """\
exit status:
  0  done: no object needs an older key
  1  objects could not be rewrapped (each is listed), or it could not be done; one line on
     stderr says why
  2  the command line is wrong"""


def add_command_to(group: Commands) -> None:
    """Add the command."""
    rewrap = add_command(
        group,
        "rewrap",
        run_rewrap,
        summary="wrap objects' keys with the tenants' newest keys",
        description="""\
After `keys rotate`, wrap the keys of all older objects with the newest key of their volume, so that
nothing but snapshots needs the older ones. No object is read or written, only what is noted of
it; readers and writers go on. It can be interrupted and repeated. With --destroy-older the older
keys are destroyed then, for good: objects in snapshots, in the trash and in replicas that were made
before become unreadable, and uploads that run are told to come back (503).""",
        example="zfsstore keys rewrap vault acme\n"
        "zfsstore keys rewrap vault acme/photos --destroy-older --yes",
        exit_status=_EXIT_STATUS,
    )
    rewrap.add_argument("module", metavar="MODULE", help="an encrypting module, by its name")
    rewrap.add_argument(
        "volume",
        metavar="VOLUME",
        nargs="?",
        help="as in acme (all its buckets) or acme/photos; default: all",
    )
    rewrap.add_argument(
        "--destroy-older", action="store_true", help="destroy the keys that no object needs then"
    )
    add_progress(rewrap)
    add_yes(rewrap)


@dataclass(frozen=True, slots=True)
class _Bucket:
    tenant: Tenant
    name: str
    domain: str
    snapshots: list[str] = field(default_factory=list)

    @property
    def path(self) -> str:
        return f"{self.tenant.name}/{self.name}"


def run_rewrap(args: argparse.Namespace, output: Output) -> int:
    """Rewrap all chosen buckets; with --destroy-older, destroy what is not needed any more."""
    destroyed: list[str] = []
    with services(args) as opened:
        target = Encrypting.open(opened, args.module)
        buckets = list(_chosen(opened, target, args.volume))
        if args.destroy_older:
            _require_alone(opened, target, buckets)
            _confirm(args, buckets)
            _interrupt_uploads(target, buckets)
        counting = Counting("objects", is_wanted=args.progress)
        rows = []
        for bucket in buckets:
            counting.subject = bucket.path
            report = opened.objects.rewrapping.rewrap(
                bucket.tenant, bucket.name, progress=counting.add
            )
            rows.append({"volume": bucket.path, **asdict(report), "snapshots": bucket.snapshots})
        if rows:
            counting.finish()
        if args.destroy_older:
            _require_clean(rows)
            destroyed = list(_destroy_older(target, {bucket.domain for bucket in buckets}))
    output.text(_format(rows, destroyed), {"volumes": rows, "destroyed": destroyed})
    return FAILED if any(row["failed"] for row in rows) else OK


def _chosen(opened: Services, target: Encrypting, volume: str | None) -> Iterator[_Bucket]:
    """Yield the buckets whose objects the module encrypts, at any depth.

    Raises:
        VolumeNotFound: there is no such bucket or tenant.
        NotSupported: it is not encrypted by this module.
    """
    name, _, chosen = (volume or "").partition("/")
    found = False
    for tenant in opened.administration.list_tenants():
        if volume is not None and tenant.name != name:
            continue
        if target.name not in _stack(opened, tenant.policy):
            if volume is None:
                continue
            raise NotSupported(
                f"{target.name} does not encrypt it",
                capability="rewrap",
                operation="rewrap keys of",
                subject=volume,
            )
        for bucket in each_bucket(opened, tenant):
            if chosen in ("", bucket.name):
                path = f"{tenant.name}/{bucket.name}"
                domain = target.domain_of(path)
                yield _Bucket(tenant, bucket.name, domain, _snapshots(target, path))
                found = True
        found = found or not chosen
    if volume is not None and not found:
        raise VolumeNotFound("there is none", operation="rewrap keys of", subject=volume)


def _stack(opened: Services, name: str) -> set[str]:
    """Return a module and all those that it stores through."""
    from zfsstore.host.catalog import inner_names

    found: set[str] = set()
    pending = [name]
    while pending:
        name = pending.pop()
        if name not in found:
            found.add(name)
            pending += inner_names(opened.catalog.get_module(name).args)
    return found


def _snapshots(target: Encrypting, path: str) -> list[str]:
    module = target.module
    if not isinstance(module, SupportsVolumes) or not isinstance(module.volumes, SnapshotBackend):
        return []
    (uuid,) = (row["uuid"] for row in module.volumes.list_volumes() if row["name"] == path)
    return [snapshot["name"] for snapshot in module.volumes.list_snapshots(uuid)]


def _require_alone(opened: Services, target: Encrypting, buckets: list[_Bucket]) -> None:
    """Refuse to destroy keys that something else may need.

    Raises:
        HasDependents: another volume has the same keys, as a clone or its origin.
        Busy: others may still encrypt with an older key that they have in memory.
        Conflict: a server runs whose uploads cannot be interrupted.
    """
    from modules.wrappers.keys.ring import KEEP_S
    from zfsstore.host.running import find_server

    mine = {bucket.path for bucket in buckets}
    domains = {bucket.domain for bucket in buckets}
    for domain, names in target.volumes_by_domain().items():
        others = sorted(name for name in names if "/" in name and name not in mine)
        if domain in domains and others:
            raise HasDependents(
                f"{', '.join(others)} has the same keys, as a clone or its origin",
                operation="destroy older keys of",
                subject=", ".join(sorted(mine)),
                hint="name a tenant that has them all, or no volume",
            )
    for record in target.ring.list_keys():
        age_s = (datetime.now(UTC) - record.created_at).total_seconds()
        if record.key_domain in domains and record.version > 1 and age_s < 2 * KEEP_S:
            raise Busy(
                "its key was rotated just now, and others may still use the older one",
                operation="destroy older keys of",
                subject=record.key_domain,
                hint=f"try again in {2 * KEEP_S - age_s:.0f} seconds",
            )
    is_fenced = isinstance(target.module, SupportsFence)
    if not is_fenced and find_server(opened.config.data_dir) is not None:
        raise Conflict(
            "a host is running, whose uploads cannot be interrupted",
            operation="destroy older keys of",
            subject=target.name,
            hint="stop the host first",
        )


def _confirm(args: argparse.Namespace, buckets: list[_Bucket]) -> None:
    plan = [
        f"this makes what was stored with older keys unreadable in {bucket.path}@{name}"
        for bucket in buckets
        for name in bucket.snapshots
    ]
    plan.append("and in the trash, in replicas and in backups that were made before")
    subject = args.volume or args.module
    confirm(args, subject, operation="destroy older keys of", plan=plan)


def _interrupt_uploads(target: Encrypting, buckets: list[_Bucket]) -> None:
    """Have all uploads end that began with an older key: they are in no index yet."""
    module = target.module
    if isinstance(module, SupportsFence):
        for bucket in buckets:
            with fences.exclusive([module.fence({"tenant": bucket.path})]):
                pass


def _require_clean(rows: list[dict[str, Any]]) -> None:
    failures = [why for row in rows for why in row["failures"]]
    if failures:
        raise IntegrityError(
            f"{len(failures)} objects still need them, such as {failures[0]}",
            operation="destroy older keys of",
            subject=", ".join(row["volume"] for row in rows if row["failures"]),
            hint="delete these or restore them first; nothing was destroyed",
        )


def _destroy_older(target: Encrypting, domains: set[str]) -> Iterator[str]:
    for record in target.ring.list_keys():
        if record.key_domain in domains and record.state.value == "decrypt-only":
            target.ring.destroy_version(record.key_domain, record.version)
            yield f"{record.key_domain}, version {record.version}"


def _format(rows: list[dict[str, Any]], destroyed: list[str]) -> str:
    lines = [
        format_table(
            ["VOLUME", "OBJECTS", "REWRAPPED", "FAILED", "SNAPSHOTS"],
            [
                (
                    *(row["volume"], row["seen"], row["rewrapped"], row["failed"]),
                    len(row["snapshots"]),
                )
                for row in rows
            ],
        )
    ]
    lines += [
        f"FAILED  {row['volume']}  {printable(why)}" for row in rows for why in row["failures"]
    ]
    lines += [f"destroyed the key of {key}" for key in destroyed]
    return "\n".join(lines)
