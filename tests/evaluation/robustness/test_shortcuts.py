"""The shortcut test, on models that are known to look at marks, or not to."""

import math

import numpy as np
import pytest

from breastus.evaluation.robustness.shortcuts import flip_rate


def white(images):
    """A model that sees nothing but white pixels."""
    return np.array([0.9 if (image == 255).any() else 0.2 for image in images])


def mark(image, number):
    marked = image.copy()
    marked[number, 0] = 255
    return marked


def wipe(image, number):
    return np.minimum(image, 100)


SETTINGS = {"threshold": 0.5, "confidence": 0.95}


def test_a_model_of_marks_flips_always_and_one_of_tissue_never():
    plain = [np.full((9, 9, 3), 40, np.uint8)] * 8
    groups = list("aabbccdd")
    drawn = flip_rate(plain, groups, predict=white, change=mark, to_lump=True, **SETTINGS)
    assert (drawn["n"], drawn["n_groups"], drawn["flipped"], drawn["flip_rate"]) == (8, 4, 8, 1.0)
    assert drawn["mean_probability_change"] == pytest.approx(0.7)
    assert drawn["ci_low"] == pytest.approx(0.51, abs=0.01)  # Wilson's of 4 of 4 groups
    assert drawn["ci_high"] == 1.0

    marked = [mark(image, 0) for image in plain]
    removed = flip_rate(marked, groups, predict=white, change=wipe, to_lump=False, **SETTINGS)
    assert removed["flipped"] == 8
    assert removed["mean_probability_change"] == pytest.approx(-0.7)

    def tissue(images):
        return np.array([float(image[8, 8, 0] > 50) for image in images])

    calm = flip_rate(plain, groups, predict=tissue, change=mark, to_lump=True, **SETTINGS)
    assert (calm["flipped"], calm["flip_rate"], calm["mean_probability_change"]) == (0, 0.0, 0.0)


def test_a_flip_the_other_way_is_none():
    marked = [mark(np.zeros((9, 9, 3), np.uint8), 0)] * 3
    found = flip_rate(marked, "abc", predict=white, change=wipe, to_lump=True, **SETTINGS)
    assert found["flipped"] == 0
    assert found["mean_probability_change"] == pytest.approx(-0.7)


def test_without_images_it_is_undefined():
    none = flip_rate([], [], predict=white, change=mark, to_lump=True, **SETTINGS)
    assert (none["n"], none["flipped"]) == (0, 0)
    assert all(
        math.isnan(none[key])
        for key in ("flip_rate", "ci_low", "ci_high", "mean_probability_change")
    )
