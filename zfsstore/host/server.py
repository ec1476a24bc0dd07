"""The embedded server: gunicorn with threads, everything opened after the fork."""

from __future__ import annotations

import ctypes
import fcntl
import logging
import os
import shlex
import signal
import socket
import struct
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from gunicorn.app.base import BaseApplication  # type: ignore[import-untyped]

from modules.errors import Conflict, NotFound, StorageError, translated_oserror
from zfsstore.host.config import Config

if TYPE_CHECKING:
    from zfsstore.host.app import Host

MAX_REQUEST_LINE: Final = 8190  # gunicorn's largest; a key is up to 1,024 bytes, escaped 3,072
_ACCESS_FORMAT: Final = '%(h)s %(u)s %(t)s "%(m)s %(U)s" %(s)s %(B)s %(M)sms'  # no query string
START_TIMEOUT_S: Final = 120  # for a worker to load its modules
_PR_SET_PDEATHSIG: Final = 1


def serve(config: Config) -> int:
    """Serve until SIGTERM or SIGINT; SIGHUP replaces the workers gracefully.

    Prints the address, where the administrator's password is, and two commands to try.

    Returns:
        The exit status of the process.

    Raises:
        Conflict: a server runs on this data directory already.
        StorageError: the settings, the data directory or the catalog cannot be used.
    """
    logging.basicConfig(
        stream=sys.stderr,
        level=config.log_level.upper(),
        format="%(asctime)s [%(process)d] [%(levelname)s] %(name)s: %(message)s",
    )
    _run_in_child(config)
    lock_fd = _lock(config)
    config.pid_file.unlink(missing_ok=True)  # stale: nobody holds the lock
    master = os.getpid()
    try:
        _Server(config, lock_fd).run()
    except SystemExit as stop:
        if os.getpid() != master:  # a worker ends here, too
            raise
        return stop.code if isinstance(stop.code, int) else 1
    finally:
        if os.getpid() == master:
            os.close(lock_fd)
    return 0


def reload_workers(config: Config) -> int:
    """Tell the server on this data directory to replace its workers; requests are not cut off.

    Returns:
        The process id of the server.

    Raises:
        NotFound: none runs.
        PermissionDenied: it belongs to another user.
    """
    try:
        process_id = int(config.pid_file.read_text(encoding="ascii"))
        with translated_oserror(operation="reload workers of", subject=str(config.data_dir)):
            os.kill(process_id, signal.SIGHUP)
    except (FileNotFoundError, ValueError, ProcessLookupError) as error:
        raise NotFound(
            "no server runs there",
            operation="reload workers of",
            subject=str(config.data_dir),
            hint="start it with `zfsstore serve`",
        ) from error
    return process_id


class _Server(BaseApplication):  # type: ignore[misc]  # gunicorn has no annotations
    """gunicorn with settings of ours; the application is made in each worker."""

    def __init__(self, config: Config, lock_fd: int) -> None:
        self._config = config
        self._lock_fd = lock_fd
        super().__init__()

    def load_config(self) -> None:
        config = self._config
        settings: dict[str, Any] = {
            "bind": [config.listen],
            "workers": config.workers,
            "worker_class": "zfsstore.host.worker.Worker",
            "threads": config.threads,
            "worker_connections": 1000 + config.threads,
            "preload_app": False,
            "timeout": START_TIMEOUT_S,
            "forwarder_headers": "",  # no header may change what path was asked for
            "keepalive": config.keepalive_s,
            "graceful_timeout": config.graceful_timeout_s,
            "limit_request_line": MAX_REQUEST_LINE,
            "http_parser": config.http_parser,
            "pidfile": str(config.pid_file),
            # Touched every second by each worker: keep that off the disk.
            "worker_tmp_dir": "/dev/shm" if os.access("/dev/shm", os.W_OK) else None,  # noqa: S108
            "control_socket_disable": True,
            "loglevel": config.log_level,
            "accesslog": "-" if config.access_log else None,
            "access_log_format": _ACCESS_FORMAT,
            "proc_name": "zfsstore",
            "umask": 0o077,
            "when_ready": self._announce,
            "post_fork": self._after_fork,
            "worker_exit": _close_application,
        }
        for name, value in settings.items():
            self.cfg.set(name, value)

    def load(self) -> Host:
        from zfsstore.host.app import create_app

        return create_app(self._config)

    def _announce(self, arbiter: Any) -> None:
        for listener in arbiter.LISTENERS:
            _limit_header_wait(listener.sock, self._config.stall_timeout_s)
        address = _address(arbiter.LISTENERS[0].sock)
        print(_greeting(self._config, address), flush=True)

    def _after_fork(self, _arbiter: Any, _worker: Any) -> None:
        os.close(self._lock_fd)
        _die_with_parent()


def _close_application(_arbiter: Any, worker: Any) -> None:
    application = getattr(worker, "wsgi", None)
    if application is not None:
        application.close()


def _run_in_child(config: Config) -> None:
    """Prepare the store in a process of its own: the server forks, and must own no connection."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        os._exit(_report(lambda: _bootstrap(config), writer))
    os.close(writer)
    with open(reader, encoding="utf-8") as pipe:
        reason = pipe.read()
    _, status = os.waitpid(child, 0)
    if status != 0:
        raise StorageError(reason or f"preparing the store ended with status {status}")


def _bootstrap(config: Config) -> None:
    from zfsstore.host.bootstrap import bootstrap

    bootstrap(config)


def _report(work: Callable[[], None], writer: int) -> int:
    try:
        work()
    except StorageError as error:
        os.write(writer, str(error).encode())
        return 1
    except BaseException:
        logging.getLogger(__name__).exception("cannot prepare the store")
        os.write(writer, b"cannot prepare the store; the reason is above")
        return 1
    return 0


def _lock(config: Config) -> int:
    """Return the descriptor of a lock that says: a server runs on this data directory.

    Unlike a process id in a file, it cannot be stale: the kernel releases it with the process.
    """
    fd = os.open(config.data_dir / "server.lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        raise Conflict(
            "a server runs there already",
            operation="serve",
            subject=str(config.data_dir),
            hint="stop it first, or choose another data directory",
        ) from None
    return fd


def _limit_header_wait(listener: socket.socket, timeout_s: float) -> None:
    """Let a connection's first reads time out; Linux passes the option on to what it accepts.

    Once a request is understood, ``Host`` sets the same limit for its body and its answer.
    """
    seconds = int(timeout_s)
    option = struct.pack("ll", seconds, int((timeout_s - seconds) * 1_000_000))
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, option)


def _die_with_parent() -> None:
    """Make the kernel kill this worker when the master dies, so that the port is free again.

    Without it, workers of a killed master keep the port until their requests are done.
    Source: prctl(2), PR_SET_PDEATHSIG; elsewhere than on Linux there is none.
    """
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def _address(listener: socket.socket) -> str:
    name = listener.getsockname()
    if isinstance(name, str | bytes):
        return f"unix:{os.fsdecode(name)}"
    host, port = name[0], name[1]
    if host in ("0.0.0.0", "::"):  # noqa: S104  # compared, not bound
        host = "127.0.0.1" if host == "0.0.0.0" else "::1"  # noqa: S104
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _greeting(config: Config, address: str) -> str:
    password = _shell_word(config.password_file)
    if address.startswith("unix:"):
        curl = f"curl --unix-socket {_shell_word(Path(address.removeprefix('unix:')))}"
        address = "http://localhost"
    else:
        curl = "curl"
    login = f'-u "administrator:$(cat {password})"'
    return f"""
zfsstore serves {config.data_dir} at {address}
The password of the user administrator is in {config.password_file}
Try:
  {curl} {login} -X PUT {address}/cdmi/hello/
  {curl} {login} -T /etc/hostname {address}/cdmi/hello/hostname
"""


def _shell_word(path: Path) -> str:
    return shlex.quote(str(path))
