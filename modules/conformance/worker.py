"""Another process with an instance of the module: what a second server process is to the first.

Started by the suite as ``python -m modules.conformance.worker``; one JSON object a line, on
standard input and output. What the module prints goes to standard error.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from typing import Any, Final

from modules import StorageModule
from modules.conformance.payload import Source, first_difference, pattern, read_exactly
from modules.conformance.spec import Modules, ModuleSpec

_DEADLINE_S: Final = 300.0


class Worker:
    """The suite's end: starts the process and talks to it. Close it."""

    def __init__(self, spec: ModuleSpec, extra_context: Mapping[str, Any]) -> None:
        self._stderr = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed in close()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "modules.conformance.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(p or os.getcwd() for p in sys.path)},
            text=True,
        )
        self._watchdog = threading.Timer(_DEADLINE_S, self._process.kill)
        self._watchdog.daemon = True
        self._watchdog.start()
        self.send({"spec": spec.to_dict(), "context": dict(extra_context)})

    def send(self, request: Mapping[str, Any]) -> None:
        """Ask for something; the answer is fetched by :meth:`receive`."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise AssertionError(f"a second process died: {self._last_words()}") from None

    def receive(self) -> Any:
        """Return the answer to the oldest request.

        Raises:
            AssertionError: what went wrong over there.
        """
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise AssertionError(f"a second process died: {self._last_words()}")
        answer = json.loads(line)
        if "error" in answer:
            raise AssertionError(f"in a second process, {answer['error']}")
        return answer["result"]

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.wait()
        self._watchdog.cancel()
        self._process.stdout.close()
        self._stderr.close()

    def _last_words(self) -> str:
        self._process.wait()
        self._stderr.seek(0)
        lines = self._stderr.read().strip().splitlines()
        return lines[-1] if lines else f"exit status {self._process.returncode}"


class _Server:
    """The other end: an instance of the module and what can be asked of it."""

    def __init__(self, spec: ModuleSpec, extra_context: Mapping[str, Any]) -> None:
        modules = Modules(spec.inner)
        self._context = modules.context(extra_context)
        self._module: StorageModule = modules.make(spec)

    def answer(self, request: Mapping[str, Any]) -> Any:
        """Do what *request* asks and return the result, a JSON value."""
        match request["do"]:
            case "put":
                return [self._put(seed, request["size"]) for seed in request["seeds"]]
            case "check":
                for module_data, seed in request["objects"]:
                    self._check(module_data, seed, request["size"])
            case "delete":
                for module_data in request["objects"]:
                    self._module.delete(self._context, module_data)
        return None

    def _put(self, seed: str, size: int) -> str:
        context = {**self._context, "content_length": size}
        module_data = self._module.put(context, Source(seed, size))
        self._check(module_data, seed, size)
        return module_data

    def _check(self, module_data: str, seed: str, size: int) -> None:
        if not self._module.available(self._context, module_data):
            raise AssertionError(f"available does not know {module_data!r}")
        with contextlib.closing(self._module.get_read_stream(self._context, module_data)) as stream:
            found = read_exactly(stream, size + 1)
        expected = pattern(seed, size)
        if found != expected:
            raise AssertionError(f"{module_data!r}: {first_difference(expected, found)}")


def main() -> None:
    """Serve requests until standard input ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what the module prints must not end up among the answers
    server: _Server | None = None
    for line in sys.stdin:
        request = json.loads(line)
        try:
            if server is None:
                server = _Server(ModuleSpec.from_dict(request["spec"]), request["context"])
                answer: dict[str, Any] = {"result": None}
            else:
                answer = {"result": server.answer(request)}
        except Exception as error:  # a module may raise anything; the parent reports it
            name = type(error).__name__
            answer = {"error": str(error) if name == "AssertionError" else f"{name}: {error}"}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
