"""Retrieval: are images that show the same things found better by semantic RSMs?

    python -m experiments.retrieval                  # minutes, 2 quiet cores
    python -m experiments.retrieval --scale smoke    # everything tiny, seconds
    python -m experiments.retrieval --scale paper --data EgoObjects
    python -m experiments.retrieval --scale paper-cityscapes --data cityscapes

It needs matplotlib, scikit-image and scikit-learn, and writes retrieval.json, .csv and
its figures to results/retrieval. Every query is compared with every image of a
database, by three kernels, with permutation invariance (tokens matched) and without
(tokens at the same place compared), after the database's mean token is subtracted.
F1@1 says how well the most similar image shows what the query shows: instances of each
class that both have, against those that one of them lacks (Eq. 9-12). IoU is of the
classes that are there (Appendix D.4). The gain is the paired difference; its 95 %
interval resamples the scenes that the queries show. The database stays as it was drawn.

Two protocols: the paper's leaves out images of the query's own video, and may retrieve
others of the same scene; the harder one leaves out the whole scene. Classical global
descriptors of the same features stand beside: average pooling, PCA-whitened pooling and
VLAD, compared by cosine.

    bundled            scenes composed of photographs' parts and digits, 4 views each;
                       300 queries, 900 images; two networks trained here on such
                       scenes, at the last hidden layer and at an earlier one
    paper              section 4.2: 2,000 frames of EgoObjects, looked up in 2,500,
                       5,000 and 10,000; five networks with their public checkpoints
    paper-cityscapes   Appendix D.4: 500 validation images, looked up in 2,975

Expected of `bundled`, at the last hidden layer and 450 images: F1@1 gains 0.07 [0.05,
0.09] by cosine and 0.08 [0.05, 0.11] by RBF for the ResNet, 0.05 [0.00, 0.09] and 0.06
[0.02, 0.11] for the transformer, 0.04 [0.00, 0.08] by inner product; for the ResNet
that gains nothing, -0.00 [-0.03, 0.02]: 1 % of the images answer 16 % of its queries.
Over all layers 8 of 12 gains have an interval above zero, and none below.

At `paper` scale features and matchings go to the disk as they are computed, and are
resumed; --cluster matches on many machines. SAM's 4,096 tokens take most of the time.
"""
