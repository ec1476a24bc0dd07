"""A runner that answers ``zfs get`` from a table of datasets, and remembers every command."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from zfsstore import layout
from zfsstore.agent.grammar import parse
from zfsstore.agent.scope import Scope
from zfsstore.volumes.datasets import NAME, UUID
from zfsstore.volumes.zfs import ZfsVolumes
from zfsstore.zfs.client import ZfsClient
from zfsstore.zfs.commands import format_text_property
from zfsstore.zfs.names import encode_component
from zfsstore.zfs.runner import RunResult

ROOT = "tank/objects"
SCOPE = Scope((ROOT,))


class ListedDatasets:
    """Args: *root*, where ROOT is mounted."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.argvs: list[list[str]] = []
        self.said: dict[str, RunResult] = {}
        self._datasets: dict[str, dict[str, tuple[str, str]]] = {ROOT: {}}

    def add(self, dataset: str, **changed: str) -> None:
        """Add a dataset below ROOT that is mounted; *changed* are properties of its own."""
        values = {"mountpoint": f"{self.root}/{dataset}", "mounted": "yes", "readonly": "off"}
        values |= {"used": "1024", "quota": "0", "origin": "-", "createtxg": "10", "guid": "1"}
        self._datasets[f"{ROOT}/{dataset}"] = {
            name.replace("__", ":"): (value, "local") for name, value in (values | changed).items()
        }

    def add_volume(self, name: str, uuid: str, **changed: str) -> None:
        """Add a complete volume."""
        dataset = "/".join(map(encode_component, name.split("/")))
        own_name = format_text_property(name.rpartition("/")[2])
        self.add(dataset, zfsstore__uuid=uuid, zfsstore__name=own_name, **changed)
        path = self.root / dataset
        (path / layout.OWN).mkdir(parents=True)
        record = layout.VolumeRecord("0" * 32, uuid, name.rpartition("/")[2])
        layout.write_volume_file(path, record)

    def __call__(self, argv: Sequence[str]) -> RunResult:
        SCOPE.authorise(parse(argv))  # the privileged helper would run it, too
        self.argvs.append(list(argv))
        if argv[1] in self.said:
            return self.said[argv[1]]
        if argv[1] == "version":
            return {"success": True, "stdout": "zfs-2.1.11-1\n"}
        if argv[1] == "set":
            changes = (change.partition("=") for change in argv[2:-1])
            self._datasets[argv[-1]] |= {name: (value, "local") for name, _, value in changes}
        return self._got(argv) if argv[1] == "get" else {"success": True, "stdout": ""}

    def taken(self) -> list[list[str]]:
        """Return every argv since the last call."""
        argvs, self.argvs = self.argvs, []
        return argvs

    def _got(self, argv: Sequence[str]) -> RunResult:
        names = argv[argv.index("name,property,value,source") + 2 :]
        wanted = argv[argv.index("name,property,value,source") + 1].split(",")
        depth = int(argv[argv.index("-d") + 1]) if "-d" in argv else 0
        lines = []
        for top in names:
            if top not in self._datasets:
                said = f"cannot open '{top}': dataset does not exist\n"
                return {"success": False, "stderr": said, "exit_code": 1}
            for name, properties in self._datasets.items():
                below = name.removeprefix(top)
                if name == top or (below[:1] == "/" and below.count("/") <= depth):
                    lines += [
                        "\t".join((name, key, *properties.get(key, ("-", "-")))) for key in wanted
                    ]
        return {"success": True, "stdout": "".join(f"{line}\n" for line in lines)}


def volumes_over(listed: ListedDatasets) -> ZfsVolumes:
    """Return the backend over *listed*."""
    (listed.root / layout.FENCES).mkdir(parents=True, exist_ok=True)
    return ZfsVolumes(ZfsClient(listed), ROOT, str(listed.root), "main")


__all__ = ["NAME", "ROOT", "UUID", "ListedDatasets", "volumes_over"]
