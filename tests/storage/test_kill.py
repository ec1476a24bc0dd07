"""A process that is killed in the middle of puts loses nothing that it acknowledged."""

from __future__ import annotations

import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

from tests.storage.helpers import get, object_files
from zfsstore import ZFSStorage

_PUTS = """
import os, sys, threading
from zfsstore import ZFSStorage
store = ZFSStorage(directory=sys.argv[1])
class Slow:
    def __init__(self, content):
        self.blocks = [content[:5], content[5:]]
    def read(self, size):
        return self.blocks.pop(0) if self.blocks else b""
class Stuck:
    def read(self, size):
        os.write(1, b"stuck\\n")
        threading.Event().wait()
def puts(number):
    for turn in range(10**6):
        content = b"content %d %d" % (number, turn)
        module_data = store.put({"tenant": sys.argv[2]}, Slow(content))
        os.write(1, module_data.encode() + b" " + content + b"\\n")
for number in range(4):
    threading.Thread(target=puts, args=(number,), daemon=True).start()
store.put({"tenant": sys.argv[2]}, Stuck())
"""


def test_kill_9_in_the_middle_of_puts(
    store: ZFSStorage, root: Path, volume: Path, bucket: dict[str, Any]
) -> None:
    worker = subprocess.Popen(
        [sys.executable, "-c", _PUTS, str(root), bucket["tenant"]],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert worker.stdout is not None
    lines = [worker.stdout.readline() for _ in range(60)]
    worker.kill()
    lines += worker.stdout.readlines()
    worker.stdout.close()
    worker.wait()
    assert "stuck\n" in lines
    acknowledged = dict(line.rstrip("\n").split(" ", 1) for line in lines if line.startswith("z1:"))
    for module_data, content in acknowledged.items():
        assert get(store, bucket, module_data).decode() == content
    left = len(object_files(volume)) - len(acknowledged)
    assert 1 <= left <= 5
    report = store.sweep(bucket, acknowledged, older_than=timedelta(0), dry_run=False)
    assert len(report.unreferenced) == left
    assert report.missing == ()
    assert len(object_files(volume)) == len(acknowledged)
