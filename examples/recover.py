"""Restore a bucket's current objects under their names, with nothing but Python 3.

usage: python3 -I recover.py BUCKET TARGET
BUCKET: its directory, live or in a snapshot, or a copy of it. TARGET: a new directory.
What cannot be restored is printed, and the exit status is 1. Formats: docs/formats.md.
"""

import os
import re
import shutil
import sqlite3
import sys
import tempfile

QUERY = """SELECT v.key, v.kind, v.modified_at, b.module_data, e."offset", e.length FROM version v
    LEFT JOIN extent e ON e.version = v.id LEFT JOIN blob b ON b.id = e.blob
    WHERE v.place = 0 AND v.kind < 2 ORDER BY v.key, e.ordinal"""


def name(part):  # of one component of a key, whoever chose it
    part = re.sub(r"[\x00-\x1f\x7f]|%(?=[0-9a-fA-F]{2})", lambda m: f"%{ord(m[0]):02X}", part)
    return {"": "%00empty", ".": "%2E", "..": "%2E."}.get(part, part)


def read_index(state):
    with tempfile.TemporaryDirectory() as aside:  # never open what the host may be writing to
        files = [f"{state}/{n}" for n in ("index.db-wal", "index.db") if n in os.listdir(state)]
        for _ in range(100):
            before = [(os.stat(file).st_size, os.stat(file).st_mtime_ns) for file in files]
            for file in files:
                shutil.copy(file, aside)
            if before == [(os.stat(file).st_size, os.stat(file).st_mtime_ns) for file in files]:
                return sqlite3.connect(f"{aside}/index.db").execute(QUERY).fetchall()
    sys.exit(f"{state}/index.db changes all the time: stop the host, or restore from a snapshot")


def write(path, objects, pieces):
    with open(path, "xb") as target:
        for data, offset, length in pieces:
            found = re.fullmatch("z1:([a-z0-9][a-z0-9_-]*):(([0-9a-f]{2})[0-9a-f]{30})", data)
            if not found:
                raise ValueError(f"another module keeps it, as {data!a}")
            with open(f"{objects}/{found[1]}/{found[3]}/{found[2]}", "rb") as source:
                source.seek(offset)
                while length and (block := source.read(min(length, 1 << 20))):
                    length -= target.write(block)
            if length:
                raise ValueError(f"{length} bytes of its data are missing")


def main(bucket, target):
    keys, failed = {}, 0
    for key, kind, modified, *piece in read_index(f"{bucket}/.zfsstore/state"):
        keys.setdefault(key.decode(), (kind, modified / 1e6, []))[2].append(piece)
    directories = {key[: slash.start()] for key in keys for slash in re.finditer("/", key)}
    os.mkdir(target)  # a new one: nothing in it leads elsewhere, nothing is overwritten
    for key, (kind, modified, pieces) in keys.items():
        path = "/".join([target, *map(name, (key[:-1] if kind else key).split("/"))])
        path += "" if kind or key not in directories else "%00object"
        try:
            os.makedirs(path if kind else os.path.dirname(path), exist_ok=True)
            if not kind:
                write(path, f"{bucket}/.zfsstore/objects", [p for p in pieces if p[0] is not None])
                os.utime(path, (modified, modified))
        except (OSError, ValueError) as error:
            failed += 1
            print(f"not restored: {key!a}: {error}")
            if not kind and os.path.isfile(path) and not isinstance(error, FileExistsError):
                os.unlink(path)
    print(f"restored {len(keys) - failed} of {len(keys)}")
    return failed > 0


if __name__ == "__main__":
    try:
        sys.exit(main(*sys.argv[1:]) if len(sys.argv) == 3 else __doc__)
    except (OSError, sqlite3.Error) as error:
        sys.exit(f"nothing restored: {error}")
