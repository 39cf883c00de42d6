"""The order of an epoch: every image in it, the classes as even as asked for, the same by seed."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from breastus.training.sampling import epoch_order


def draws(labels, strategy, epoch=0, seed=0):
    order, count = epoch_order(labels, strategy=strategy, seed=seed)
    found = order(tf.constant(epoch)).numpy()
    assert len(found) == count
    return found


STRATEGIES = ("all", "oversample", "balanced")
label_lists = st.lists(st.integers(0, 1), min_size=2, max_size=40).filter(
    lambda labels: len(set(labels)) == 2
)


@settings(max_examples=40, deadline=None)
@given(label_lists, st.sampled_from(STRATEGIES), st.integers(0, 5))
def test_every_image_comes_and_no_draw_twice(labels, strategy, epoch):
    found = draws(labels, strategy, epoch)
    assert len(set(found)) == len(found)
    assert set(found % len(labels)) == set(range(len(labels)))
    drawn = np.array(labels)[found % len(labels)]
    if strategy != "all":
        assert (drawn == 0).sum() == (drawn == 1).sum()
    if strategy == "balanced":
        assert (drawn.reshape(-1, 2).sum(axis=1) == 1).all()
    # A class's images come equally often, give or take one.
    for label in (0, 1):
        images = np.flatnonzero(np.array(labels) == label)
        counts = [(found % len(labels) == image).sum() for image in images]
        assert max(counts) - min(counts) <= 1


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_epochs_and_seeds_differ_and_repeat(strategy):
    labels = [0, 1, 1, 1, 1, 1, 0, 1, 1, 1]
    first = draws(labels, strategy)
    np.testing.assert_array_equal(first, draws(labels, strategy))
    assert not np.array_equal(first, draws(labels, strategy, epoch=1))
    assert not np.array_equal(first, draws(labels, strategy, seed=1))
