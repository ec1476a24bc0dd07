"""Fences between threads and processes, when they are killed, fork, or change the clock."""

from __future__ import annotations

import mmap
import os
import signal
import stat
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from modules import fence_files, fences
from modules.errors import Busy, NoSpace, StorageError

ROOT = Path(__file__).parents[2]
LONG_S = 20.0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "fence"


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LONG_S
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.005)


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def set_deadline(path: Path, at_s: float) -> None:
    """Write into the file what one who waits writes, and no more."""
    with path.open("r+b") as file:
        file.seek(8)
        file.write(struct.pack("<Q", int(at_s * 1000)))


@contextmanager
def process(path: Path, body: str) -> Iterator[subprocess.Popen[str]]:
    """Run *body*, which prints a line when it has come so far, in a process of its own."""
    source = f"import sys\nfrom modules import fences\npath = {str(path)!r}\n{body}"
    child = subprocess.Popen(
        [sys.executable, "-c", source],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    try:
        yield child
    finally:
        child.kill()
        child.communicate()


HOLDS = """
with fences.hold(path):
    print("here", flush=True)
    sys.stdin.read()
"""
WAITS = """
print("here", flush=True)
with fences.exclusive([path], patience_s=60):
    print("alone", flush=True)
    sys.stdin.read()
"""


def line_of(child: subprocess.Popen[str]) -> str:
    assert child.stdout is not None
    return child.stdout.readline().strip()


def test_many_hold_and_one_is_alone(path: Path) -> None:
    with fences.hold(path) as one, fences.hold(path) as other:
        assert not one.is_draining
        other.check()
        with (
            pytest.raises(Busy, match="not let go in time"),
            fences.exclusive([path], patience_s=0),
        ):
            pass
    with fences.exclusive([path]), pytest.raises(Busy, match="try again"):
        fences.hold(path)
    fences.hold(path).release()


def test_who_waits_drains_the_holders(path: Path) -> None:
    hold = fences.hold(path)
    with ThreadPoolExecutor() as pool:
        alone = pool.submit(_be_alone, path)
        wait_until(lambda: hold.is_draining)
        with pytest.raises(Busy):
            hold.check()
        with pytest.raises(Busy):
            fences.hold(path)
        assert not alone.done()
        hold.release()
        alone.result(LONG_S)
    hold.release()
    assert not hold.is_draining
    fences.hold(path).release()


def _be_alone(path: Path) -> None:
    with fences.exclusive([path], patience_s=LONG_S):
        pass


def test_who_gives_up_leaves_nothing_behind(path: Path) -> None:
    with fences.hold(path) as hold:
        with pytest.raises(Busy), fences.exclusive([path], patience_s=0.05):
            pass
        assert not hold.is_draining
        fences.hold(path).release()
    assert 0 == fences.generation(path)


def test_an_error_inside_lets_go(path: Path) -> None:
    with pytest.raises(RuntimeError), fences.exclusive([path]):
        raise RuntimeError
    fences.hold(path).release()


def test_generation_counts_who_was_alone(path: Path, tmp_path: Path) -> None:
    fences.create(path)
    assert 0 == fences.generation(path)
    for _ in range(3):
        _be_alone(path)
    fences.hold(path).release()
    assert 3 == fences.generation(path)
    assert 0 == fences.generation(tmp_path / "other")


def test_two_who_take_several_do_not_block_each_other(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in "abc"]
    with ThreadPoolExecutor() as pool:
        orders = (paths, paths[::-1], [*paths, paths[0]])
        done = [pool.submit(_take_often, order) for order in orders]
        for future in done:
            future.result(LONG_S)
    assert [15, 15, 15] == [fences.generation(path) for path in paths]


def _take_often(paths: list[Path]) -> None:
    for _ in range(5):
        with fences.exclusive(paths, patience_s=LONG_S):
            pass


def test_the_second_who_waits_is_not_forgotten_when_the_first_is_done(path: Path) -> None:
    hold = fences.hold(path)
    with ThreadPoolExecutor() as pool:
        first = pool.submit(_be_alone, path)
        second = pool.submit(_be_alone, path)
        wait_until(lambda: hold.is_draining)
        set_deadline(path, 0)  # as the first does in the end
        wait_until(lambda: hold.is_draining)
        hold.release()
        first.result(LONG_S)
        second.result(LONG_S)
    assert 2 == fences.generation(path)


def test_threads_see_either_no_one_or_no_other(path: Path) -> None:
    inside, alone, errors = [0], [False], []
    stop = threading.Event()
    lock = threading.Lock()

    def hold() -> None:
        while not stop.is_set():
            try:
                with fences.hold(path):
                    with lock:
                        inside[0] += 1
                    if alone[0]:
                        errors.append("held while another was alone")
                    with lock:
                        inside[0] -= 1
            except Busy:
                time.sleep(0.001)

    threads = [threading.Thread(target=hold) for _ in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(20):
        with fences.exclusive([path], patience_s=LONG_S):
            alone[0] = True
            if inside[0]:
                errors.append("alone while another held")
            alone[0] = False
    stop.set()
    for thread in threads:
        thread.join()
    assert [] == errors


def test_a_killed_holder_lets_go(path: Path) -> None:
    with process(path, HOLDS) as child:
        assert "here" == line_of(child)
        with pytest.raises(Busy), fences.exclusive([path], patience_s=0):
            pass
        child.send_signal(signal.SIGKILL)
        with fences.exclusive([path], patience_s=LONG_S):
            pass


def test_the_request_of_a_killed_waiter_ends_with_its_deadline(path: Path) -> None:
    with fences.hold(path) as hold, process(path, WAITS) as child:
        wait_until(lambda: hold.is_draining)
        child.send_signal(signal.SIGKILL)
        child.wait()
        assert hold.is_draining
        set_deadline(path, time.time() + 0.1)  # instead of the minute that it wanted to wait
        wait_until(lambda: not hold.is_draining)
        fences.hold(path).release()
    assert 0 == fences.generation(path)


def test_a_volume_stays_closed_for_a_while_when_the_one_alone_is_killed(path: Path) -> None:
    """A command that it started may still be replacing the volume's content."""
    with process(path, WAITS) as child:
        assert ["here", "alone"] == [line_of(child), line_of(child)]
        child.send_signal(signal.SIGKILL)
        child.wait()
        with pytest.raises(Busy):
            fences.hold(path)
        _be_alone(path)  # calling it again is what sets things right
    fences.hold(path).release()


def test_holders_in_other_processes_drain(path: Path) -> None:
    body = """
import time
hold = fences.hold(path)
print("here", flush=True)
while not hold.is_draining:
    time.sleep(0.005)
hold.release()
sys.stdin.read()
"""
    with process(path, body) as child:
        assert "here" == line_of(child)
        with fences.exclusive([path], patience_s=LONG_S):
            assert child.poll() is None


def test_a_forked_child_holds_nothing(path: Path) -> None:
    hold = fences.hold(path)
    ready, done = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        try:
            before = open_descriptors()
            hold.release()  # what the child copied: without effect
            with fences.hold(path) as own:
                status = 2 if own.is_draining else 0
            status = status or (0 if open_descriptors() == before else 3)
            os.write(ready[1], b"x")
            os.close(done[1])
            os.read(done[0], 1)
            os._exit(status)
        finally:
            os._exit(1)
    os.read(ready[0], 1)
    with pytest.raises(Busy), fences.exclusive([path], patience_s=0.05):
        pass
    hold.release()
    with fences.exclusive([path], patience_s=LONG_S):  # while the child lives
        pass
    for fd in (*done, *ready):
        os.close(fd)
    assert 0 == os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.parametrize("ahead_s", [-5.0, 7_200.0, 1e12])
def test_a_deadline_in_the_past_or_far_ahead_is_none(path: Path, ahead_s: float) -> None:
    """After the clock was changed, by hand or with the first look at a time server."""
    with fences.hold(path) as hold:
        set_deadline(path, time.time() + ahead_s)
        assert not hold.is_draining
        fences.hold(path).release()
    fences.hold(path).release()
    _be_alone(path)


def test_a_file_that_a_power_cut_emptied(path: Path) -> None:
    path.touch()
    with fences.hold(path) as hold:
        assert not hold.is_draining
    assert 0 == fences.generation(path)


def test_no_place_for_a_fence(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="open fence"):
        fences.hold(tmp_path / "absent" / "fence")


def test_nothing_grows(tmp_path: Path) -> None:
    before = open_descriptors()
    with fences.hold(tmp_path / "kept"):
        for number in range(200):
            path = tmp_path / f"fence-{number}"
            with fences.hold(path), fences.hold(path):
                pass
            _be_alone(path)
            with fences.exclusive([path]), pytest.raises(Busy):
                fences.hold(path)
        assert {str(tmp_path / "kept")} == set(fences._fences)
    assert before == open_descriptors()
    assert {} == fences._fences
    assert 201 == len(list(tmp_path.iterdir()))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_fence_that_root_created_opens_for_the_hosts_user(tmp_path: Path) -> None:
    host = 65534
    directory = Path("/tmp", f"fences-{os.getpid()}")  # a test's own is closed to others
    directory.mkdir(mode=0o700)
    try:
        os.chown(directory, host, host)
        path = directory / "fence"
        fences.create(path)
        found = path.stat()
        assert (host, host, 0o600) == (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode))
        child = os.fork()
        if child == 0:
            try:
                os.setuid(host)
                with fences.hold(path), pytest.raises(Busy), fences.exclusive([path], patience_s=0):
                    pass
                os._exit(0)
            finally:
                os._exit(1)
        assert 0 == os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    finally:
        for file in directory.iterdir():
            file.unlink()
        directory.rmdir()


def test_a_header_that_no_memory_can_be_had_for_is_an_error_and_kills_nobody(path: Path) -> None:
    """As in a full file system in memory; here because the file has no page there any more."""
    with (
        fence_files.opened(str(path)) as fd,
        mmap.mmap(fd, fence_files.HEADER.size, prot=mmap.PROT_READ) as mapped,
    ):
        os.ftruncate(fd, 0)
        with pytest.raises(NoSpace):
            fence_files.have_in_memory(mapped, fd, str(path))
