"""The frame of all experiments: what a study is, how it runs, what it leaves.

    study.py          `Study`: config, run, table, figures, findings of an experiment;
                      a benchmark is a study of measurements that have goals
    finding.py        `Finding`: a statement of the paper beside our numbers, as data;
                      `Section`: what the results page writes around them;
                      `Measurement`: a measured number and its goal
    session.py        `Session`: steps that are done once and resumed, progress
    conduct.py        `conduct`: runs what is missing of a study and writes its files
    command_line.py   `command`, `questions`: the command line of every study
    networks.py       networks by value: shipped, published, or never trained
    worker.py         processes with their own threads, cores and memory
    timing.py         times of calls that take turns
    environment.py    machine, versions, and values that JSON can express
    figures.py        what the figures of several experiments have in common
    checks.py         checks of configs

An experiment is a folder with `config.py` (frozen dataclasses, `SCALES`), `measure.py`
(`run(config, session)`), `figures.py`, `findings.py` (`findings(result)` and
`SECTION`), `study.py` (`STUDY`) and `__main__.py` (``command(STUDY)()``);
`experiments.translation` is the example.

This package imports nothing by itself: `worker` is imported in new processes before
their thread counts are set, which NumPy and JAX read.
"""
