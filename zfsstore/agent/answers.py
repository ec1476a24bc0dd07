"""The agent's answers: what a command did, or why it was not run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from modules.errors import (
    Busy,
    CommandTimeout,
    Conflict,
    InvalidArgument,
    NotSupported,
    PermissionDenied,
    StorageError,
    SubstrateError,
    Unavailable,
)
from zfsstore.zfs.seam import RunResult

_SIMPLE: Final[dict[str, type[StorageError]]] = {
    "Busy": Busy,
    "Conflict": Conflict,
    "InvalidArgument": InvalidArgument,
    "PermissionDenied": PermissionDenied,
    "SubstrateError": SubstrateError,
    "Unavailable": Unavailable,
}


def format_error(error: StorageError) -> dict[str, Any]:
    """Return the answer that lets the client raise *error*, or one that is as wide as known."""
    kinds = [kind.__name__ for kind in type(error).__mro__]
    known = (*_SIMPLE, "NotSupported", "CommandTimeout")
    kind = next((name for name in kinds if name in known), "SubstrateError")
    members = {
        "kind": kind,
        "reason": error.reason,
        "operation": error.operation,
        "subject": error.subject,
        "hint": error.hint,
        "field": getattr(error, "field", None),
        "timeout_s": getattr(error, "timeout_s", None),
    }
    return {"error": {name: value for name, value in members.items() if value is not None}}


def parse_answer(answer: Mapping[str, Any], argv: Sequence[str]) -> RunResult:
    """Return what the command did.

    Raises:
        StorageError: the agent refused it, or could not run it.
    """
    error = answer.get("error")
    if isinstance(error, dict):
        raise _error(error, argv)
    result: RunResult = {
        "success": answer.get("success") is True,
        "stdout": str(answer.get("stdout", "")),
        "stderr": str(answer.get("stderr", "")),
    }
    exit_code = answer.get("exit_code")
    if isinstance(exit_code, int):
        result["exit_code"] = exit_code
    return result


def _error(members: Mapping[str, Any], argv: Sequence[str]) -> StorageError:
    text = {
        name: str(members[name]) for name in ("operation", "subject", "hint") if name in members
    }
    text.setdefault("operation", "run")
    text.setdefault("subject", " ".join(argv[:2]))
    reason, kind = str(members.get("reason", "no reason was given")), members.get("kind")
    if kind == "CommandTimeout":
        timeout_s = float(members.get("timeout_s", 0))
        return CommandTimeout(reason, argv=argv, timeout_s=timeout_s, **text)
    if kind == "NotSupported":
        return NotSupported(reason, capability="agent", **text)
    if kind == "InvalidArgument":
        return InvalidArgument(reason, field=str(members.get("field", "argv")), **text)
    return _SIMPLE.get(str(kind), SubstrateError)(reason, **text)
