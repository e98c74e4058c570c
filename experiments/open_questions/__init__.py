"""The questions that the paper leaves open, answered on scenes where all is controlled.

    python -m experiments.open_questions                        # minutes, 2 quiet cores
    python -m experiments.open_questions --question windows     # one of them
    python -m experiments.open_questions --scale smoke          # everything tiny
    python -m experiments.open_questions --scale paper          # checkpoints of the hub

It needs matplotlib, scikit-image and scikit-learn, and writes open_questions_NAME.json,
.csv and .png of each question to results/open_questions. "Semantic" are RSMs after the
exact matching of tokens, "spatio-semantic" those position by position; both always come
from the same features. Networks are the small ones trained here, at the scale "paper"
checkpoints of the Hugging Face hub; images are scenes composed of photographs' parts
and handwritten digits. Intervals are of 95 %.

The questions:

windows - the best window for Batch-Optimal, by number of tokens and network, beside
exact matching, which is cheap here: time and quality of both on the same pairs. Takes
--data, a folder of photographs, instead of scenes.

gain - how the gain in retrieval (F1@1, semantic less spatio-semantic) depends on the
scale and number of objects, the spread of viewpoints and the resolution.

ablation - kernel, bandwidth, token normalization and centering.

prior - where the place of objects is what is asked for, and semantic RSMs should lose.

layers - which layers transfer: does the CKA of a layer with a task's labels foretell
the linear probe on it?

channels - which channels can be pruned: does the fall of CKA without a channel foretell
what the network loses without it? Takes --data too.

Expected of `bundled`:

windows - up to 1,024 tokens nothing that has 99 % of the exact value is faster than
exact matching; at 4,096 windows of 512 with 4 sweeps have it in 0.28 [0.11, 0.62] of
the time for the ResNet, and nothing has for the transformer.

gain - for the ResNet, other scenes alone: more with the objects' scale (+0.14) and the
resolution (+0.18), less with their number (-0.27); with another view of each scene,
more with the spread of viewpoints (+0.17). For the transformer none of these is shown.

ablation - a gain in F1@1 in 35 of 70 settings, a loss in none; for the ResNet nothing
done to the tokens lifts the spatio-semantic RSM to what matching gives without it.

prior - place is found less well in 3 of 5 networks, better in none; and where content
tells the place, matching loses 0.06 [0.05, 0.06] of F1.

layers - rank correlations with the probe of 0.50, 0.57, 0.62 for semantic and 0.65,
0.39, 0.81 for spatio-semantic RSMs: better for one of three tasks, not significantly.

channels - no: -0.14 [-0.24, -0.04] by both RSMs, and pruning is as good at random.
"""

from experiments.frame.command_line import questions
from experiments.open_questions import (
    ablation,
    channels,
    gain,
    layers,
    prior,
    windows,
)

STUDIES = {
    "windows": windows.STUDY,
    "gain": gain.STUDY,
    "ablation": ablation.STUDY,
    "prior": prior.STUDY,
    "layers": layers.STUDY,
    "channels": channels.STUDY,
}
app = questions("open_questions", __doc__ or "", STUDIES)
