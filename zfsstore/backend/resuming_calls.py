"""The backend's calls that go on with a stream that broke off, or give it up."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

from modules.errors import InvalidArgument, NotFound, StorageError
from zfsstore.backend.keeping_calls import KeepingCalls
from zfsstore.backend.rows import VolumeRow
from zfsstore.volumes.common import no_such_volume
from zfsstore.zfs.seam import CommandReader

_RESUME: Final = "receive_resume_token"


class ResumingCalls(KeepingCalls):
    """What a resumable receive has kept. The token is all that the sender needs to know."""

    def resume_token(self, destination: str) -> str | None:
        """Return what :meth:`send_resumed` makes the rest of a broken-off stream of.

        None when the volume keeps the beginning of none, or there is no such volume.
        """
        try:
            row = self._named(destination, "get resume token of volume")
        except NotFound:
            return None
        return self._token(row.dataset)

    def send_resumed(self, token: str) -> CommandReader:
        """Return the rest of a stream of which the receiver has the beginning.

        It is to be read and closed, like the one of :meth:`send_stream`, and begins where the
        receiver's last whole record ended.

        Args:
            token: from the receiver, whom this does not trust.

        Raises:
            InvalidArgument: it is no token, or asks for what is no volume here.
            StaleResumeToken: the snapshot, or the base, is gone or is another one.
            NotSupported: the runner cannot stream.
        """
        snapshot = self._zfs.read_token(token).snapshot
        dataset = snapshot.partition("@")[0]
        if all(row.dataset != dataset for row in self._lookup.walk()):
            raise InvalidArgument(
                "it asks for a snapshot that is none of a volume here",
                field="token",
                operation="resume send of",
                subject=snapshot,
            )
        return self._zfs.open_resumed_send(token)

    def abort_receive(self, destination: str) -> None:
        """Throw away the beginning of a stream; a volume that was to be made of it is gone.

        Raises:
            VolumeNotFound: there is no such volume.
            NotFound: it keeps none.
        """
        with self._lookup.turn():
            row = self._named(destination, "abort receive of volume")
            self._zfs.abort_receive(row.dataset)

    def _token(self, dataset: str) -> str | None:
        try:
            (present,) = self._zfs.get([dataset], [_RESUME])
        except NotFound:
            return None
        return present.value(_RESUME)

    def _is_beginning(self, row: VolumeRow) -> bool:
        """Return whether the rest of a volume is still to come: ZFS shows it, without a mount.

        A volume that was received once has a snapshot.
        """
        if row.is_mounted or self._token(row.dataset) is None:
            return False
        return not self._lookup.snapshots(row)

    @contextmanager
    def _how_to_go_on(self, name: str) -> Iterator[None]:
        """Say so in the error of a receive that has kept something."""
        try:
            yield
        except Exception as error:
            with suppress(StorageError):  # why nothing can be asked, the error itself says
                if self._token(self._settings.dataset(name)) is not None:
                    _add_hint(error, name)
            raise

    def _named(self, name: str, operation: str) -> VolumeRow:
        self._settings.check_name(name)
        for row in self._lookup.walk():
            if row.name == name:
                return row
        raise no_such_volume(name, operation=operation)


def _add_hint(error: Exception, name: str) -> None:
    hint = (
        f"what has come is kept: receive send_resumed(TOKEN) of the sender, TOKEN being "
        f"resume_token({name!r}), or give it up with abort_receive({name!r})"
    )
    if isinstance(error, StorageError):
        error.hint = f"{error.hint}; {hint}" if error.hint else hint
    else:
        error.add_note(hint)
