"""SeaweedFS for tests: real processes on free ports of this machine, data in a directory."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from botocore.exceptions import BotoCoreError, ClientError

from tests.s3.service import KEYS, Service, make_client

_HOST = "127.0.0.1"
_DEADLINE_S = 90
_GRPC = 10_000  # a gRPC port is so much above the other one
_LOCAL = ("-ip", _HOST, "-ip.bind", _HOST)


class SeaweedFS:
    """One master, volume servers, and a filer with the S3 service.

    Args:
        replication: SeaweedFS's digits; "001" is one more copy on another server of the rack.
    """

    def __init__(self, directory: Path, *, volume_servers: int, replication: str) -> None:
        self._weed = os.environ.get("ZFSSTORE_TEST_WEED") or pytest.fail(
            "ZFSSTORE_TEST_WEED names no program weed; run tools/test-seaweedfs"
        )
        self._directory = directory
        self._count = volume_servers
        self._replication = replication
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, bucket: str) -> Service:
        """Start everything; return when an object has been stored."""
        master, filer, s3 = (free_port() for _ in range(3))
        at_master = f"{_HOST}:{master}"
        self._run(
            "master",
            *(*_LOCAL, "-port", str(master), "-mdir", self._place("master")),
            *("-volumeSizeLimitMB", "64", "-defaultReplication", self._replication),
            *("-telemetry=false", "-metricsPort", "0"),
        )
        for number in range(self._count):
            self._run(
                f"volume{number}",
                *(*_LOCAL, "-port", str(free_port()), "-dir", self._place(f"volume{number}")),
                *("-master", at_master, "-max", "60", "-minFreeSpacePercent", "0"),
            )
        config = self._directory / "s3.json"
        config.write_text(json.dumps(_identities()))
        self._run(
            "filer",
            *(*_LOCAL, "-port", str(filer), "-master", at_master, "-iam=false", "-s3"),
            *("-defaultReplicaPlacement", self._replication, "-s3.config", str(config)),
            *("-defaultStoreDir", self._place("filer"), "-s3.port", str(s3), "-s3.iam=false"),
            *("-s3.port.grpc", str(free_port()), "-s3.port.iceberg", "0", "-s3.port.lance", "0"),
        )
        service = Service(f"http://{_HOST}:{s3}", bucket, make_client(f"http://{_HOST}:{s3}"))
        self._wait(service)
        return service

    def bucket(self, service: Service, name: str) -> Service:
        """Return another, new bucket of a running service."""
        other = Service(service.endpoint_url, name, service.client)
        self._wait(other)
        return other

    def kill(self, name: str) -> None:
        """End a process as a power cut would."""
        process = self._processes.pop(name)
        process.send_signal(signal.SIGKILL)
        process.wait()

    def stop(self) -> None:
        for name in list(self._processes):
            self.kill(name)

    def _place(self, name: str) -> str:
        path = self._directory / name
        path.mkdir()
        return str(path)

    def _run(self, name: str, *arguments: str) -> None:
        kind = name.rstrip("0123456789")
        with open(self._directory / f"{name}.log", "wb") as log:
            self._processes[name] = subprocess.Popen(
                [self._weed, kind, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self._directory,
                env={"PATH": os.environ["PATH"], "HOME": str(self._directory)},
            )

    def _wait(self, service: Service) -> None:
        deadline = time.monotonic() + _DEADLINE_S
        while True:
            for name, process in self._processes.items():
                if process.poll() is not None:
                    pytest.fail(f"weed {name} ended: {self._log(name)}")
            try:
                with contextlib.suppress(service.client.exceptions.BucketAlreadyOwnedByYou):
                    service.client.create_bucket(Bucket=service.bucket)
                service.client.put_object(Bucket=service.bucket, Key="ready", Body=b"ready")
                service.client.delete_object(Bucket=service.bucket, Key="ready")
                return
            except (BotoCoreError, ClientError) as error:
                if time.monotonic() > deadline:
                    pytest.fail(f"SeaweedFS does not start: {error}; {self._log('filer')}")
            time.sleep(0.3)

    def _log(self, name: str) -> str:
        return (self._directory / f"{name}.log").read_text(errors="replace")[-2000:]


@contextlib.contextmanager
def seaweedfs(
    directory: Path, bucket: str, *, volume_servers: int = 1, replication: str = "000"
) -> Iterator[tuple[SeaweedFS, Service]]:
    """Give a running SeaweedFS and its S3 service."""
    running = SeaweedFS(directory, volume_servers=volume_servers, replication=replication)
    try:
        yield running, running.start(bucket)
    finally:
        running.stop()


def free_port() -> int:
    """Return a port that is free, and so is the one for gRPC."""
    while True:
        with socket.socket() as first, socket.socket() as second:
            first.bind((_HOST, 0))
            port: int = first.getsockname()[1]
            with contextlib.suppress(OSError, OverflowError):
                second.bind((_HOST, port + _GRPC))
                return port


def _identities() -> dict[str, object]:
    keys = {"accessKey": KEYS["access_key_id"], "secretKey": KEYS["secret_access_key"]}
    actions = ["Admin", "Read", "Write", "List", "Tagging"]
    return {"identities": [{"name": "tests", "credentials": [keys], "actions": actions}]}
