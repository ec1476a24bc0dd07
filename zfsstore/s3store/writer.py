"""Sending one object: as one request when it is small, else as a multipart upload."""

from __future__ import annotations

import base64
import hashlib
import logging
import zlib
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from modules.errors import IntegrityError, InvalidArgument, StorageError
from modules.streams import SupportsRead, copy
from zfsstore.s3store.client import Clients
from zfsstore.s3store.config import MIB, S3Config
from zfsstore.s3store.failures import RAISED, storage_error, translated
from zfsstore.s3store.layout import BLOCK_BYTES, DIGEST_BYTES, ModuleData, digest

MAX_PARTS: Final = 10_000
_PARTS_OF_A_SIZE: Final = 1000
"""After so many parts of an object whose length is not known, parts are twice as long."""

_ETAG_DIGITS: Final = 32
_logger: Final = logging.getLogger(__name__)
_Checksum = tuple[str, str, Callable[[bytes | bytearray], bytes]]
_CHECKSUMS: Final[dict[str, _Checksum]] = {
    "sha256": ("SHA256", "ChecksumSHA256", lambda data: hashlib.sha256(data).digest()),
    "crc32": ("CRC32", "ChecksumCRC32", lambda data: zlib.crc32(data).to_bytes(4, "big")),
    "md5": ("", "ContentMD5", lambda data: _md5(data).digest()),
}


def store(
    clients: Clients,
    config: S3Config,
    key: str,
    object_id: str,
    stream: SupportsRead,
    *,
    expected_bytes: int | None,
    subject: str,
) -> ModuleData:
    """Store all of *stream* under *key*; the service has it, durably, on return.

    Not more than one part is in memory. After a failure nothing is left, unless the service
    cannot be reached for that: then a sweep finds it.

    Raises:
        InvalidArgument: it is larger than these part sizes allow.
        TruncatedStream: *stream* did not hold *expected_bytes*.
        IntegrityError: other bytes arrived than were sent.
    """
    upload = _Upload(clients, config, key, subject)
    upload.expect(expected_bytes)
    try:
        copy(stream, upload.write, expected_bytes=expected_bytes, block_size=BLOCK_BYTES)
        return upload.finish(object_id)
    except BaseException:
        upload.discard()
        raise


class _Upload:
    """One object on its way."""

    def __init__(self, clients: Clients, config: S3Config, key: str, subject: str) -> None:
        self._clients = clients
        self._client = clients.get()
        self._config = config
        self._target = {"Bucket": config.bucket, "Key": key}
        self._subject = subject
        self._checksum = _CHECKSUMS[config.checksum]
        self._buffer = bytearray()
        self._table = bytearray()
        self._last_digest = digest(b"")
        self._size = 0
        self._parts: list[dict[str, Any]] = []
        self._upload_id: str | None = None
        self._may_exist = False
        self._base_bytes = config.part_size_bytes
        self._is_length_known = False

    def expect(self, size: int | None) -> None:
        """Choose a part size that suits an object of *size* bytes."""
        if size is None:
            return
        stored = ModuleData("", size, b"").stored_bytes
        needed = -(-stored // (MAX_PARTS - 1))
        self._base_bytes = max(self._base_bytes, -(-needed // MIB) * MIB)
        self._is_length_known = True
        if self._base_bytes > self._config.max_part_size_bytes:
            raise self._too_large()

    def write(self, block: bytes) -> None:
        """Take one block; all but the last have BLOCK_BYTES."""
        if self._buffer and len(self._buffer) + len(block) > self._part_bytes():
            self._send_part()
        self._last_digest = digest(block)
        self._table += self._last_digest
        self._buffer += block
        self._size += len(block)

    def finish(self, object_id: str) -> ModuleData:
        """Complete the object and return what it is called."""
        has_table = len(self._table) > DIGEST_BYTES
        root = digest(self._table) if has_table else self._last_digest
        if has_table:
            self._buffer += self._table
        if self._upload_id is None:
            self._send_whole()
        else:
            self._send_part()
            self._complete()
        return ModuleData(object_id, self._size, root)

    def discard(self) -> None:
        """Remove what is there; what cannot be removed is logged, and found by a sweep."""
        self._buffer = bytearray()
        calls: list[tuple[str, dict[str, Any]]] = []
        if self._upload_id is not None:
            calls.append(("abort_multipart_upload", {"UploadId": self._upload_id}))
        if self._may_exist:
            calls.append(("delete_object", {}))
        for name, arguments in calls:
            try:
                getattr(self._clients.cleanup(), name)(**self._target, **arguments)
            except (*RAISED, StorageError) as error:
                _logger.warning(
                    "a failed put of %s may have left something in the bucket (%s: %s); "
                    "a sweep finds it",
                    self._subject,
                    name,
                    type(error).__name__,
                )

    def _part_bytes(self) -> int:
        if self._is_length_known:
            return self._base_bytes
        doubled = self._base_bytes << (len(self._parts) // _PARTS_OF_A_SIZE)
        return min(doubled, self._config.max_part_size_bytes)

    def _send_whole(self) -> None:
        self._may_exist = True
        arguments = self._sent_with(self._buffer)
        with self._errors():
            answer = self._client.put_object(**self._target, Body=self._buffer, **arguments)
        self._confirm(answer, arguments)

    def _send_part(self) -> None:
        if self._upload_id is None:
            self._begin()
        number = len(self._parts) + 1
        if number > MAX_PARTS:
            raise self._too_large()
        arguments = self._sent_with(self._buffer)
        with self._errors():
            answer = self._client.upload_part(
                **self._target,
                UploadId=self._upload_id,
                PartNumber=number,
                Body=self._buffer,
                **arguments,
            )
        self._confirm(answer, arguments)
        part = {"PartNumber": number, "ETag": answer["ETag"]}
        algorithm, member, _ = self._checksum
        if algorithm and answer.get(member):
            part[member] = answer[member]
        self._parts.append(part)
        self._buffer.clear()

    def _begin(self) -> None:
        algorithm = self._checksum[0]
        arguments = {"ChecksumAlgorithm": algorithm} if algorithm else {}
        with self._errors():
            answer = self._client.create_multipart_upload(
                **self._target, ContentType="application/octet-stream", **arguments
            )
        self._upload_id = answer["UploadId"]

    def _complete(self) -> None:
        self._may_exist = True
        try:
            self._client.complete_multipart_upload(
                **self._target,
                UploadId=self._upload_id,
                MultipartUpload={"Parts": self._parts},
            )
        except RAISED as error:
            if not self._is_there():  # the answer can be lost, and another attempt then fails
                raise storage_error(
                    error, operation="put object into", subject=self._subject
                ) from error

    def _is_there(self) -> bool:
        with suppress(*RAISED):
            found: int = self._client.head_object(**self._target)["ContentLength"]
            return found == self._size + len(self._table)
        return False

    def _sent_with(self, body: bytearray) -> dict[str, str]:
        """Return the arguments that make the service check what arrives."""
        _, member, compute = self._checksum
        return {member: base64.b64encode(compute(body)).decode()}

    def _confirm(self, answer: dict[str, Any], sent: dict[str, str]) -> None:
        """Check that the service says it has the buffer, *sent* with a checksum of it.

        Its own checksum says so or, where it gives none, its ETag when that is an MD5. Whoever
        gives neither has at least been sent one to check.

        Source: Amazon S3 User Guide, Checking object integrity.
        """
        algorithm, member, _ = self._checksum
        stated = answer.get(member) if algorithm else None
        if stated is not None:
            is_right = stated == sent[member]
        else:
            etag = str(answer.get("ETag", "")).strip('"').lower()
            is_md5 = len(etag) == _ETAG_DIGITS and "ServerSideEncryption" not in answer
            is_right = not is_md5 or etag == _md5(self._buffer).hexdigest()
        if not is_right:
            raise IntegrityError(
                "the S3 service stored other bytes than were sent",
                operation="put object into",
                subject=self._subject,
                hint="send the object again; check network and memory of this machine",
            )

    def _errors(self) -> Any:
        return translated(operation="put object into", subject=self._subject)

    def _too_large(self) -> InvalidArgument:
        return InvalidArgument(
            f"it has more than {MAX_PARTS} parts of at most "
            f"{self._config.max_part_size_bytes} bytes",
            field="content_length",
            operation="put object into",
            subject=self._subject,
            hint="raise max_part_size_bytes, which many bytes of memory each put then takes",
        )


def _md5(data: bytes | bytearray) -> Any:
    return hashlib.md5(data, usedforsecurity=False)
