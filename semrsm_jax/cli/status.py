"""``semrsm status``: how far a run is."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from semrsm_jax.cli import options
from semrsm_jax.cli.console import say, say_fields, say_json, size

if TYPE_CHECKING:
    from semrsm_jax.store import RunStore

HELP = """Show how far a run is: what is done, what is missing, what is damaged.

Example: semrsm status run.zarr --verify

It may be called while the run goes on. The exit code is 0 if all is done, 3 if something is missing or damaged."""  # noqa: E501 (lines are wrapped when shown)

_UNFINISHED = 3


def command(
    store: Annotated[
        Path,
        typer.Argument(
            metavar="STORE", help="A folder that semrsm rsm wrote, or one layer in it."
        ),
    ],
    verify: Annotated[
        bool,
        typer.Option(
            "--verify", help="Read all finished tiles, and compare the checksums."
        ),
    ] = False,
    as_json: options.AsJSON = False,
) -> None:
    """Reads the records of the tiles, and with --verify the tiles themselves."""
    from semrsm_jax.store.layers import runs_begun

    runs, not_begun = runs_begun(store)
    states = [_state(name, run, verify) for name, run in runs.items()]
    finished = not not_begun and all(run["finished"] for run in states)
    if as_json:
        document = {"store": str(store), "finished": finished, "runs": states}
        say_json({**document, "not_begun": not_begun})
    else:
        say(f"{store}: {'finished' if finished else 'not finished'}")
        for run in states:
            _show(run)
        if not_begun:
            say_fields({"not begun": ", ".join(not_begun)})
        if not finished:
            say("To resume, run the command that began it again.")
    if not finished:
        raise typer.Exit(_UNFINISHED)


def _state(layer: str | None, run: "RunStore", verify: bool) -> dict[str, Any]:
    grid, manifest = run.grid, run.manifest
    missing = run.missing(verify=verify)
    damaged = run.damaged() if verify else {}
    pairs = grid.pair_count
    done = pairs - sum(grid.pairs(tile).count for tile in missing)
    return {
        "layer": layer,
        "samples": [grid.rows, grid.columns],
        "tokens": [manifest.x.shape[1], manifest.columns.shape[1]],
        "channels": manifest.x.shape[2],
        "matcher": manifest.matcher,
        "bound": manifest.bound,
        "dtype": manifest.dtype,
        "tile": grid.side,
        "tiles": sum(1 for _ in grid),
        "tiles_missing": len(missing),
        "pairs": pairs,
        "pairs_done": done,
        "finished": not missing,
        "verified": verify,
        "unconverged": run.unconverged()._asdict() if verify and not damaged else None,
        "damaged": [
            {"tile": list(tile), "what": what} for tile, what in damaged.items()
        ],
        "inputs": [
            None if side is None else side.sha256 for side in (manifest.x, manifest.y)
        ],
        "bytes": run.bytes_on_disk(),
        "made": run.made,
    }


def _show(run: dict[str, Any]) -> None:
    done, pairs = run["pairs_done"], run["pairs"]
    tiles = run["tiles"] - run["tiles_missing"]
    settings = ", ".join(f"{k}={v!r}" for k, v in run["matcher"].items() if k != "name")
    fields = {
        "samples": "{} x {}".format(*run["samples"]),
        "matcher": f"{run['matcher']['name']}({settings})",
        "pairs": f"{done:,} of {pairs:,} ({done / pairs if pairs else 1:.1%})",
        "tiles": f"{tiles:,} of {run['tiles']:,}, {run['tile']} x {run['tile']}",
        "on disk": size(run["bytes"]),
        "checksums": "compared" if run["verified"] else "not compared (--verify)",
    }
    if run["layer"] is not None:
        fields = {"layer": run["layer"], **fields}
    missed = run["unconverged"]
    if missed and missed["of_pairs"]:
        fields["unconverged"] = (
            f"{missed['pairs']:,} of {missed['of_pairs']:,} pairs"
            f", column sums wrong by up to {missed['error']:.2g}"
        )
    for damage in run["damaged"]:
        row, column = damage["tile"]
        fields[f"tile {row}.{column}"] = damage["what"]
    say_fields(fields)
