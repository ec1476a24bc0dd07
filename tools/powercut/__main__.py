"""``python -m tools.powercut``: rounds of load, power cut, check; then the controls.

One machine lives through all rounds: the boot that checks a round loads the next. After a round
that failed a new machine goes on, and the disk of the failed one is kept. Prints one JSON object
a line: one for each round, at last the summary.
"""

from __future__ import annotations

import argparse
import compileall
import json
import random
import secrets
import shlex
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tools.powercut.machine import ROOT
from tools.powercut.rounds import CONTROLS, Rounds, plan_rounds

_EPILOG = """\
Exit status: 0 all acknowledged data survived and every control lost some; 1 not so; 2 wrong
arguments. Needs root and tools/zfs-vm/setup."""


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of ``python -m tools.powercut``."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.powercut",
        description="Cut the power of a machine that runs the store on ZFS, under write load.",
        epilog=_EPILOG,
    )
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="default: 3")
    parser.add_argument(
        "--controls",
        default="sync-disabled",
        metavar="NAMES",
        help=f"rounds that must lose data, after the others, with commas: {', '.join(CONTROLS)}; "
        "or none (default: %(default)s)",
    )
    parser.add_argument("--seed", help="of an earlier run, for the same steps and cuts")
    parser.add_argument(
        "--vm",
        type=shlex.split,
        default=[str(ROOT / "tools/zfs-vm/run")],
        metavar="COMMAND",
        help="starts a virtual machine (default: tools/zfs-vm/run)",
    )
    parser.add_argument(
        "--keep",
        type=Path,
        default=ROOT / "build/powercut",
        metavar="DIR",
        help="where the disks of failed rounds go (default: build/powercut)",
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    parser = build_parser()
    args = parser.parse_args(argv)
    controls = [name for name in args.controls.split(",") if name != "none"]
    unknown = [name for name in controls if name not in CONTROLS]
    if unknown or args.rounds < 0:
        parser.error(f"no such control: {unknown[0]}" if unknown else "--rounds is negative")
    seed = args.seed or secrets.token_hex(4)
    for name in ("modules", "zfsstore", "tools"):  # slow in there
        compileall.compile_dir(ROOT / name, quiet=2)
    folder = Path(tempfile.mkdtemp(prefix="zfsstore-powercut.", dir="/var/tmp"))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # clean up, too
    started = time.monotonic()
    rng = random.Random(seed)  # noqa: S311
    rounds = Rounds(folder, args.vm, args.keep, seed, lambda line: print(line, flush=True))
    try:
        rounds.run(plan_rounds(args.rounds, controls, rng))
    finally:
        shutil.rmtree(folder)
    summary = {**rounds.summary(), "seconds": round(time.monotonic() - started)}
    print(json.dumps({"summary": summary}), flush=True)
    return 0 if summary["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())
