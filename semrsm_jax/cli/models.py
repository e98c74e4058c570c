"""``semrsm models``: the networks of the paper, by name."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from semrsm_jax.cli import options
from semrsm_jax.cli.console import progress_bar, say, say_json

if TYPE_CHECKING:
    from semrsm_jax.models import Variant

HELP = """List the networks that semrsm extract knows by name: the paper's twelve.

Each stands for a checkpoint on the Hugging Face hub. Its tokens are given as rows x columns at the image size of its preprocessor, + 1 where a CLS token precedes them; below the checkpoint is the layer that the paper compares (--layers last).

Example: semrsm models --json

Other checkpoints of the same kinds, such as facebook/dinov2-base or a folder of your own, are given to semrsm extract --model as they are."""  # noqa: E501 (lines are wrapped when shown)


def command(
    parameters: Annotated[
        bool,
        typer.Option(
            "--parameters", help="Count the parameters too; takes some seconds."
        ),
    ] = False,
    as_json: options.AsJSON = False,
) -> None:
    """Prints the table."""
    from semrsm_jax.models import VARIANTS

    rows = []
    with progress_bar("networks", quiet=not parameters) as report:
        for done, variant in enumerate(VARIANTS.values()):
            report("Counting parameters", done, len(VARIANTS))
            rows.append(_row(variant, parameters))
    if as_json:
        say_json({"models": rows})
        return
    width = max(len(row["name"]) for row in rows)
    say(f"{'name':<{width}}  {'tokens':<11}  checkpoint")
    say(f"{'':<{width}}  {'parameters' if parameters else '':<11}  layer compared")
    for row in rows:
        grid = " x ".join(map(str, row["grid"]))
        extra = f" + {row['prefix_tokens']}" if row["prefix_tokens"] else ""
        say(f"{row['name']:<{width}}  {grid + extra:<11}  {row['checkpoint']}")
        count = f"{row['parameters'] / 1e6:,.1f} M" if parameters else ""
        say(f"{'':<{width}}  {count:<11}  {row['tap']}")


def _row(variant: "Variant", parameters: bool) -> dict[str, Any]:
    row = {
        "name": variant.name,
        "title": variant.title,
        "checkpoint": variant.checkpoint,
        "image_size": list(variant.image_size),
        "grid": list(variant.token_grid()),
        "prefix_tokens": variant.prefix_tokens,
        "tap": variant.tap,
        "classifies": variant.classifies,
    }
    return row | ({"parameters": _parameters(variant)} if parameters else {})


def _parameters(variant: "Variant") -> int:
    """Counts them on the network's shapes; nothing is allocated."""
    import jax
    from flax import nnx

    model = nnx.eval_shape(lambda: variant.build(variant.config, rngs=nnx.Rngs(0)))
    return sum(leaf.size for leaf in jax.tree.leaves(nnx.state(model, nnx.Param)))
