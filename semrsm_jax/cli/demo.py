"""``semrsm demo``: the paper's first experiment, on photographs at hand."""

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from semrsm_jax.cli import options
from semrsm_jax.cli.console import Report, progress_bar, say

if TYPE_CHECKING:
    from semrsm_jax import Report as ReportPage
    from semrsm_jax.demo import TranslationResult

HELP = """Show on photographs what semantic RSMs find and others miss.

Two windows of one photograph, shifted against each other, show the same things in other places. An RSM that compares position by position takes them for strangers; a semantic RSM does not. AUROC is the probability that a shifted pair is more similar than two different photographs: 0.5 is chance, 1 is perfect.

It is shown for a narrow ResNet18 with random weights, and with weights that come with the package. Those learnt to say which photograph a small crop comes from, on two thirds of each of the photographs that the crops here are cut from: the network has seen most of what it is shown, though never two windows to be compared.

Example: semrsm demo -o demo

The folder then holds translation.png, the figure; translation.json, all numbers and settings; and report.html, a page in which a click on a pair of windows shows what was matched with what (semrsm report). Nothing is downloaded; photographs and figure need pip install 'semrsm_jax' with its extra demo."""  # noqa: E501 (lines are wrapped when shown)

_FILES = ("translation.png", "translation.json", "report.html")

# Of the report: 200 windows, at the stages that are matched in seconds.
_REPORT_CROPS, _REPORT_TOKENS = 100, 256

# What fits 80 columns; the other columns of `table_rows` are in the JSON file.
_COLUMNS = {
    "stage": "stage",
    "rsm": "RSM",
    "overlapping": "overlap",
    "unrelated": "unrel.",
    "auroc": "AUROC",
    "gain": "gain",
    "nearest_partner": "nearest",
}


def command(
    output: Annotated[
        Path | None,
        options.output_option(help="Folder for the figure and the numbers."),
    ] = None,
    crops: Annotated[
        int, typer.Option(help="Photograph crops; more take longer and tell more.")
    ] = 120,
    seed: Annotated[
        int, typer.Option(help="Of crops, random weights and bootstrap.")
    ] = 0,
    exact: Annotated[
        bool,
        typer.Option(
            "--exact/--approximate",
            help="Match exactly at S=4096 too (5 to 10 minutes on 2 cores), or by "
            "Batch-Optimal there (less than half of that).",
        ),
    ] = True,
    overwrite: options.Overwrite = False,
    quiet: options.Quiet = False,
) -> None:
    """Runs the experiment, prints its table, and writes what was asked for."""
    from semrsm_jax import BatchOptimal
    from semrsm_jax.demo import TranslationConfig, run, to_json
    from semrsm_jax.store import check_output, new_file

    config = TranslationConfig(crops=crops, seed=seed)
    if not exact:
        first, *others = config.stages  # that of S=4096
        first = dataclasses.replace(first, matcher=BatchOptimal(512))
        config = dataclasses.replace(config, stages=(first, *others))
    if output is not None:
        from semrsm_jax.plotting import translation_figure
        from semrsm_jax.reporting.page import require_bokeh

        require_bokeh()
        figure_path, numbers_path, report_path = (
            check_output(output / name, overwrite, suffixes=(Path(name).suffix,))
            for name in _FILES
        )
    with progress_bar("steps", quiet) as report:
        result = run(config, report)
        page = None if output is None else _page(result, report)
    if output is not None and page is not None:
        with new_file(figure_path, overwrite) as temporary:
            translation_figure(result).savefig(temporary)
        with new_file(numbers_path, overwrite) as temporary:
            temporary.write_text(json.dumps(to_json(result), indent=2))
        page.save(report_path, overwrite=overwrite)
    if quiet:
        return
    _print_table(result)
    if output is None:
        say("Nothing was written; to keep the figure and all numbers: -o FOLDER")
    else:
        say(f"Written: {', '.join(str(output / name) for name in _FILES)}")


def _page(result: "TranslationResult", progress: Report) -> "ReportPage":
    """The report of many windows in one RSM."""
    from semrsm_jax import Cosine, report
    from semrsm_jax.demo import views

    shown = views(result, _REPORT_CROPS, _REPORT_TOKENS)
    weights = result.config.weights[0]  # those of the views
    return report(
        shown.features,
        shown.images,
        labels=shown.scenes,
        kernel=Cosine(),
        names=shown.names,
        title=f"Shifted windows of photographs, ResNet18 with {weights} weights",
        progress=progress,
    )


def _print_table(result: "TranslationResult") -> None:
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from semrsm_jax.demo import table_rows

    rows = table_rows(result)
    for weights in result.config.weights:
        table = Table(box=SIMPLE, show_edge=False, padding=(0, 1, 0, 0))
        for column, title in _COLUMNS.items():
            numeric = column not in ("stage", "rsm")
            table.add_column(title, justify="right" if numeric else "left")
        for row in rows:
            if row["weights"] == weights:
                table.add_row(*(Text(_cell(row, column)) for column in _COLUMNS))
        say(f"{weights.capitalize()} weights:")
        # A pipe has no width of its own, and a narrow one would break the intervals.
        Console(width=max(80, Console().width)).print(table)
    level = f"{result.config.confidence:.0%}"
    say(
        "Overlap, unrel.: mean RBF similarity of the two windows of a photograph, and "
        "of\nwindows of different ones.\n"
        "AUROC: how surely a shifted pair is the more similar; 0.5 is chance.\n"
        "Gain: AUROC of the semantic RSM less that of the other.\n"
        "Nearest: share of windows whose most similar window is their shifted one.\n"
        f"Below a number: its {level} interval, scenes resampled."
    )


def _cell(row: dict[str, Any], column: str) -> str:
    """A value above its interval; the number of tokens below the name of the stage."""
    value = row[column]
    if column == "stage":
        return f"{value}\nS={row['tokens']}" if row["gain"] is None else ""
    if not isinstance(value, float):
        return "" if value is None else str(value)
    prefix = "nearest" if column == "nearest_partner" else column
    low, high = row.get(f"{prefix}_low"), row.get(f"{prefix}_high")
    if low is None:
        return f"{value:.3f}"
    return f"{value:.3f}\n{low:.2f}-{high:.2f}"
