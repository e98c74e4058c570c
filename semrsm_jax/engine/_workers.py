"""The threads of a run, one for each device of this machine."""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue

import jax

from semrsm_jax._resources import Device, core_limit, cores
from semrsm_jax.engine._tile import StopMatching, Task, TileComputer

# Called as advance(task, pairs done of its tile, whether the tile is written).
Step = tuple[Task, int, bool]
Advance = Callable[[Task, int, bool], None]

# Seconds between looks at a tile that another process is computing.
_PATIENCE = 0.2

# Seconds between two reports of a tile: each wakes the thread that asked for the run,
# which takes time from those that compute.
_PAUSE = 0.05

# Seconds that threads have to end once they are stopped.
_GRACE = 1.0

_THREAD_NAME = "semrsm tiles"


def is_computing() -> bool:
    """Whether a thread is still computing a tile: a pair cannot be interrupted.

    Returns:
      True where Ctrl-C would have to wait for one.
    """
    return any(thread.name == _THREAD_NAME for thread in threading.enumerate())


def on_devices(
    tasks: Sequence[Task], advance: Advance, devices: Sequence[Device]
) -> None:
    """Computes and writes tiles.

    An exception, one raised by `advance` included, stops the threads: written tiles
    stay, those being computed are given up.

    Args:
      tasks: the tiles.
      advance: called in this thread after each step.
      devices: each takes the next tile as soon as it is free.
    """
    todo = deque(tasks)
    events: SimpleQueue[Step | BaseException] = SimpleQueue()
    stop = threading.Event()
    # Daemons do not keep the process from ending, however long a pair takes.
    threads = [
        threading.Thread(
            target=_work,
            args=(device, len(devices), todo, events, stop),
            name=_THREAD_NAME,
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
                # With a time limit, so that Ctrl-C is noticed.
                event = events.get(timeout=_PATIENCE)
            except Empty:
                continue
            if isinstance(event, BaseException):
                raise event
            written += event[2]
            advance(*event)
    finally:
        stop.set()
        end = time.monotonic() + _GRACE
        for thread in threads:
            thread.join(max(0.0, end - time.monotonic()))


def _work(
    device: Device,
    sharing: int,
    todo: deque[Task],
    events: "SimpleQueue[Step | BaseException]",
    stop: threading.Event,
) -> None:
    """Computes tiles on one device until none is left."""
    computer = TileComputer()
    try:
        with jax.default_device(device), core_limit(max(1, cores() // sharing)):
            while not stop.is_set():
                try:
                    task = todo.popleft()
                except IndexError:
                    return

                with jax.enable_x64(task.x64):
                    written = computer.write(task, _reporter(task, events, stop))
                if written:
                    events.put((task, task.pairs, True))
                else:
                    todo.append(task)
                    stop.wait(_PATIENCE)
    except StopMatching:
        pass
    except BaseException as error:
        events.put(error)


def _reporter(
    task: Task, events: "SimpleQueue[Step | BaseException]", stop: threading.Event
) -> Callable[[int], None]:
    """Takes the number of pairs done, and reports it now and then."""
    due = 0.0

    def report(done: int) -> None:
        nonlocal due
        if stop.is_set():
            raise StopMatching
        if time.monotonic() >= due:
            due = time.monotonic() + _PAUSE
            events.put((task, done, False))

    return report
