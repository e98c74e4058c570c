"""Tiles on this machine: a thread for each device, and in it the solver's own."""

import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from queue import Empty, SimpleQueue
from typing import NamedTuple

import jax

from semrsm_jax._resources import Device, core_limit, cores
from semrsm_jax.engine._tile import Task, TileComputer

# Seconds between looks at a tile that another process is computing.
_PATIENCE = 0.2

# Seconds that threads get to come to an end once they are told to.
_FAREWELL = 1.0


THREAD_NAME = "semrsm tiles"


def is_computing() -> bool:
    """Whether some thread is still at a tile; a pair cannot be interrupted.

    Returns:
      True where Ctrl-C has to wait for one.
    """
    return any(thread.name == THREAD_NAME for thread in threading.enumerate())


class Event(NamedTuple):
    """How far a tile has come: pairs done of it, and whether it is written."""

    task: Task
    done: int
    written: bool


class _StoppedError(Exception):
    """The run was stopped in the middle of a tile."""


def on_devices(tasks: Sequence[Task], devices: Sequence[Device]) -> Iterator[Event]:
    """Computes tiles on local devices, and tells of each step.

    Whoever stops asking, by an exception or otherwise, stops the threads: what is
    written stays, tiles in the middle are given up.
    """
    todo = deque(tasks)
    events: SimpleQueue[Event | BaseException] = SimpleQueue()
    stop = threading.Event()
    # Daemons do not keep the process from ending, however long a pair takes.
    threads = [
        threading.Thread(
            target=_work,
            args=(device, len(devices), todo, events, stop),
            name=THREAD_NAME,
            daemon=True,
        )
        for device in devices
    ]
    for thread in threads:
        thread.start()
    written = 0
    try:
        while written < len(tasks):
            try:
                event = events.get(timeout=_PATIENCE)
            except Empty:
                continue
            if isinstance(event, BaseException):
                raise event
            written += event.written
            yield event
    finally:
        stop.set()
        end = time.monotonic() + _FAREWELL
        for thread in threads:
            thread.join(max(0.0, end - time.monotonic()))


def _work(
    device: Device,
    sharing: int,
    todo: deque[Task],
    events: "SimpleQueue[Event | BaseException]",
    stop: threading.Event,
) -> None:
    computer = TileComputer()
    try:
        with jax.default_device(device), core_limit(max(1, cores() // sharing)):
            while not stop.is_set():
                try:
                    task = todo.popleft()
                except IndexError:
                    return

                def advance(done: int, task: Task = task) -> None:
                    if stop.is_set():
                        raise _StoppedError
                    events.put(Event(task, done, written=False))

                with jax.enable_x64(task.x64):
                    written = computer.write(task, advance)
                if written:
                    events.put(Event(task, task.pairs, written=True))
                else:
                    todo.append(task)
                    stop.wait(_PATIENCE)
    except _StoppedError:
        pass
    except BaseException as error:
        events.put(error)
