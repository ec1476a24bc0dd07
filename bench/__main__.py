"""``python -m bench``: measure, print tables, write JSON."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from typing import Any, Final

from bench.disk import MEMORY_FILE_SYSTEMS, file_system, machine
from bench.settings import Settings
from zfsstore.cli.values import parse_size

Say = Callable[[str], None]
PARTS: Final = ("stores", "index", "http", "wrappers")
VOLUMES: Final = "volumes"
"""Measured only when it is asked for: it needs ZFS, and a user who may create datasets."""
_EPILOG: Final = """\
Each number is the median of several rounds; what is compared runs in the same round, in an
order that rotates. The ratio is the median over the rounds of (this / fastest raw recipe).
Exit status: 0 measured, whatever the numbers are; 1 it could not be measured."""


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of ``python -m bench``."""
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description="Measure the store as a ratio to the fastest correct raw recipe.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--quick", action="store_true", help="64 MiB and fewer rounds")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every number there")
    parser.add_argument(
        "--record",
        type=Path,
        metavar="FILE",
        help="put the tables into FILE, between its marks <!-- bench: FILE SYSTEM --> (of volumes "
        "alone <!-- bench: volumes -->) and <!-- end -->",
    )
    parser.add_argument(
        "--dir",
        type=Path,
        default=Path("build/bench"),
        help="a folder on the disk to measure (default: %(default)s)",
    )
    parser.add_argument("--dataset", help="measure ZFSStorage on this ZFS dataset; --dir in it")
    parser.add_argument("--rounds", type=int, help="default: 7, with --quick 3")
    parser.add_argument(
        "--puts", type=int, metavar="N", help="4 KiB objects by one thread (default: 1000, 100)"
    )
    parser.add_argument("--large", type=parse_size, metavar="SIZE", help="default: 1GiB, 64MiB")
    parser.add_argument(
        "--parallel",
        type=parse_size,
        metavar="SIZE",
        help="size of each large object when 32 are stored at once (default: 128MiB, 8MiB)",
    )
    parser.add_argument(
        "--only",
        choices=(*PARTS, VOLUMES),
        action="append",
        help="measure only this part; volumes (snapshots and clones, with --dataset) is in no "
        "other run",
    )
    parser.add_argument("--allow-memory", action="store_true", help="accept a tmpfs under --dir")
    return parser


def parse_settings(args: argparse.Namespace) -> Settings:
    """Return the run that the arguments ask for."""
    quick = args.quick
    return Settings(
        directory=args.dir.absolute(),
        is_quick=quick,
        large_bytes=args.large or ((64 << 20) if quick else (1 << 30)),
        parallel_bytes=args.parallel or ((8 << 20) if quick else (128 << 20)),
        rounds=args.rounds or (3 if quick else 7),
        small_puts=args.puts or (100 if quick else 1000),
        dataset=args.dataset,
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark and return the exit status."""
    args = build_parser().parse_args(argv)
    settings = parse_settings(args)
    parts = args.only or PARTS
    if VOLUMES in parts and settings.dataset is None:
        print(
            "bench: snapshots and clones of volumes are measured on ZFS; name a dataset to create "
            "others in with --dataset",
            file=sys.stderr,
        )
        return 1
    existing = next(
        folder for folder in (settings.directory, *settings.directory.parents) if folder.exists()
    )
    kind = file_system(existing).kind
    if kind in MEMORY_FILE_SYSTEMS and not args.allow_memory:
        print(
            f"bench: {settings.directory} is on {kind}, which has no durability to measure; "
            "name a folder on a disk with --dir",
            file=sys.stderr,
        )
        return 1
    settings.directory.mkdir(parents=True, exist_ok=True)
    root = Path(tempfile.mkdtemp(prefix="run-", dir=settings.directory))
    told: list[str] = []
    try:
        results = _measure(parts, settings, root, told)
    finally:
        shutil.rmtree(root, ignore_errors=True)
    if args.record:
        record(args.record, VOLUMES if parts == [VOLUMES] else kind, told)
    if args.json:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    return 0


def record(document: Path, name: str, told: Sequence[str]) -> None:
    """Replace what stands between the marks of this name.

    Raises:
        ValueError: the document has no such marks.
    """
    text = document.read_text(encoding="utf-8")
    mark, end = f"<!-- bench: {name} -->\n", "<!-- end -->"
    start = text.index(mark) + len(mark)
    stop = text.index(end, start)
    tables = "\n\n".join(told)
    document.write_text(f"{text[:start]}\n{tables}\n\n{text[stop:]}", encoding="utf-8")


def _measure(
    parts: Sequence[str], settings: Settings, root: Path, told: list[str]
) -> dict[str, Any]:
    def say(text: str) -> None:
        print(f"{text}\n", flush=True)
        told.append(text)

    about = machine(settings.directory)
    results: dict[str, Any] = {"machine": about, "quick": settings.is_quick}
    say(
        f"{about['cores']} cores ({about['processor']}), "
        f"{about['memory_bytes'] / (1 << 30):.0f} GiB, {about['file_system']}, "
        f"{about['kernel']}, Python {about['python']}; {settings.rounds} rounds, "
        f"load average {about['load']:.1f} before the run, {date.today().isoformat()}"
    )
    for part in parts:
        (root / part).mkdir()
        results[part] = _MEASURES[part](settings, root / part, say)
    return results


def _stores(settings: Settings, root: Path, say: Say) -> dict[str, Any]:
    from bench.stores import measure_stores

    return measure_stores(settings, root, say)


def _index(settings: Settings, root: Path, say: Say) -> dict[str, Any]:
    from bench.index import measure_index

    return measure_index(settings, root, say)


def _http(settings: Settings, root: Path, say: Say) -> dict[str, Any]:
    from bench.web import measure_http

    return measure_http(settings, root, say)


def _wrappers(settings: Settings, root: Path, say: Say) -> dict[str, Any]:
    from bench.wrappers import measure_wrappers

    return measure_wrappers(settings, root, say)


def _volumes(settings: Settings, root: Path, say: Say) -> dict[str, Any]:
    from bench.volumes import measure_volumes

    return measure_volumes(settings, say)


_MEASURES: Final[dict[str, Callable[[Settings, Path, Say], dict[str, Any]]]] = {
    "stores": _stores,
    "index": _index,
    "http": _http,
    "wrappers": _wrappers,
    VOLUMES: _volumes,
}


if __name__ == "__main__":
    sys.exit(main())
