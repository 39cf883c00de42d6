"""The mean over views of test-time augmentation is a mean of logits."""

import numpy as np
import pytest

from breastus.evaluation.tta import VIEWS
from breastus.training.predict_fn import mean_over_views

TWO, FOUR = VIEWS["flip"], VIEWS["flip_zoom"]


def answers(*lumps):
    """Return a predict function that gives each view in turn its probability of lump."""
    left = iter(lumps)
    return lambda view: np.array([[1 - (p := next(left)), p]])


def test_the_mean_is_one_of_logits_and_of_either_class():
    found = mean_over_views(answers(0.9, 0.4), TWO)
    logits = np.log(0.9 / 0.1), np.log(0.4 / 0.6)
    assert found[0, 1] == pytest.approx(1 / (1 + np.exp(-np.mean(logits))))
    swapped = mean_over_views(answers(0.1, 0.6), TWO)
    np.testing.assert_allclose(found, swapped[:, ::-1])


def test_views_that_agree_change_nothing():
    np.testing.assert_allclose(mean_over_views(answers(0.7, 0.7), TWO), [[0.3, 0.7]])


def test_one_certain_view_does_not_outvote_the_others():
    found = mean_over_views(answers(1.0, 0.01, 0.01, 0.01), FOUR)
    assert 0.4 < found[0, 1] < 0.6  # 1 if the probability were not bounded
    assert mean_over_views(answers(1.0), VIEWS["none"])[0, 1] > 0.99999
