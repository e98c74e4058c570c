"""Does similarity of representations predict similarity of outputs? Section 4.3.

    python -m experiments.output_correlation                  # minutes, 2 quiet cores
    python -m experiments.output_correlation --scale smoke    # everything tiny, seconds
    python -m experiments.output_correlation --scale pretrained --images FOLDER
    python -m experiments.output_correlation --scale paper --data imagenet

It needs matplotlib and scikit-image, and writes output_correlation.json, .csv and its
figures to results/output_correlation. Five classifiers that come with the repository
name the photograph behind composed scenes. For every two scenes the Jensen-Shannon
divergence (JSD) of the class probabilities is compared with the similarity of the
tokens of the last hidden layer: position by position (spatio-semantic) and with the
tokens matched (semantic, permutation invariant), under three kernels; that of the mean
tokens, by which most classifiers answer, stands beside. The better a
similarity predicts which outputs are alike, the more negative its correlation with the
JSD. Intervals are 95 % and resample images, not pairs; differences are paired.

Expected of `bundled`: matching makes Pearson's correlation more negative in five of
five networks by RBF (in three with an interval below zero), but in one of five by
cosine and by inner product, where both ResNets lose 0.09 to 0.10. The mean token, which
these networks answer by, is the best predictor for three of them.

`pretrained` (extra pretrained) asks EfficientNet-Lite 0 to 2 of ImageNet about crops of
scikit-image's photographs or those of --images; its intervals resample photographs.
`paper` repeats Table 1 with the seven published classifiers on 2,000 images of
ImageNet, `paper-table4` Table 4 on 20,000. Tokens and matchings are kept on the disk
(30 GB for DinoV2-Giant at 20,000 images) and resumed; --cluster matches on a cluster.
"""
