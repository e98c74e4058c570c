"""``semrsm compare``: how alike two similarity structures are."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from semrsm_jax.cli import _options as options
from semrsm_jax.cli._console import say, say_fields, say_json

if TYPE_CHECKING:
    from semrsm_jax.store import RSMFile

NAME = "compare"
HELP = """Compare two RSMs over the same samples: CKA and HSIC.

Both files must hold a square RSM of the same samples in the same order, as semrsm rsm writes it; a .npy file of any square matrix serves too.

Example: semrsm compare layer1.npz layer2.npz --estimator unbiased

CKA is 1 where both tell samples apart in the same way; HSIC is its numerator, without scale. --json prints cka, hsic, estimator, samples, a and b as one JSON object."""  # noqa: E501 (lines are wrapped when shown)


class EstimatorName(StrEnum):
    """Estimators of HSIC."""

    BIASED = "biased"
    UNBIASED = "unbiased"


def _rsm_argument(name: str) -> Any:
    return typer.Argument(
        metavar=name, show_default=False, help="An RSM: .npz, .safetensors or .npy."
    )


def command(
    a: Annotated[Path, _rsm_argument("A")],
    b: Annotated[Path, _rsm_argument("B")],
    estimator: Annotated[
        EstimatorName,
        typer.Option(
            case_sensitive=False,
            help="Of HSIC; unbiased leaves out the diagonals and needs 4 samples.",
        ),
    ] = EstimatorName.BIASED,
    as_json: options.AsJSON = False,
) -> None:
    """Reads both RSMs and prints what they have in common."""
    from semrsm_jax import cka, hsic
    from semrsm_jax.store import load_rsm

    files = {path: load_rsm(path) for path in (a, b)}
    for path, file in files.items():
        if file.rsm.shape[0] != file.rsm.shape[1]:
            raise ValueError(
                f"{path} must hold a square RSM, got shape {file.rsm.shape}: samples "
                "with themselves, not two sets of samples"
            )
    left, right = files[a].rsm, files[b].rsm
    if left.shape != right.shape:
        raise ValueError(
            f"{a} and {b} must be over the same samples, got {len(left)} and "
            f"{len(right)}"
        )
    result = {
        "cka": float(cka(left, right, estimator.value)),
        "hsic": float(hsic(left, right, estimator.value)),
        "estimator": estimator.value,
        "samples": len(left),
    }
    if as_json:
        say_json(result | {"a": str(a), "b": str(b)})
        return
    say(f"{len(left)} samples, {estimator.value} estimator")
    say_fields(
        {
            "CKA": f"{result['cka']:.6f}",
            "HSIC": f"{result['hsic']:.6g}",
            "A": _described(a, files[a]),
            "B": _described(b, files[b]),
        }
    )


def _described(path: Path, file: "RSMFile") -> str:
    parts = [
        str(part["name"])
        for part in (file.metadata.get("matcher"), file.metadata.get("kernel"))
        if isinstance(part, dict) and "name" in part
    ]
    return f"{path} ({', '.join(parts)})" if parts else str(path)
