"""Time and quality of every matcher and solver: Table 5, Fig. 5, and beyond.

    python -m experiments.runtime                  # minutes, 2 quiet cores
    python -m experiments.runtime --scale full     # more of all, larger, and the goals
    python -m experiments.runtime --scale pretrained    # of a network of ImageNet
    python -m experiments.runtime --scale smoke    # everything tiny, seconds
    python -m experiments.runtime --scale paper --data imagenet/val    # hours

It needs the extra experiments, and writes runtime.json, .csv and its figures to
results/runtime. Features are those of a network trained here and of one with random
weights, of crops of photographs; at the scale pretrained (extra pretrained) of
EfficientNet-Lite0 as ImageNet trained it, at the scale paper of a ResNet101 and the
images of a folder. Whatever is compared takes turns within one run. "busy" is the share
of its core that a section of one core got: below 0.95 something else was running, and
the figures are not to be trusted. Each section that is finished is kept: interrupted,
the same command goes on with the next.

Expected at the scale full, of which each run ends with a table that says which of these
goals it met:

    table5       fastest other solver / ours at least 8 at S=256,
                 12 at S=1024, 20 at S=4096; by linear_assignment 14, 18
                 and 20, which takes at most 1.15 times as long
    adversarial  ours / SciPy at most 1, and always the optimum
    threads      with 2 threads 1.7 times the pairs a second
    rsm          ours / loop over OR-Tools at most 0.15 at S=256,
                 0.1 at S=1024; ours / products by BLAS at most 3, of a
                 ViT-B/16 2.5, at S=4096 6.5
    scaling      time of refined Batch-Optimal grows as S^1.15 at most;
                 99.4 % of the optimum after 4 sweeps at S=4096,
                 99.7 % after 12
    large        S=65,536: 97 % proven in 30 s and 2 GiB
"""
