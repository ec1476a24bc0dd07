"""CompressedStorage: what it stores in its inner module is in format C1."""

from __future__ import annotations

import contextlib
from typing import Any, Final

from modules.context import Context, content_length
from modules.errors import ConfigurationError, StorageError, SubstrateError
from modules.streams import ReadStream, SupportsRead
from modules.wrappers.base import DEFAULT_DOMAIN, Wrapper
from modules.wrappers.compression import format as c1
from modules.wrappers.compression.reader import DecompressedStream, read_table
from modules.wrappers.compression.writer import CompressingStream, PromisedStream
from modules.wrappers.inner_reader import InnerReader

DEFAULT_LEVEL: Final = 1
_LEVELS: Final = range(1, 20)


class CompressedStorage(Wrapper):
    """Compresses objects with zstd, each by itself, and keeps them in another module.

    Put it above encryption, never below: what is encrypted does not compress. How far an object
    compresses shows in its size; where that must not be known, do without. What gains less than
    3 % is stored as it is, and costs nothing to read.

    Args:
        inner: the name of the configured module that keeps the compressed bytes.
        level: 1 (fastest) to 19.
        key_domain: as for every wrapper; not used by this one.
    """

    def __init__(
        self, *, inner: str, level: int = DEFAULT_LEVEL, key_domain: str = DEFAULT_DOMAIN
    ) -> None:
        super().__init__(inner=inner, key_domain=key_domain)
        if type(level) is not int or level not in _LEVELS:
            raise ConfigurationError(
                f"must be a whole number from {_LEVELS[0]} to {_LEVELS[-1]}, not {level!r:.80}",
                field="level",
            )
        self._level = level

    def put(self, context: Context, stream: SupportsRead) -> str:
        """Compress *stream* into the inner module; as durable as that makes it."""
        expected_bytes = content_length(context)
        promised = PromisedStream(stream, expected_bytes)
        source = CompressingStream(promised, self._level)
        size = None if source.is_compressed else expected_bytes
        inner = self.inner(context)
        inner_data = inner.put(self.inner_context(context, content_length=size), source)
        if not source.is_complete:
            with contextlib.suppress(StorageError):
                inner.delete(context, inner_data)
            raise SubstrateError(
                "it did not read the stream to its end",
                operation="put into module",
                subject=self._inner_name,
                hint="run zfsstore module check on it",
            )
        return str(c1.ModuleData(source.is_compressed, promised.length, inner_data))

    def get_read_stream(self, context: Context, module_data: str) -> ReadStream:
        """Return the object's content; what was stored as it is comes as the inner module has it.

        Raises:
            IntegrityError: it has not the length that was put.
        """
        parsed = c1.parse_module_data(module_data)
        stream = self.inner(context).get_read_stream(context, parsed.inner)
        try:
            reader = InnerReader(stream, operation="decompress object", subject=module_data)
            if not parsed.is_compressed:
                length = reader.size()
                stream.seek(0)
                opened = stream
            else:
                table = read_table(reader, subject=module_data)
                length = table.length
                opened = DecompressedStream(reader, table, module_data)
            if length != parsed.length:
                reason = f"it holds {length} bytes, but {parsed.length} were put"
                raise c1.damaged(reason, module_data)
        except BaseException:
            stream.close()
            raise
        return opened

    def statistics(self, context: Context) -> dict[str, Any]:
        """Return the inner module's statistics, and how its bytes are compressed."""
        return {
            **self.inner(context).statistics(context),
            "compression": {"format": "C1", "algorithm": "zstd", "level": self._level},
        }

    def _inner_data(self, module_data: str) -> str:
        return c1.parse_module_data(module_data).inner
