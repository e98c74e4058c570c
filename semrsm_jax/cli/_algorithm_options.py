"""Options that a parameter of a command stands for.

Those of matchers, kernels and measures are made from `semrsm_jax.registry`.
"""

import contextlib
import functools
import inspect
import re
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, is_dataclass, replace
from typing import Annotated, Any, NamedTuple

import typer

from semrsm_jax.registry import KERNELS, MATCHERS, MEASURES, SOLVERS, Entry, Setting

# Settings whose values are the names of another table.
_NAMES = {"solver": SOLVERS}

# A setting that states the unit of another, which must then be given too.
_UNIT_OF = {"relative": "epsilon"}


class _Table(NamedTuple):
    """What a command lets choose from: the mark of a parameter to be expanded."""

    option: str
    entries: dict[str, Entry]
    default: str | None
    help: str

    def offered(self) -> dict[str, Entry]:
        return {name: e for name, e in self.entries.items() if e.in_shell}


@dataclass(frozen=True)
class Selection:
    """An algorithm as the command line states it.

    Attributes:
      table: what it is chosen from.
      name: of the algorithm; None where the option is not given.
      settings: their texts, or booleans, by name; None where an option is not given.
    """

    table: _Table
    name: str | None
    settings: Mapping[str, Any]

    def fitting(self, default: str) -> "Selection":
        """Itself, or without a name the first algorithm with the settings given.

        Args:
          default: the algorithm that is preferred.
        """
        given = {k for k, v in self.settings.items() if v is not None}
        offered = self.table.offered()
        names = [n for n in (default, *offered) if given <= {*_by_name(offered[n])}]
        return replace(self, name=self.name or (names or [default])[0])

    def build(self) -> Any:
        """The algorithm with the settings that are given; None without a name."""
        option, entries = f"--{self.table.option}", self.table.offered()
        given = {k: v for k, v in self.settings.items() if v is not None}
        if self.name is None:
            for key in given:
                names = [n for n, entry in entries.items() if key in _by_name(entry)]
                raise ValueError(f"{_spelled(key)} needs {option} {' or '.join(names)}")
            return None
        if self.name.lower() not in entries:
            raise ValueError(
                f"{option} must be one of {', '.join(entries)}, got {self.name!r}"
            )
        name = self.name.lower()
        settings = _by_name(entries[name])
        for key in given:
            if key not in settings:
                known = ", ".join(map(_spelled, settings)) or "no options"
                raise ValueError(
                    f"{_spelled(key)} does not fit {option} {name}, which takes {known}"
                )
            needed = _UNIT_OF.get(key)
            if needed is not None and needed not in given:
                raise ValueError(
                    f"{_spelled(key)} states the unit of {_spelled(needed)}, which "
                    "must be given too"
                )
        for key, setting in settings.items():
            if setting.required and key not in given:
                raise ValueError(f"{option} {name} needs {_spelled(key)}")
        values = {key: _parsed(settings[key], value) for key, value in given.items()}
        return entries[name].cls(**values)


# The parameter of a command, expanded into the options by `with_expanded_options`.
MatcherOptions = Annotated[
    Selection,
    _Table("matcher", MATCHERS, "exact", "How the tokens of two samples are matched."),
]
KernelOptions = Annotated[
    Selection,
    _Table("kernel", KERNELS, "linear", "The similarity of matched representations."),
]
StatisticsKernel = Annotated[
    Selection,
    _Table(
        "kernel",
        KERNELS,
        None,
        "Apply this kernel to the statistics of a file or run. Default: a file's RSM "
        "as it is, linear for a run.",
    ),
]
MeasureOptions = Annotated[
    Selection,
    _Table(
        "measure",
        MEASURES,
        None,
        "What is compared. Default: cka, or what the options given belong to.",
    ),
]


def with_expanded_options(command: Callable[..., None]) -> Callable[..., None]:
    """Expands the parameters of a command that stand for several options.

    Typer reads options from a signature. For a parameter that is a choice from a table,
    the one returned has an option for the name of the algorithm and one for each
    setting, other than those that the command has itself; the command gets them as one
    `Selection`. For one whose type is a dataclass, it has an option for each field; the
    command gets an instance.
    """
    tables: dict[str, _Table] = {}
    options: dict[str, dict[str, Any]] = {}
    parameters: list[inspect.Parameter] = []
    groups: dict[str, type] = {}
    own: dict[str, inspect.Parameter] = {}
    for name, parameter in inspect.signature(command).parameters.items():
        group = parameter.annotation
        if isinstance(group, type) and is_dataclass(group):
            groups[name] = group
            own |= inspect.signature(group).parameters
        else:
            own[name] = parameter
    for name, parameter in own.items():
        parameter = parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
        table = _table_of(parameter)
        if table is None:
            parameters.append(parameter)
            continue
        tables[name] = table
        settings = _setting_options(table).items()
        options[name] = {key: option for key, option in settings if key not in own}
        parameters.append(
            parameter.replace(default=table.default, annotation=_name_option(table))
        )
        parameters += [
            parameter.replace(name=key, default=None, annotation=option)
            for key, option in options[name].items()
        ]

    @functools.wraps(command)
    def run(**given: Any) -> None:
        for name, table in tables.items():
            settings = {key: given.pop(key) for key in options[name]}
            given[name] = Selection(table, given[name], settings)
        for name, group in groups.items():
            keys = inspect.signature(group).parameters
            given[name] = group(**{key: given.pop(key) for key in keys})
        command(**given)

    run.__annotations__ = {p.name: p.annotation for p in parameters}
    expanded: Any = inspect.Signature(parameters)
    run.__signature__ = expanded  # type: ignore[attr-defined]
    return run


def parse_grid(text: str) -> tuple[int, int]:
    """Rows and columns from a text such as 14x14."""
    match = re.fullmatch(r"(\d{1,9})x(\d{1,9})", text.lower(), re.ASCII)
    if match is None:
        raise ValueError(f"--grid must be HxW, for example 14x14, got {text!r}")
    return int(match[1]), int(match[2])


# How a setting of a type is read, and shown in the help; a type that is not here is
# not offered.
_PARSERS: dict[Any, tuple[Callable[[Any], Any], str, str]] = {
    bool: (bool, "", "a flag"),
    int: (int, "INTEGER", "an integer"),
    float: (float, "NUMBER", "a number"),
    str: (str, "NAME", "a name"),
    tuple[int, int]: (parse_grid, "HxW", "HxW, for example 14x14"),
}


def _table_of(parameter: inspect.Parameter) -> _Table | None:
    metadata = typing.get_args(parameter.annotation)[1:]
    return next((part for part in metadata if isinstance(part, _Table)), None)


def _by_name(entry: Entry) -> dict[str, Setting]:
    """The settings of an algorithm that the command line can express."""
    return {s.name: s for s in entry.settings if set(s.types) <= set(_PARSERS)}


def _spelled(setting: str) -> str:
    return "--" + setting.replace("_", "-")


def _parsed(setting: Setting, value: Any) -> Any:
    if setting.name == "method":  # spelled as options are
        value = value.replace("-", "_")
    for kind in setting.types:
        with contextlib.suppress(ValueError):
            return _PARSERS[kind][0](value)
    wanted = " or ".join(_PARSERS[kind][2] for kind in setting.types)
    raise ValueError(f"{_spelled(setting.name)} must be {wanted}, got {value!r}")


def _name_option(table: _Table) -> Any:
    parts = [f"{name}: {_plain(e.help)}" for name, e in table.offered().items()]
    return _option(
        table.default,
        typer.Option(
            f"--{table.option}", metavar="NAME", help=" ".join([table.help, *parts])
        ),
    )


def _setting_options(table: _Table) -> dict[str, Any]:
    """The option of each setting, with what each algorithm takes it for."""
    users: dict[str, list[tuple[str, Setting]]] = {}
    for name, entry in table.offered().items():
        for key, setting in _by_name(entry).items():
            users.setdefault(key, []).append((name, setting))
    return {key: _setting_option(table, key, of) for key, of in users.items()}


def _setting_option(table: _Table, key: str, users: list[tuple[str, Setting]]) -> Any:
    texts: dict[str, list[str]] = {}
    setting = users[0][1]
    flag = setting.types == (bool,)
    for name, setting in users:
        text = _plain(setting.help)
        if not (setting.required or setting.default is None or flag):
            text += f" Default: {setting.default}."
        texts.setdefault(text, []).append(name)
    parts = [f"{', '.join(names)}: {text}" for text, names in texts.items()]
    if key in _NAMES:
        parts.append(f"Names: {', '.join(_NAMES[key])}.")
    spelled = _spelled(key)
    if flag and setting.default:
        spelled += f"/--no-{key.replace('_', '-')}"
    return _option(
        None,
        typer.Option(
            spelled,
            metavar=None if flag else "|".join(_PARSERS[k][1] for k in setting.types),
            help=" ".join(parts),
            rich_help_panel=f"{table.option.capitalize()} options",
        ),
        bool if flag else str,
    )


def _option(default: Any, option: Any, kind: type = str) -> Any:
    annotated: Any = Annotated  # of a type that is known here alone
    return annotated[kind if default is not None else kind | None, option]


def _plain(text: str) -> str:
    """A text of a docstring with the names that the command line has."""
    names = {e.cls.__name__: n for n, e in (MATCHERS | KERNELS | MEASURES).items()}
    text = re.sub(r"`+([^`]*)`+", lambda m: names.get(m[1], m[1]), text)
    return re.sub(r"\bNone( or|:)", r"By default\1", text)
