"""A runner's place, filled with answers that were written down, and what it was asked."""

from __future__ import annotations

from collections.abc import Sequence

from modules.errors import CommandFailed


class Recorder:
    """Runs nothing: notes every argv and answers from *answers*, "" by default.

    An answer that is an exception is raised.
    """

    def __init__(self, **answers: str | Exception) -> None:
        self.argvs: list[list[str]] = []
        self.answers = answers

    def __call__(self, argv: Sequence[str], operation: str, subject: str) -> str:
        self.argvs.append(list(argv))
        answer = self.answers.get("".join(filter(str.isalnum, " ".join(argv[:2]))), "")
        if isinstance(answer, Exception):
            raise answer
        return answer


def failure(stderr: str = "exportfs: it failed") -> CommandFailed:
    return CommandFailed(stderr, argv=["exportfs", "-r"], exit_code=1, stderr=stderr)
