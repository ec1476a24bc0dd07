"""A runner that runs nothing: it answers with what real ZFS printed, and keeps every argv."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from zfsstore import ZfsBackend
from zfsstore.zfs.runner import RunResult

V1 = "11111111-1111-4111-8111-111111111111"
C1 = "22222222-2222-4222-8222-222222222222"
GUID = "12345678901234567890"
COLUMNS = (
    "name,mountpoint,used,avail,origin,quota,mounted,readonly,createtxg,"
    "zfsstore:uuid,zfsstore:fsid,zfsstore:name"
)
SNAPSHOT_COLUMNS = "name,creation,used,refer,guid"


def row(name: str, uuid: str = "-", **changed: str) -> str:
    """Return a line as ``zfs list -Hp`` prints it for the columns above."""
    values = {
        "name": name,
        "mountpoint": f"/srv/{name.rpartition('/')[2]}",
        "used": "98304",
        "avail": "1000000",
        "origin": "-",
        "quota": "0",
        "mounted": "yes",
        "readonly": "off",
        "createtxg": "42",
        "uuid": uuid,
        "fsid": "-",
        "store_name": "-",
    }
    return "\t".join((values | changed).values()) + "\n"


def snapshot_row(name: str, guid: str = GUID) -> str:
    return f"{name}\t1700000000\t1024\t2048\t{guid}\n"


class Script:
    """Answers an argv from what was last said about its words; "" and success otherwise."""

    def __init__(self) -> None:
        self.argvs: list[list[str]] = []
        self._answers: list[tuple[tuple[str, ...], RunResult]] = []
        self._hooks: list[tuple[str, int, Callable[[], None]]] = []

    def say(self, *words: str, stdout: str = "") -> None:
        self._answers.insert(0, (words, {"success": True, "stdout": stdout, "stderr": ""}))

    def fail(self, *words: str, stderr: str) -> None:
        self._answers.insert(
            0, (words, {"success": False, "stdout": "", "stderr": stderr, "exit_code": 1})
        )

    def at(self, word: str, count: int, call: Callable[[], None]) -> None:
        """Call *call* before the answer to the command number *count* that has *word*."""
        self._hooks.append((word, count, call))

    def __call__(self, argv: Sequence[str]) -> RunResult:
        self.argvs.append(list(argv))
        for word, count, call in self._hooks:
            if word in argv and count == sum(word in earlier for earlier in self.argvs):
                call()
        for words, answer in self._answers:
            if set(words) <= set(argv):
                return answer
        return {"success": True, "stdout": "", "stderr": ""}

    def taken(self) -> list[list[str]]:
        """Return every argv since the last call."""
        argvs, self.argvs = self.argvs, []
        return argvs


LIST_POOL = ["zfs", "list", "-Hp", "-d", "1", "-o", COLUMNS, "-t", "filesystem", "p"]


def list_one(dataset: str) -> list[str]:
    return ["zfs", "list", "-Hp", "-o", COLUMNS, dataset]


def list_snapshots(dataset: str) -> list[str]:
    return ["zfs", "list", "-Hp", "-d", "1", "-o", SNAPSHOT_COLUMNS, "-t", "snapshot", dataset]


def list_snapshot(snapshot: str) -> list[str]:
    return ["zfs", "list", "-Hp", "-o", SNAPSHOT_COLUMNS, "-t", "snapshot", snapshot]


def populated(script: Script | None = None) -> Script:
    """Return a script of the pool "p" with the volume v1, its snapshot s1 and its clone c1."""
    script = script or Script()
    v1 = row("p/v1", V1, quota="2147483648")
    c1 = row("p/c1", C1, origin="p/v1@s1")
    script.say("list", "p", stdout=row("p"))
    script.say("list", "-d", "p", stdout=row("p") + c1 + v1)
    script.say("list", "p/v1", stdout=v1)
    script.say("list", "p/c1", stdout=c1)
    script.say("list", "snapshot", "p/v1", stdout=snapshot_row("p/v1@s1"))
    script.say("list", "snapshot", "p/v1@s1", stdout=snapshot_row("p/v1@s1"))
    script.say("get", "mountpoint", "p/v1", stdout="/srv/v1\n")
    return script


def knowing(script: Script, **settings: object) -> ZfsBackend:
    """Return a backend that listed its volumes once."""
    arguments: dict[str, object] = {"pool": "p", "retry_base_s": 0.0, "exports": "none"}
    backend = ZfsBackend(runner=script, **(arguments | settings))  # type: ignore[arg-type]
    backend.list_volumes()
    script.taken()
    return backend
