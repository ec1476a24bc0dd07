"""The embedded server: gunicorn with threads, everything opened after the fork."""

from __future__ import annotations

import ctypes
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

from modules.errors import StorageError
from zfsstore.host.config import Config
from zfsstore.host.running import hold_server_lock

if TYPE_CHECKING:
    from zfsstore.host.app import Host

_log: Final = logging.getLogger(__name__)

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
    hold_server_lock(config.data_dir)
    _run_in_child(lambda: _prepare(config))
    master = os.getpid()
    try:
        _Server(config).run()
    except SystemExit as stop:
        if os.getpid() != master:  # a worker ends here, too
            raise
        return stop.code if isinstance(stop.code, int) else 1
    return 0


class _Server(BaseApplication):  # type: ignore[misc]  # gunicorn has no annotations
    """gunicorn with settings of ours; the application is made in each worker."""

    def __init__(self, config: Config) -> None:
        self._config = config
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
            # Touched every second by each worker: keep that off the disk.
            "worker_tmp_dir": "/dev/shm" if os.access("/dev/shm", os.W_OK) else None,  # noqa: S108
            "control_socket_disable": True,
            "loglevel": config.log_level,
            "accesslog": "-" if config.access_log else None,
            "access_log_format": _ACCESS_FORMAT,
            "proc_name": "zfsstore",
            "umask": 0o077,
            "when_ready": self._announce,
            "on_reload": self._record_code,
            "post_fork": _die_with_parent,
            "worker_exit": _close_application,
        }
        for name, value in settings.items():
            self.cfg.set(name, value)

    def load(self) -> Host:
        from zfsstore.host.app import Host
        from zfsstore.host.services import Services

        return Host(Services.open(self._config))

    def _announce(self, arbiter: Any) -> None:
        for listener in arbiter.LISTENERS:
            _limit_header_wait(listener.sock, self._config.stall_timeout_s)
        address = _address(arbiter.LISTENERS[0].sock)
        print(_greeting(self._config, address), flush=True)

    def _record_code(self, _arbiter: Any) -> None:
        """Let the new workers of a reload, which start next, run the code that is there."""
        try:
            _run_in_child(lambda: _record_code(self._config))
        except StorageError as error:
            _log.error("modules whose code changed stay out of use: %s", error)


def _close_application(_arbiter: Any, worker: Any) -> None:
    application = getattr(worker, "wsgi", None)
    if application is not None:
        application.close()


def _run_in_child(work: Callable[[], None]) -> None:
    """Do what needs the catalog in a process of its own: the server forks, and must own nothing.

    Raises:
        StorageError: *work* raised it.
    """
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        os._exit(_report(work, writer))
    os.close(writer)
    with open(reader, encoding="utf-8") as pipe:
        reason = pipe.read()
    _, status = os.waitpid(child, 0)
    if status != 0:
        raise StorageError(reason or f"preparing the store ended with status {status}")


def _prepare(config: Config) -> None:
    from zfsstore.host.bootstrap import bootstrap

    bootstrap(config)
    _record_code(config)


def _record_code(config: Config) -> None:
    from zfsstore.host.code import record_code

    record_code(config)


def _report(work: Callable[[], None], writer: int) -> int:
    try:
        work()
    except StorageError as error:
        os.write(writer, str(error).encode())
        return 1
    except BaseException:
        _log.exception("cannot prepare the store")
        os.write(writer, b"cannot prepare the store; the reason is above")
        return 1
    return 0


def _limit_header_wait(listener: socket.socket, timeout_s: float) -> None:
    """Let a connection's first reads time out; Linux passes the option on to what it accepts.

    Once a request is understood, ``Host`` sets the same limit for its body and its answer.
    """
    seconds = int(timeout_s)
    option = struct.pack("ll", seconds, int((timeout_s - seconds) * 1_000_000))
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, option)


def _die_with_parent(_arbiter: Any, _worker: Any) -> None:
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
