"""How matching tokens changes what CKA says of layers and networks, Appendix G.

    python -m experiments.cka                  # minutes, 2 quiet cores
    python -m experiments.cka --scale smoke    # everything tiny, seconds
    python -m experiments.cka --scale pretrained --images FOLDER
    python -m experiments.cka --scale paper --data FOLDER

It needs matplotlib and scikit-image, and writes cka.json, .csv and its figures to
results/cka. Of the same tokens of each layer it computes spatio-semantic RSMs (position
by position) and semantic ones (tokens matched), and asks three things. How alike are
both kinds of RSMs of a network (Fig. 15, linear and RBF kernel)? What does CKA between
its layers say by the one kind and by the other (Fig. 16)? And between networks that
differ in their seed or in their depth (Fig. 17)? Differences are semantic less
spatio-semantic; intervals are 95 % and resample images.

CKA is estimated without bias. The paper's estimator (Eq. 1) is biased, and high for few
images of many features whatever the networks do; its values stand in the table too.

Expected of `bundled`: CKA of both kinds of RSMs (linear) is 0.72 to 0.74 in the first
layer of the ResNets and 0.82 to 0.84 in the last, lower in the middle; 0.84 to 0.87 and
0.99 for the transformers. Matching changes CKA between layers by -0.10 to 0.18, on
average by 0.00 to 0.05 without bias. By the paper's estimator CKA across networks falls
by 0.10 and 0.11 for the ResNets, as in the paper, and rises by 0.02 for the
transformers.

`bundled` takes the small networks that come with the repository, on composed scenes.
`pretrained` (extra pretrained) compares EfficientNet-Lite 0 to 2 of ImageNet on crops
of scikit-image's photographs or those of --images, with intervals over photographs.
`paper` takes 1,000 images in RSMs of 250 of CIFAR-100, Tiny-ImageNet and ImageNet and
their ResNets 18, 34 and 101, and `paper-cifar100`, `paper-tiny-imagenet` and
`paper-imagenet` one of them; --help says what FOLDER must hold.
"""
