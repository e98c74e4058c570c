"""The questions that the paper leaves open, answered on scenes where all is controlled.

    python -m experiments.open_questions                        # minutes, 2 quiet cores
    python -m experiments.open_questions --question windows     # one of them
    python -m experiments.open_questions --scale smoke          # everything tiny
    python -m experiments.open_questions --scale pretrained     # three of them
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
from experiments.open_questions import ablation, channels, gain, layers, prior, windows
from experiments.open_questions.question import question

STUDIES = {
    "windows": question(
        windows,
        title="The window of Batch-Optimal",
        asks="Exact matching is cheap here: when is the paper's approximation still "
        "worth it, and with which window?",
        caption="Time as a ratio to that of exact matching on the same pairs, against "
        "the share of the exact value: medians, of centered tokens. Numbers are "
        "windows; the gray line joins those that no other beats.",
        minutes=1.2,
        data=windows.DATA,
    ),
    "gain": question(
        gain,
        title="What the gain in retrieval depends on",
        asks="How does the gain of semantic over spatio-semantic RSMs change with "
        "the scale and the number of objects, the viewpoint and the resolution?",
        caption="Gain in F1@1, semantic less spatio-semantic, with 95 % intervals over "
        "scenes. Above, another view of the query's own scene may be found; "
        "below, it may not.",
        minutes=1,
    ),
    "ablation": question(
        ablation,
        title="Kernel, bandwidth, normalization, centering",
        asks="What do both RSMs owe to how tokens are prepared and compared?",
        caption="Left, F1@1 under every preparation of the tokens and kernel; right, "
        "how the bandwidth of the RBF kernel changes the correlation of "
        "similarity with what two images share.",
        minutes=1,
    ),
    "prior": question(
        prior,
        title="Where the place is the label",
        asks="Do semantic RSMs lose where the place of objects is what is asked for?",
        caption="Share of nearest neighbors whose objects stand in the same place, and "
        "F1 of what they show, with 95 % intervals over scenes.",
        minutes=0.6,
    ),
    "layers": question(
        layers,
        title="Which layers transfer",
        asks="Does the CKA of a layer with a task's labels foretell how well a "
        "linear probe on it solves the task?",
        caption="Each point is a layer of a network: CKA with the labels by both RSMs, "
        "against the accuracy of the probe, for a task of the training (left) "
        "and two others.",
        minutes=1.2,
    ),
    "channels": question(
        channels,
        title="Which channels can be pruned",
        asks="Does the fall of CKA without a channel foretell what the network loses "
        "without it?",
        caption="Left, accuracy after pruning the least important channels of the last "
        "layer, by four measures of importance, with 95 % intervals over "
        "networks; right, how well each foretells the rise of the cross-entropy "
        "without a single channel.",
        minutes=1.2,
        data=channels.DATA,
    ),
}
app = questions("open_questions", __doc__ or "", STUDIES)
