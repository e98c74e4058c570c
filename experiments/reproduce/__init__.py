"""All experiments of the paper, and one page that sets ours beside them.

    python -m experiments.reproduce                       # 2 quiet cores, < 45 minutes
    python -m experiments.reproduce --scale smoke         # everything tiny
    python -m experiments.reproduce --scale pretrained -o results/pretrained
    python -m experiments.reproduce --scale pretrained --images FOLDER
    python -m experiments.reproduce --only translation --only cka
    python -m experiments.reproduce --scale paper --data translation=imagenet/val

It needs the extra experiments, and writes results/results.md, which says for each
experiment what it asks, what the paper found, what was found here and whether that
agrees; it shows the figures, which are in a folder an experiment with all numbers. The
page is written anew after each experiment. One that fails does not stop the others; the
page says what happened, and the exit code is 1 at the end. Interrupted, the same
command goes on where it stopped; what is finished is not computed again.

The scale pretrained takes networks with the weights that ImageNet gave them (extra
pretrained), on scikit-image's photographs or those of --images, and 15 minutes.

Each experiment also has a command of its own, python -m experiments.NAME, with the same
results in the same place.
"""
