"""Write load: clients in threads, each telling what was acknowledged the moment it was."""

from __future__ import annotations

import os
import threading
import traceback
from collections.abc import Callable, Sequence

from tools.powercut.clients import Action, Client, Step
from tools.powercut.stores import Store

Report = Callable[[str], None]


def perform(store: Store, client: Client, step: Step) -> None:
    """Carry out one step; returns when the store has acknowledged it."""
    if step.action is Action.PUT:
        store.put(step.key, client.content(step.number), step.number)
    else:
        getattr(store, step.action.value)(step.key)


def run_client(store: Store, client: Client, report: Report, *, steps: int | None = None) -> None:
    """Do step after step, for ever or *steps* of them, each reported as soon as it is done."""
    last = None if steps is None else client.number + steps
    while client.number != last:
        step = client.next_step()
        perform(store, client, step)
        client.done(step)
        report(format_ack(client.name, step.number))


def run_clients(open_store: Callable[[], Store], clients: Sequence[Client], report: Report) -> None:
    """Run each client in a thread with a store of its own, until the process is killed.

    A client that fails ends the process, with its reason as an "error" line.
    """

    def run(client: Client) -> None:
        try:
            run_client(open_store(), client, report)
        except BaseException:
            reason = traceback.format_exc().strip().replace("\n", " | ")
            report(f"error {client.name} after step {client.number}: {reason}\n")
            os._exit(1)

    threads = [threading.Thread(target=run, args=(client,)) for client in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def report_to(fd: int) -> Report:
    """Return a function that writes a line at once and, if it is short, in one piece."""

    def report(line: str) -> None:
        data = line.encode()
        while data:
            data = data[os.write(fd, data) :]

    return report


def format_ack(name: str, number: int) -> str:
    return f"ack {name} {number}\n"


def parse_ack(line: str) -> tuple[str, int] | None:
    """Return the client and its step, None for another line or a torn one."""
    match line.split(" ") if line.endswith("\n") else []:
        case ["ack", name, number]:
            return name, int(number)
    return None
