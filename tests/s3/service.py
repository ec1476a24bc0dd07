"""An S3 service for tests: moto's server, reached through HTTP."""

from __future__ import annotations

import atexit
import functools
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import boto3
from botocore.config import Config

from modules.conformance import ModuleSpec

S3 = "zfsstore.s3store.S3Storage"
MIB = 1024 * 1024
KEYS = {"access_key_id": "AKIATESTTESTTEST", "secret_access_key": "the-secret-key-of-the-tests"}


@dataclass(frozen=True, slots=True)
class Service:
    """A running service and a bucket in it."""

    endpoint_url: str
    bucket: str
    client: Any

    def args(self, **changes: Any) -> dict[str, Any]:
        """Return arguments for S3Storage; small parts and few, quick attempts."""
        return {
            "bucket": self.bucket,
            "prefix": "test",
            "endpoint_url": self.endpoint_url,
            "credentials": KEYS,
            "part_size_bytes": 5 * MIB,
            "read_ahead_bytes": 2 * MIB,
            "max_attempts": 2,
            "connect_timeout_s": 5,
            "read_timeout_s": 30,
            **changes,
        }

    def spec(self, **changes: Any) -> ModuleSpec:
        return ModuleSpec(S3, self.args(**changes))

    def everything(self) -> list[str]:
        """Return the keys of all objects, and those of unfinished uploads with ? and their ids."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket)
        objects = [entry["Key"] for page in pages for entry in page.get("Contents", ())]
        uploads = self.client.list_multipart_uploads(Bucket=self.bucket).get("Uploads", ())
        return objects + [f"{entry['Key']}?{entry['UploadId']}" for entry in uploads]


def make_client(endpoint_url: str, keys: Mapping[str, str] = KEYS) -> Any:
    """Return a client that is not the module's."""
    return boto3.session.Session().client(
        "s3",
        endpoint_url=endpoint_url,
        region_name="us-east-1",
        aws_access_key_id=keys["access_key_id"],
        aws_secret_access_key=keys["secret_access_key"],
        config=Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 3}),
    )


@functools.cache
def _moto_url() -> str:
    """Start moto's server, once in each process of tests; it ends with it."""
    server = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-m", "tests.s3.moto_process"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path)},
        text=True,
    )
    atexit.register(_end, server)
    assert server.stdout is not None
    line = server.stdout.readline()
    assert line, "moto's server does not start: python -m tests.s3.moto_process says why"
    return f"http://127.0.0.1:{int(line)}"


def _end(server: subprocess.Popen[str]) -> None:
    with server:
        server.kill()


def moto_service(bucket: str) -> Service:
    """Return a new bucket in the moto server of this process."""
    url = _moto_url()
    client = make_client(url)
    client.create_bucket(Bucket=bucket)
    return Service(url, bucket, client)
