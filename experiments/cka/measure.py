"""CKA of every two RSMs of a part: all networks, layers, and both kinds of RSMs.

Each network's RSMs are a step, and the matrix of all with all another: whatever is
compared is read off that matrix.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from experiments.cka.config import CKAConfig, Part
from experiments.data.draw import Draw
from experiments.data.shown import mean_tokens
from experiments.frame.session import Session
from semrsm_jax import center
from semrsm_jax.comparison import cka_matrix, hsic_matrix
from semrsm_jax.matching import Identity
from semrsm_jax.store import open_similarity

SPATIO, SEMANTIC = "spatio-semantic", "semantic"
# The one without bias, and the paper's, Eq. 1.
ESTIMATORS = ("unbiased", "biased")


class Network(NamedTuple):
    """A network's RSMs.

    Attributes:
      layers: by depth.
      tokens: of each layer, S.
      accuracy: share of the images whose class it names; NaN where none is known.
      rsms: name of the kernel -> RSMs (kinds, layers, batches, n, n), the
        spatio-semantic ones first.
      groups: (n,), equal for images that depend on each other, of which there is one
        batch then; None: all images are independent.
    """

    layers: tuple[str, ...]
    tokens: tuple[int, ...]
    accuracy: float
    rsms: Mapping[str, Float[np.ndarray, "2 L B n n"]]
    groups: Int[np.ndarray, " n"] | None


def network_rsms(
    config: CKAConfig, part: Part, network: str, session: Session
) -> Network:
    """The RSMs of all layers of a network, batch by batch, of both kinds.

    Tokens are centered by their mean over all images and places, channel by channel.
    """
    name = f"{part.name}/{network}"

    def compute() -> dict[str, Any]:
        draw = Draw(part.samples, config.seed, config.data)
        session.report(f"Looking at {part.name}: {network}", 0, None)
        outputs = part.source.look(f"{name}/tokens", network, draw, session)
        kinds = {SPATIO: Identity(), SEMANTIC: part.matcher}
        batches = part.samples // part.batch
        shape = (len(kinds), len(outputs.tokens), batches, part.batch, part.batch)
        rsms = {kernel: np.empty(shape, np.float32) for kernel in config.kernels}
        for row, (layer, tokens) in enumerate(outputs.tokens.items()):
            mean = mean_tokens(tokens).mean((0, 1)).astype(tokens.dtype)
            for batch in range(batches):
                start = batch * part.batch
                x = center(tokens[start : start + part.batch], mean=mean)
                for kind, (what, matcher) in enumerate(kinds.items()):
                    run = f"{name}/{what}/{layer}/{batch}"
                    store = session.run(run, x, matcher=matcher)
                    for key, kernel in config.kernels.items():
                        rsms[key][kind, row, batch] = open_similarity(
                            store.path, kernel
                        )[:]
        return {
            "layers": list(outputs.tokens),
            "tokens": [tokens.shape[1] for tokens in outputs.tokens.values()],
            "accuracy": outputs.accuracy,
            **({} if outputs.groups is None else {"groups": outputs.groups}),
            **rsms,
        }

    stored = session.step(f"{name}/rsms", compute)
    return Network(
        tuple(map(str, stored["layers"])),
        tuple(map(int, stored["tokens"])),
        float(stored["accuracy"]),
        {kernel: stored[kernel] for kernel in config.kernels},
        stored.get("groups"),
    )


def alike(
    config: CKAConfig,
    part: Part,
    kernel: str,
    networks: Mapping[str, Network],
    session: Session,
) -> dict[str, Float[np.ndarray, "R R"]]:
    """CKA of all RSMs of a part with each other, under one kernel, by estimator.

    Networks stand one after the other, of each the layers of its spatio-semantic RSMs,
    then those of its semantic ones.

    The HSICs of all batches are summed before they are divided: a mean of the batches'
    CKAs would be no estimate of CKA (Nguyen et al. 2021). Where images come in groups,
    only pairs of different groups count in the estimate without bias.
    """

    def compute() -> dict[str, np.ndarray]:
        flat = [
            rsms
            for network in networks.values()
            for of_kind in network.rsms[kernel]
            for rsms in of_kind
        ]
        groups = next(iter(networks.values())).groups
        if groups is None:
            return {estimator: _cka(flat, estimator) for estimator in ESTIMATORS}
        (batch,) = zip(*flat, strict=True)
        unbiased = cka_matrix(batch, estimator="unbiased", groups=groups)
        return {"unbiased": unbiased, "biased": _cka(flat, "biased")}

    return session.step(f"{part.name}/cka/{kernel}", compute)


def _cka(
    rsms: Sequence[Float[np.ndarray, "B n n"]], estimator: str
) -> Float[np.ndarray, "R R"]:
    total = sum(
        hsic_matrix(batch, estimator=estimator) for batch in zip(*rsms, strict=True)
    )
    own = np.sqrt(np.diag(total))
    return total / own[:, None] / own
