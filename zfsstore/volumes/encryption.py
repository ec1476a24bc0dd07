"""Reading the key of an encrypted tenant, from a file or from a command's output.

The key is in this process's memory only while it is handed on, by standard input, to zfs: never
in an argv, a log or an error. What a key command writes to its standard error is thrown away,
because it might quote the key.
"""

from __future__ import annotations

import os
import re
import select
import stat
import subprocess
import time
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from modules.errors import InvalidArgument, StorageError
from modules.volume_properties import EncryptionKey
from zfsstore.volumes.properties import ENCRYPTION
from zfsstore.zfs import process
from zfsstore.zfs.errors import KeyUnavailable

RAW_BYTES: Final = 32
COMMAND_TIMEOUT_S: Final = 30.0

_PASSPHRASE_BYTES: Final = range(8, 513)  # zfs-load-key(8), keyformat
_MAX_BYTES: Final = 1024
_HEX: Final = re.compile(rb"[0-9a-fA-F]{64}")


def check_key(key: EncryptionKey) -> None:
    """Make sure that a key's source, format and cipher can be meant.

    Raises:
        InvalidArgument: they cannot.
    """
    if (key.file is None) == (key.command is None):
        raise _wrong("give a file or a command that the key comes from, not both")
    if key.file is not None and (not key.file or "\0" in key.file):
        raise _wrong("file must be the path of the key's file")
    words = key.command
    if words is not None and not (words and words[0] and all(_is_word(word) for word in words)):
        raise _wrong("command must be a program and its arguments")
    ENCRYPTION["keyformat"].checked(key.format)
    ENCRYPTION["encryption"].checked(key.cipher)


def read_key(key: EncryptionKey, *, timeout_s: float = COMMAND_TIMEOUT_S) -> bytes:
    """Return the key as zfs wants it on its standard input.

    Raises:
        InvalidArgument: what was read is no key of its format.
        KeyUnavailable: the file cannot be read, or the command fails, hangs or says too much.
    """
    check_key(key)
    if key.file is not None:
        material = _read_file(key.file)
    else:
        material = _read_command(key.command or (), timeout_s)
    if key.format != "raw":
        material = material.removesuffix(b"\n").removesuffix(b"\r")
    problem = _PROBLEMS[key.format](material)
    if problem is not None:
        raise _wrong(f"what {_source(key)} holds is no {key.format} key: {problem}")
    return material


def _read_file(path: str) -> bytes:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # a FIFO must not hang
        try:
            found = os.fstat(fd)
            if not stat.S_ISREG(found.st_mode):
                raise _unavailable(path, "it is no plain file")
            if found.st_mode & stat.S_IROTH:
                raise _unavailable(path, "everybody may read it", hint=f"chmod 600 {path}")
            return _limited(path, os.read(fd, _MAX_BYTES + 1))
        finally:
            os.close(fd)
    except OSError as error:
        reason = error.strerror or str(error)
        raise _unavailable(path, reason, hint="is the key's medium mounted?") from error


def _read_command(command: tuple[str, ...], timeout_s: float) -> bytes:
    program = command[0]
    try:
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            process_group=0,
        )
    except OSError as error:
        raise _unavailable(program, f"it cannot be run: {error.strerror or error}") from error
    pipe = child.stdout
    assert pipe is not None
    try:
        deadline = time.monotonic() + timeout_s
        material = _limited(program, _read_pipe(program, pipe.fileno(), deadline, timeout_s))
        code = child.wait(max(0.1, deadline - time.monotonic()))
    except subprocess.TimeoutExpired as error:
        raise _hanging(program, timeout_s) from error
    finally:
        process.end(child, pipe)
    if code != 0:
        raise _unavailable(
            program,
            f"it failed with exit status {code}" if code > 0 else f"signal {-code} ended it",
            hint="run it by hand as the same user; what it says is not shown here",
        )
    return material


def _read_pipe(program: str, fd: int, deadline: float, timeout_s: float) -> bytes:
    """Return what comes until the pipe's end, or one byte more than a key may have."""
    poller = select.poll()
    poller.register(fd, select.POLLIN)
    material = b""
    while len(material) <= _MAX_BYTES:
        left_s = deadline - time.monotonic()
        if left_s <= 0 or not poller.poll(left_s * 1000):
            raise _hanging(program, timeout_s)
        block = os.read(fd, _MAX_BYTES + 1 - len(material))
        if not block:
            break
        material += block
    return material


def _limited(source: str, material: bytes) -> bytes:
    if len(material) > _MAX_BYTES:
        raise _unavailable(source, f"it gives more than {_MAX_BYTES} bytes, which is no key")
    return material


def _raw_problem(material: bytes) -> str | None:
    if len(material) == RAW_BYTES:
        return None
    return f"it has {len(material)} bytes, not {RAW_BYTES}"


def _hex_problem(material: bytes) -> str | None:
    return None if _HEX.fullmatch(material) else "it is not 64 hexadecimal digits"


def _passphrase_problem(material: bytes) -> str | None:
    if b"\n" in material or b"\0" in material:
        return "it has more than one line, or a NUL"
    if len(material) in _PASSPHRASE_BYTES:
        return None
    return f"it has {len(material)} bytes, not 8 to 512"


_PROBLEMS: Final[Mapping[str, Callable[[bytes], str | None]]] = MappingProxyType(
    {"raw": _raw_problem, "hex": _hex_problem, "passphrase": _passphrase_problem}
)


def _is_word(word: object) -> bool:
    return isinstance(word, str) and "\0" not in word


def _source(key: EncryptionKey) -> str:
    return key.file if key.file is not None else (key.command or ("the command",))[0]


def _wrong(reason: str) -> InvalidArgument:
    return InvalidArgument(reason, field="encryption", operation="read key")


def _unavailable(source: str, reason: str, *, hint: str | None = None) -> StorageError:
    return KeyUnavailable(reason, operation="read key from", subject=source, hint=hint)


def _hanging(program: str, timeout_s: float) -> StorageError:
    reason = f"it did not end within {timeout_s:g} s and was killed"
    return _unavailable(program, reason, hint="does it ask for something?")
