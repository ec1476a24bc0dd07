"""The client's calls that stream: send, receive, and keys on standard input."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Self

from modules.errors import CommandFailed, InvalidArgument, StorageError
from zfsstore.zfs import commands
from zfsstore.zfs import stream_commands as argvs
from zfsstore.zfs.classification import classify
from zfsstore.zfs.client_base import CommandClient
from zfsstore.zfs.names import check_bookmark_name, check_dataset_name, check_snapshot_name
from zfsstore.zfs.properties import check_properties, check_property_names
from zfsstore.zfs.seam import CommandReader, CommandWriter
from zfsstore.zfs.stream_commands import ResumeToken, SendFlags, SendPlan, check_token
from zfsstore.zfs.timeouts import streaming

_PLAIN = SendFlags()


class StreamCalls(CommandClient):
    """Streams of snapshots. The runner must be a StreamRunner."""

    def open_send(
        self,
        snapshot: str,
        *,
        base: str | None = None,
        intermediates: bool = False,
        flags: SendFlags = _PLAIN,
    ) -> CommandReader:
        """Return *snapshot* as a stream; closed early, it ends the command.

        That it cannot be sent is raised by a read. :meth:`plan_send` tells it at once.

        Args:
            snapshot: what to send.
            base: a snapshot, or a bookmark ``DATASET#NAME``, that the receiver has: only what
                changed since. All of it when None.
            intermediates: with the snapshots between; then *base* is no bookmark.
            flags: how.
        """
        _check_send(snapshot, base, intermediates)
        argv = argvs.send_argv(snapshot, base=base, intermediates=intermediates, chosen=flags)
        return self._open_read(argv, "send snapshot", snapshot)

    def plan_send(
        self,
        snapshot: str,
        *,
        base: str | None = None,
        intermediates: bool = False,
        flags: SendFlags = _PLAIN,
    ) -> SendPlan:
        """Return what :meth:`open_send` would send, with estimated sizes.

        Raises:
            SnapshotNotFound: there is no such snapshot, or base.
            InvalidArgument: the base is not older than the snapshot.
            KeyNotLoaded: it is encrypted and locked, and not sent raw.
        """
        _check_send(snapshot, base, intermediates)
        argv = argvs.send_argv(
            snapshot, base=base, intermediates=intermediates, chosen=flags, dry_run=True
        )
        return argvs.parse_send_plan(self._run(argv, "send snapshot", snapshot), argv=argv)

    def open_resumed_send(self, token: str) -> CommandReader:
        """Return the rest of the stream of a partial receive.

        *token* decides what is sent: check one from elsewhere with :meth:`read_token`.
        """
        return self._open_read(argvs.resume_argv(check_token(token)), "resume send of", token[:16])

    def read_token(self, token: str) -> ResumeToken:
        """Return what a receiver's token asks for, and that it can be sent.

        Raises:
            StaleResumeToken: the snapshot, or the base, is gone or is another one.
            InvalidArgument: it is no token.
        """
        argv = argvs.resume_argv(check_token(token), dry_run=True)
        return argvs.parse_token(self._run(argv, "resume send of", token[:16]), argv=argv)

    def open_receive(
        self,
        dataset: str,
        *,
        resumable: bool = False,
        mount: bool = False,
        rollback: bool = False,
        properties: Mapping[str, str] | None = None,
        exclude: Iterable[str] = (),
    ) -> CommandWriter:
        """Return where to write a stream that becomes *dataset*, or a snapshot of it.

        Its ``finish`` raises what the receive failed of; without it nothing is kept, but with
        *resumable* what has come so far.

        Args:
            dataset: new for a full stream.
            resumable: keep what has come when the stream breaks; the property
                receive_resume_token then says how to go on.
            mount: mount it in the end.
            rollback: first undo what was changed since its newest snapshot, and destroy what
                the sender of a replication stream has not.
            properties: set on it in place of what comes.
            exclude: properties that are not taken over.

        Raises by ``write`` or ``finish``:
            AlreadyExists: a full stream, and the dataset exists.
            Diverged: it was changed, or its newest snapshot is not the stream's base.
            InvalidStream: the stream is broken, or no stream.
            QuotaExceeded, NoSpace, NotFound, StaleResumeToken, KeyNotLoaded, PermissionDenied.
        """
        check_dataset_name(dataset)
        check_properties(properties or {})
        excluded = tuple(exclude)
        check_property_names(excluded)
        argv = argvs.receive_argv(
            dataset,
            resumable=resumable,
            mount=mount,
            rollback=rollback,
            properties=properties or {},
            exclude=excluded,
        )
        return self._open_write(argv, "receive dataset", dataset)

    def abort_receive(self, dataset: str) -> None:
        """Throw away what a resumable receive has kept.

        Raises:
            NotFound: there is no such dataset, or nothing was kept.
        """
        argv = argvs.abort_argv(check_dataset_name(dataset))
        self._run(argv, "abort receive of", dataset)

    def create_encrypted(self, dataset: str, properties: Mapping[str, str], key: bytes) -> None:
        """Create a file system whose key is given here, and must be given to :meth:`load_key`.

        The key goes by standard input, so that no list of processes shows it.

        Args:
            dataset: its name.
            properties: with keyformat, and encryption when its parent is not encrypted.
            key: as keyformat says: a passphrase, 64 hexadecimal digits, or 32 bytes.

        Raises:
            InvalidArgument: the key does not suit its format.
        """
        check_properties(properties)
        every = {"encryption": "on", **properties, "keylocation": "prompt"}
        argv = commands.create_argv(check_dataset_name(dataset), every)
        self._feed(argv, key, "create dataset", dataset)

    def load_key(self, dataset: str, key: bytes | None = None, *, recursive: bool = False) -> None:
        """Unlock an encryption root; one that is unlocked already is left alone.

        Args:
            dataset: the encryption root. Mount it afterwards.
            key: given by standard input; None: from where its keylocation says.
            recursive: the roots below it, too.

        Raises:
            InvalidArgument: it is not the key, or nothing is encrypted.
        """
        argv = commands.load_key_argv(
            check_dataset_name(dataset), prompt=key is not None, recursive=recursive
        )
        with _done_already("Key already loaded"):
            if key is None:
                self._run(argv, "load key of", dataset)
            else:
                self._feed(argv, key, "load key of", dataset)

    def unload_key(self, dataset: str, *, recursive: bool = False) -> None:
        """Lock an encryption root; one that is locked already is left alone.

        Raises:
            Busy: it is mounted.
        """
        argv = commands.unload_key_argv(check_dataset_name(dataset), recursive=recursive)
        with _done_already("Key already unloaded"):
            self._run(argv, "unload key of", dataset)

    def _feed(self, argv: Sequence[str], data: bytes, operation: str, subject: str) -> None:
        with self._open_write(argv, operation, subject) as writer:
            writer.write(data)
            writer.finish()

    def _open_read(self, argv: Sequence[str], operation: str, subject: str) -> CommandReader:
        translation = _Translation(argv, operation, subject)
        with translation.translating():
            return _Reader(streaming(self._runner).open_read(argv), translation)

    def _open_write(self, argv: Sequence[str], operation: str, subject: str) -> CommandWriter:
        translation = _Translation(argv, operation, subject)
        with translation.translating():
            return _Writer(streaming(self._runner).open_write(argv), translation)


class _Translation:
    """Turns a command's failure into the narrower error of the tree."""

    def __init__(self, argv: Sequence[str], operation: str, subject: str) -> None:
        self._argv = argv
        self._operation = operation
        self._subject = subject

    @contextmanager
    def translating(self) -> Iterator[None]:
        try:
            yield
        except CommandFailed as error:
            raise classify(
                self._argv,
                stderr=error.stderr or error.reason,
                exit_code=error.exit_code,
                operation=self._operation,
                subject=self._subject,
            ) from error


class _Reader:
    def __init__(self, inner: CommandReader, translation: _Translation) -> None:
        self._inner = inner
        self._translation = translation

    def read(self, size: int = -1, /) -> bytes:
        with self._translation.translating():
            return self._inner.read(size)

    def close(self) -> None:
        self._inner.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Writer:
    def __init__(self, inner: CommandWriter, translation: _Translation) -> None:
        self._inner = inner
        self._translation = translation

    def write(self, data: bytes, /) -> int:
        with self._translation.translating():
            return self._inner.write(data)

    def finish(self) -> str:
        with self._translation.translating():
            return self._inner.finish()

    def abort(self) -> None:
        self._inner.abort()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.abort()


@contextmanager
def _done_already(text: str) -> Iterator[None]:
    try:
        yield
    except StorageError as error:
        if text not in error.reason:
            raise


def _check_send(snapshot: str, base: str | None, intermediates: bool) -> None:
    check_snapshot_name(snapshot)
    if base is None:
        if intermediates:
            raise InvalidArgument("intermediates need a base", field="base")
    elif "#" in base and not intermediates:
        check_bookmark_name(base, field="base")
    else:
        check_snapshot_name(base, field="base")
