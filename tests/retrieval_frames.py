"""Frames of EgoObjects and a tiny network, as the retrieval experiment takes them."""

import dataclasses

import numpy as np
import pytest
from checkpoints import write_vit
from retrieval_data import annotation, frame, write_ego

from experiments.retrieval.config import SCALES
from semrsm_jax.retrieval import AveragePooling

GROUPS, VIDEOS, FRAMES = 4, 2, 2


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return str(write_vit(tmp_path_factory.mktemp("network") / "tiny-vit"))


@pytest.fixture(scope="module")
def ego(tmp_path_factory):
    """Frames of 4 groups, each of which shows a category of its own, and one that all
    show.
    """
    images, annotations, pixels = [], [], []
    for number in range(GROUPS * VIDEOS * FRAMES):
        group, video = number // (VIDEOS * FRAMES), number // FRAMES % VIDEOS
        images.append(frame(number, f"G{group}", f"0{video}"))
        for category in (group, 9):
            annotations.append(annotation(len(annotations), number, category))
        rng = np.random.default_rng(number)
        pixels.append(rng.integers(256, size=(18, 32, 3), dtype=np.uint8))
    return write_ego(
        tmp_path_factory.mktemp("data") / "ego", images, annotations, pixels
    )


@pytest.fixture(scope="module")
def of_frames(ego, checkpoint):
    return dataclasses.replace(
        SCALES["paper"],
        networks=(checkpoint,),
        queries=6,
        sizes=(5, 10),
        k=3,
        resamples=50,
        shown=2,
        baselines=(("average pooling", AveragePooling()),),
        data=ego,
    )
