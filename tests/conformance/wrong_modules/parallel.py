"""Modules that are wrong about many callers or many operations."""

from __future__ import annotations

import io
import os
import re
import tempfile
import threading
import time
from collections.abc import Mapping
from typing import IO, Any

from modules import StorageModule
from modules.context import Context, content_length
from modules.errors import InvalidModuleData, ObjectNotFound
from modules.streams import SupportsRead, copy
from simple.simple import SimpleStorage


class OnePutAtATime(SimpleStorage):
    """Keeps the state of a put in the instance."""

    breaks = "threads.parallel"

    def put(self, context: Context, stream: SupportsRead) -> str:
        self.name = super().put(context, stream)
        time.sleep(0.002)
        return self.name


class InMemory(StorageModule):
    """Keeps everything in this process: in files without a name."""

    breaks = "processes.parallel"

    def __init__(self, storage_dir: str) -> None:
        self.directory = storage_dir
        self.objects: dict[str, IO[bytes]] = {}
        self.lock = threading.Lock()

    def put(self, context: Context, stream: SupportsRead) -> str:
        file = tempfile.TemporaryFile(dir=self.directory, buffering=0)  # noqa: SIM115 - kept
        try:
            copy(stream, file.write, expected_bytes=content_length(context))
        except BaseException:
            file.close()
            raise
        name = f"memory-{os.urandom(8).hex()}"
        with self.lock:
            self.objects[name] = file
        return name

    def available(self, context: Context, module_data: str) -> bool:
        return module_data in self.objects

    def get_read_stream(self, context: Context, module_data: str) -> Any:
        if not re.fullmatch(r"memory-[0-9a-f]{16}", module_data):
            raise InvalidModuleData("not one of this module's")
        try:
            return io.FileIO(f"/proc/self/fd/{self.objects[module_data].fileno()}")
        except KeyError:
            raise ObjectNotFound("it does not exist") from None

    def delete(self, context: Context, module_data: str) -> None:
        with self.lock:
            file = self.objects.pop(module_data, None)
        if file:
            file.close()

    def statistics(self, context: Context) -> dict[str, Any]:
        return {"capacity": {"total": 0, "free": 0, "used": 0}}

    def capabilities(self, context: Context) -> Mapping[str, Any]:
        return {}


class LeaksDescriptors(SimpleStorage):
    """Opens the file twice to look at it first."""

    breaks = "growth.descriptors"

    def get_read_stream(self, context: Context, module_data: str) -> io.FileIO:
        stream = super().get_read_stream(context, module_data)
        os.dup(stream.fileno())
        return stream


class LeaksWhenAPutFails(SimpleStorage):
    """Opens a log of the failure and forgets to close it."""

    breaks = "growth.descriptors"

    def put(self, context: Context, stream: SupportsRead) -> str:
        try:
            return super().put(context, stream)
        except Exception:
            os.open(os.devnull, os.O_WRONLY)
            raise


class RemembersEveryName(SimpleStorage):
    """Caches what it has seen, for ever."""

    breaks = "growth.memory"

    def __init__(self, storage_dir: str) -> None:
        super().__init__(storage_dir)
        self.seen: list[str] = []

    def put(self, context: Context, stream: SupportsRead) -> str:
        self.seen.append(super().put(context, stream))
        return self.seen[-1]
