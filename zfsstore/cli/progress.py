"""How far a long transfer is: one line on standard error that rewrites itself."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from typing import Any, Final, TextIO

from modules.streams import SupportsRead
from zfsstore.cli.output import format_size, printable

_EVERY_S: Final = 0.5
_EVERY_LINE_S: Final = 10.0


class Progress:
    """Tells bytes and rate, at a terminal twice a second, in a log every ten seconds.

    Args:
        is_wanted: True says so always, None at a terminal only.
        clock: seconds that never go back.
    """

    def __init__(
        self,
        *,
        is_wanted: bool | None = None,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stream = stream or sys.stderr
        self._is_terminal = self._stream.isatty()
        self._is_wanted = self._is_terminal if is_wanted is None else is_wanted
        self._clock = clock
        self._started = self._told = clock()
        self.total_bytes = 0

    def add(self, size_bytes: int) -> None:
        """Count, and tell when it is time."""
        self.total_bytes += size_bytes
        every_s = _EVERY_S if self._is_terminal else _EVERY_LINE_S
        if self._is_wanted and self._clock() - self._told >= every_s:
            self._told = self._clock()
            self._tell(end="" if self._is_terminal else "\n")

    def finish(self) -> None:
        """Tell the end."""
        if self._is_wanted:
            self._tell(end="\n")

    def _tell(self, *, end: str) -> None:
        start = "\r\x1b[K" if self._is_terminal else ""
        text = self._text(max(self._clock() - self._started, 0.001))
        print(f"{start}{printable(text)}", end=end, file=self._stream, flush=True)

    def _text(self, elapsed_s: float) -> str:
        rate = format_size(int(self.total_bytes / elapsed_s))
        return f"{format_size(self.total_bytes)} in {elapsed_s:.0f} s, {rate}/s"


def add_progress(parser: argparse.ArgumentParser) -> None:
    """Add --progress."""
    parser.add_argument(
        "--progress",
        action="store_true",
        default=None,
        help="say on stderr how far it is (default: at a terminal)",
    )


class Counting(Progress):
    """Tells how many of something there were, and of what, at the same times.

    Args:
        noun: in the plural, "packs".
    """

    def __init__(self, noun: str, **options: Any) -> None:
        super().__init__(**options)
        self._noun = noun
        self.subject = ""

    def add(self, count: int) -> None:
        """Count, and tell when it is time."""
        super().add(count)

    def tick(self) -> bool:
        """Count one; return False, as who asks whether to stop wants it."""
        self.add(1)
        return False

    def _text(self, elapsed_s: float) -> str:
        return f"{self.subject}: {self.total_bytes} {self._noun} in {elapsed_s:.0f} s"


class CountedReader:
    """A source of bytes whose progress is told as it is read."""

    def __init__(self, source: SupportsRead, progress: Progress) -> None:
        self._source = source
        self._progress = progress

    def read(self, size: int = -1, /) -> bytes:
        """Return up to *size* bytes of the source."""
        data = self._source.read(size)
        self._progress.add(len(data))
        return data
