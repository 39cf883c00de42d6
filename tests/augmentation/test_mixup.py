"""Mixup mixes images as targets, with Beta weights that only the seeds decide."""

import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

from breastus.augmentation.base import image_seed
from breastus.augmentation.mixup import mixup


def draw(count, alpha, epoch=0):
    seeds = tf.stack([image_seed(3, tf.constant(epoch), tf.constant(i)) for i in range(count)])
    # Image i is filled with i, and has a class of its own: the targets tell what was mixed.
    inputs = tf.reshape(tf.range(count, dtype=tf.float32), [-1, 1, 1, 1]) * tf.ones([1, 2, 2, 3])
    return *mixup(alpha, inputs, tf.eye(count), seeds), seeds


@pytest.mark.parametrize("alpha", [0.001, 0.2, 1.0, 10.0])
def test_images_and_targets_are_mixed_alike(alpha):
    inputs, targets, _ = draw(40, alpha)
    assert np.isfinite(inputs).all()
    np.testing.assert_allclose(np.sum(targets, axis=1), 1.0, rtol=1e-6)
    assert ((targets.numpy() > 0).sum(axis=1) <= 2).all()
    np.testing.assert_allclose(inputs[:, 0, 0, 0], targets.numpy() @ np.arange(40), rtol=1e-4)


@pytest.mark.parametrize(
    "alpha",
    [0.2, pytest.param(1.0, marks=pytest.mark.slow), pytest.param(4.0, marks=pytest.mark.slow)],
)
def test_weights_follow_the_beta_distribution(alpha):
    _, targets, _ = draw(400, alpha)
    shares = np.diag(targets)
    assert scipy.stats.kstest(shares, scipy.stats.beta(alpha, alpha).cdf).pvalue > 0.01


def test_mixup_is_a_function_of_the_seeds():
    first, again, other = draw(8, 1.0), draw(8, 1.0), draw(8, 1.0, epoch=1)
    np.testing.assert_array_equal(first[1], again[1])
    assert not np.array_equal(first[1], other[1])
    traced = tf.function(lambda seeds: mixup(1.0, tf.eye(8), tf.eye(8), seeds)[0])(first[2])
    np.testing.assert_allclose(traced, first[1], atol=1e-6)
