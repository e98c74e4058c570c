"""Time and quality of every matcher and solver: Table 5, Fig. 5, and beyond.

    python -m experiments.runtime                  # about 12 minutes on 2 quiet cores
    python -m experiments.runtime --scale smoke    # everything tiny, in seconds

needs the extras demo and test, and writes runtime.json and runtime.png to
results/runtime. Every ratio is taken within one run, with the calls compared taking
turns. `busy` in the output is the share of its core that a pinned section got: below
0.95, something else was running, and the figures are not to be trusted.

Expected, with features of an untrained network on photographs (goals in brackets; the
table at the end says which were met):

    table5       fastest peer / ours: 8 at S=256, 12 at S=1024, 20 at S=4096
    adversarial  ours / SciPy at most 2, and always the optimum
    threads      1.7 times the pairs a second with 2 threads
    rsm          ours / loop over OR-Tools at most 0.15 (S=256) and 0.1 (S=1024)
    scaling      exponent of refined Batch-Optimal at most 1.15; 99.4 % of the optimum
                 after 4 sweeps and 99.7 % after 12, at S=4096
    large        S=65,536: 97 % proven in 30 s and 2 GiB
"""
