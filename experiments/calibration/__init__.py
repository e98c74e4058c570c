"""How often intervals and tests are right: simulated data sets whose truth is known.

Each data set has two views x1, x2 of what a third, y, depends on too; of all three RSMs
are made, or, of y, the Jensen-Shannon divergences of a readout. Its samples are
independent, or come in groups that share a part of their variance. Counted is how often

    permutation_test     rejects that x1 and an unrelated y are unrelated,
    difference_test      rejects that x1 and x2 are as close to y,
    bootstrap_interval   holds the value of the population,

each at the level 5 %: 5 %, 5 % and 95 % are right. Of mutual k-NN, whose value depends
on the number of samples, the mean over data sets stands for the population. Pairs
within groups are left out, except of mutual k-NN. Of scores it is counted how often
`paired_test` rejects a mean of zero, and how often its interval holds it.

    python -m experiments.calibration --scale quick

Features are Gaussian, Student's t with 1.5 degrees of freedom (no variance), or sparse:
max(z - 1, 0), which is zero in 5 of 6 cases.
"""
