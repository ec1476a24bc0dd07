"""Streams of real children: ends, errors, stalls, and nothing left behind."""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from modules.errors import CommandFailed, CommandTimeout
from zfsstore.zfs.runner import LocalRunner
from zfsstore.zfs.seam import CommandReader, CommandWriter, StreamRunner
from zfsstore.zfs.streams import ProcessReader, ProcessWriter

RUNNER = LocalRunner()
MUCH_STDERR = "head -c 300000 /dev/zero | tr '\\0' x >&2"


def sh(script: str) -> list[str]:
    return ["sh", "-c", script]


def until(condition: Callable[[], bool]) -> None:
    """Wait up to ten seconds."""
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "it does not come to pass"
        time.sleep(0.01)


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    """No descriptor and no child outlives a test."""
    gc.collect()
    descriptors, others = len(os.listdir("/proc/self/fd")), _children()
    yield
    gc.collect()
    until(lambda: len(os.listdir("/proc/self/fd")) <= descriptors)
    until(lambda: _children() <= others)


def _children() -> set[str]:
    """Return all children of this process: servers of other tests may be among them."""
    pid = os.getpid()
    return {
        child
        for task in os.listdir(f"/proc/{pid}/task")
        for child in Path(f"/proc/{pid}/task/{task}/children").read_text().split()
    }


def test_local_runner_streams() -> None:
    assert isinstance(RUNNER, StreamRunner)
    reader: CommandReader = RUNNER.open_read(["true"])
    writer: CommandWriter = RUNNER.open_write(["true"])
    reader.close()
    writer.abort()


def test_output_is_read_to_its_end_in_pieces() -> None:
    with RUNNER.open_read(sh("head -c 3000000 /dev/zero")) as reader:
        sizes = [len(data) for data in iter(lambda: reader.read(100_000), b"")]
        assert sum(sizes) == reader.bytes_moved == 3_000_000
        assert max(sizes) <= 100_000
        assert reader.read(10) == b""
        assert reader.exit_code == 0


def test_all_output_at_once() -> None:
    with RUNNER.open_read(sh("echo one; echo two")) as reader:
        assert reader.read() == b"one\ntwo\n"
        assert reader.read() == b""


def test_failure_is_told_where_the_output_ends_and_again() -> None:
    with RUNNER.open_read(sh("echo half; echo 'it broke' >&2; exit 3")) as reader:
        assert reader.read(100) == b"half\n"
        for _ in range(2):
            with pytest.raises(CommandFailed, match="it broke") as caught:
                reader.read(100)
        assert (caught.value.exit_code, caught.value.stderr) == (3, "it broke\n")


def test_a_child_killed_by_a_signal_has_failed() -> None:
    with RUNNER.open_read(sh("echo half; kill -9 $$")) as reader:
        assert reader.read(100) == b"half\n"
        with pytest.raises(CommandFailed, match="signal 9") as caught:
            reader.read(100)
        assert caught.value.exit_code == -9


def test_absent_program_is_a_failed_command() -> None:
    for open_stream in (RUNNER.open_read, RUNNER.open_write):
        with pytest.raises(CommandFailed, match="No such file") as caught:
            open_stream(["no-such-program-here"])
        assert caught.value.exit_code == 127


def test_much_on_standard_error_does_not_block_the_output() -> None:
    with RUNNER.open_read(sh(f"{MUCH_STDERR}; echo out; {MUCH_STDERR}; exit 1")) as reader:
        assert reader.read(100) == b"out\n"
        with pytest.raises(CommandFailed) as caught:
            reader.read(100)
        assert len(caught.value.stderr) == 2 * 32 * 1024


def test_close_before_the_end_kills_the_child_and_what_it_started() -> None:
    reader = RUNNER.open_read(sh("sleep 1000 & echo $!; sleep 1000"))
    grandchild = int(reader.read(100))
    reader.close()
    reader.close()
    until(lambda: not is_running(grandchild))
    with pytest.raises(ValueError, match="closed"):
        reader.read(1)


def test_a_dropped_stream_kills_the_child() -> None:
    reader = RUNNER.open_read(sh("echo $$; sleep 1000"))
    child = int(reader.read(100))
    assert is_running(child)
    del reader
    gc.collect()
    until(lambda: not is_running(child))


def test_an_output_that_does_not_move_is_given_up() -> None:
    with ProcessReader(sh("echo one; sleep 1000"), stall_s=0.2) as reader:
        assert reader.read(100) == b"one\n"
        with pytest.raises(CommandTimeout, match=r"0\.2 s"):
            reader.read(100)


def test_a_child_that_closes_its_output_and_stays_is_given_up() -> None:
    with (
        ProcessReader(sh("exec >&-; sleep 1000"), stall_s=0.2) as reader,
        pytest.raises(CommandTimeout),
    ):
        reader.read(100)


def test_input_is_written_and_the_answer_returned(tmp_path: Path) -> None:
    data = os.urandom(3_000_000)
    with RUNNER.open_write(sh(f"cat > {tmp_path}/out; echo done")) as writer:
        assert writer.write(data) == len(data)
        assert writer.write(b"") == 0
        assert writer.finish() == writer.finish() == "done\n"
        with pytest.raises(ValueError, match="finished"):
            writer.write(b"x")
    assert (tmp_path / "out").read_bytes() == data


def test_a_receiver_that_fails_is_told_by_finish() -> None:
    with RUNNER.open_write(sh("cat > /dev/null; echo 'no room' >&2; exit 1")) as writer:
        writer.write(b"x" * 1000)
        with pytest.raises(CommandFailed, match="no room"):
            writer.finish()
        with pytest.raises(CommandFailed, match="no room"):
            writer.write(b"x")


@pytest.mark.parametrize("exit_code", [0, 5])
def test_a_receiver_that_ends_early_fails_the_write(exit_code: int) -> None:
    with RUNNER.open_write(sh(f"head -c 10; echo enough >&2; exit {exit_code}")) as writer:
        with pytest.raises(CommandFailed) as caught:
            writer.write(b"x" * 10_000_000)
        assert caught.value.exit_code == exit_code


def test_an_aborted_receiver_never_sees_the_end_of_its_input(tmp_path: Path) -> None:
    script = f"cat > /dev/null; touch {tmp_path}/complete"
    with RUNNER.open_write(sh(script)) as writer:
        writer.write(b"half")
    writer.abort()
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ValueError, match="closed"):
        writer.write(b"x")


def test_an_input_that_is_not_taken_is_given_up() -> None:
    with (
        ProcessWriter(sh("sleep 1000"), stall_s=0.2) as writer,
        pytest.raises(CommandTimeout),
    ):
        writer.write(b"x" * 10_000_000)


def test_memory_stays_bounded() -> None:
    import tracemalloc

    with (
        RUNNER.open_read(sh("head -c 50000000 /dev/zero")) as reader,
        RUNNER.open_write(sh("cat > /dev/null")) as writer,
    ):
        tracemalloc.start()
        while data := reader.read(1 << 20):
            writer.write(data)
        writer.finish()
        _now, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert reader.bytes_moved == writer.bytes_moved == 50_000_000
    assert peak < 8 << 20


def test_a_hundred_streams_leave_nothing() -> None:
    for _ in range(100):
        with RUNNER.open_read(["true"]) as reader:
            assert reader.read() == b""
