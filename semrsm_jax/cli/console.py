"""Output of the commands: results to stdout, progress and errors to stderr."""

import _thread
import functools
import json
import math
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NoReturn, ParamSpec, TypeVar

import numpy as np
import typer

_P = ParamSpec("_P")
_R = TypeVar("_R")

_REPEAT_SECONDS = 0.05

# What is told of a paired test.
PAIRED = ("difference", "low", "high", "p_value")

# Called as report(description, done, total); total None: not known yet.
Report = Callable[[str, int, int | None], None]


_OUT_OF_MEMORY = (
    "Error: out of memory; --matcher batch-optimal needs little, and rsm takes a "
    "smaller --memory-budget"
)


def say(text: str) -> None:
    """Writes a result to stdout."""
    typer.echo(_printable(text))


def say_json(values: Mapping[str, Any]) -> None:
    """Writes a result to stdout as JSON."""
    say(json.dumps(plain(values), indent=2))


def plain(value: Any) -> Any:
    """A value as JSON has it: arrays as lists, NaN and infinity as null."""
    if isinstance(value, Mapping):
        return {key: plain(part) for key, part in value.items()}
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [plain(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def numbers(result: Any, *names: str) -> dict[str, Any]:
    """Some attributes of a result by name, their arrays as numbers or lists of them."""
    return {name: np.asarray(getattr(result, name)).tolist() for name in names}


def say_fields(fields: Mapping[str, object]) -> None:
    """Writes a column of names and one of values to stdout."""
    width = max(map(len, fields))
    for name, value in fields.items():
        say(f"  {name:<{width}}  {value}")


def duration(seconds: float) -> str:
    """A time in the units that suit it."""
    if seconds < 60:
        return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours} h"
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds} s"


def size(count: float) -> str:
    """A number of bytes in the unit that suits it."""
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.4g} {unit}"
        count /= 1024
    return f"{count:.4g} TiB"


def guarded(command: Callable[_P, _R]) -> Callable[_P, _R]:
    """Turns the errors that users cause into one message without traceback.

    Bad input ends with exit code 2, a full disk or memory with 1, Ctrl-C with 130.
    Warnings are one line each.
    """

    @functools.wraps(command)
    def run(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        try:
            with spoken_warnings(bool(kwargs.get("quiet"))), _kept_interrupts():
                return command(*args, **kwargs)
        except KeyboardInterrupt:
            _end("Interrupted. No half-written file is left behind.", 130)
        except BrokenPipeError:
            # The reader of a pipe has left; Typer ends quietly.
            raise
        except (TypeError, ValueError, ImportError) as error:
            _end(f"Error: {error}", 2)
        except OSError as error:
            _end(f"Error: {error}", 1)
        except (MemoryError, RuntimeError) as error:
            from semrsm_jax._resources import is_out_of_memory

            if not is_out_of_memory(error):
                raise
            _end(_OUT_OF_MEMORY, 1)

    return run


@contextmanager
def _kept_interrupts() -> Iterator[None]:
    """Repeats a Ctrl-C that Python drops.

    It drops what is raised in a callback of the garbage collector, of which JAX has
    one, and in `__del__`: the command would go on as if nothing had come.
    """
    report = sys.unraisablehook

    def repeat(dropped: "sys.UnraisableHookArgs") -> None:
        if not issubclass(dropped.exc_type, KeyboardInterrupt):
            report(dropped)
            return
        # Later, since what is raised in here is dropped too.
        threading.Timer(_REPEAT_SECONDS, _thread.interrupt_main).start()

    sys.unraisablehook = repeat
    try:
        yield
    finally:
        sys.unraisablehook = report


def _end(message: str, code: int) -> NoReturn:
    typer.secho(_printable(message), err=True, fg="red" if code != 130 else None)
    raise typer.Exit(code) from None


@contextmanager
def spoken_warnings(quiet: bool = False) -> Iterator[None]:
    """Writes each warning to stderr when it comes, in one line, and once."""
    said: set[str] = set()

    def show(message: Warning | str, *_: Any) -> None:
        if not quiet and str(message) not in said:
            typer.secho(f"Warning: {_printable(str(message))}", err=True)
        said.add(str(message))

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = show
        yield


@contextmanager
def progress_bar(unit: str, quiet: bool = False) -> Iterator[Report]:
    """Yields a function that shows progress, rate and remaining time on a terminal."""
    if quiet or not sys.stderr.isatty():
        yield lambda description, done, total: None
        return
    from rich import progress
    from rich.console import Console
    from rich.text import Text

    class Rate(progress.ProgressColumn):
        def render(self, task: progress.Task) -> Text:
            rate = task.finished_speed or task.speed
            return Text("" if rate is None else f"{rate:,.0f} {unit}/s")

    columns = (
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        Rate(),
        progress.TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    with progress.Progress(*columns, console=console, transient=True) as bar:
        tasks = {}

        def report(description: str, done: int, total: int | None) -> None:
            if description not in tasks:
                for task in bar.tasks:
                    # A task without a known end is over when the next begins.
                    task.visible = task.total is not None
                tasks[description] = bar.add_task(
                    description, total=total, completed=done
                )
            bar.update(tasks[description], completed=done, total=total)

        yield report


def _printable(text: str) -> str:
    # A file name need not be valid in any encoding.
    encoding = sys.stdout.encoding or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)
