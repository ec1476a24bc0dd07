"""A runner that answers by the first two words of a command, and remembers each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from zfsstore.zfs.runner import RunResult

VERSION = "zfs-2.3.2-1\nzfs-kmod-2.3.2-1\n"
OLD_VERSION = "zfs-2.1.11-1\nzfs-kmod-2.1.11-1\n"


class Recorder:
    """Args: *outputs*, by "zfs list"; *failure*, what every command but version says it died of."""

    def __init__(
        self,
        outputs: Mapping[str, str] | None = None,
        *,
        version: str = VERSION,
        failure: str | None = None,
    ) -> None:
        self.argvs: list[list[str]] = []
        self._outputs = {"zfs version": version, **(outputs or {})}
        self._failure = failure

    def __call__(self, argv: Sequence[str]) -> RunResult:
        if list(argv) == ["zfs", "version"]:
            return {"success": True, "stdout": self._outputs["zfs version"]}
        self.argvs.append(list(argv))
        if self._failure is not None:
            return {"success": False, "stderr": self._failure, "exit_code": 1}
        return {"success": True, "stdout": self._outputs.get(" ".join(argv[:2]), "")}

    @property
    def last(self) -> str:
        """The last command, as one line."""
        return " ".join(self.argvs[-1])
