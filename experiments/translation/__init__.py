"""Translation: does an RSM find an image again that was shifted? Fig. 2 and 7.

    python -m experiments.translation                  # minutes, 2 quiet cores
    python -m experiments.translation --scale smoke    # everything tiny, seconds
    python -m experiments.translation --scale pretrained --images FOLDER
    python -m experiments.translation --scale paper --data imagenet/val

It needs matplotlib and scikit-image, and writes translation.json, .csv and its figures
to results/translation. Each crop gives two windows, from its upper left and its lower
left corner, which share most of their pixels (section 4.1: 84-pixel crops and 64-pixel
windows; Appendix B: 324 and 224, a shift by 6.25 patches, so that no patch comes back
whole). An RSM of ten crops is computed layer by layer, position by position
(spatio-semantic) and with tokens matched exactly (semantic), over many batches. AUROC
is the probability that the two windows of a crop are more similar than windows of
different scenes: 0.5 is chance. Intervals are 95 % and resample scenes.

At `bundled` scale the networks are those that `experiments.train` trained, beside the
same networks with random weights, and the crops those of scikit-image's photographs; at
`pretrained` scale EfficientNet-Lite0 as ImageNet trained it (extra pretrained), on
scikit-image's photographs or those of --images; at `paper` scale ResNet18 and ViT-B/16
with their Hugging Face checkpoints on your images.

Expected of `bundled`, trained networks, by depth: AUROC of the semantic RSM 0.98, 0.98,
0.98 where the spatio-semantic one has 0.72, 0.74, 0.95 (ResNet), and 0.91, 0.94, 0.97,
0.98, 0.97 to 0.78, 0.84, 0.91, 0.95, 0.94 (transformer), each gain with its interval
above zero.
"""
