"""Intervals of shares agree with what was published; repeated images count once."""

from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from breastus.evaluation.intervals.proportions import (
    effective_size,
    newcombe_interval,
    wilson_interval,
)


@pytest.mark.parametrize(
    # Newcombe, Statistics in Medicine 17 (1998) 857, table I, method 3.
    ("part", "whole", "low", "high"),
    [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson(part, whole, low, high):
    assert wilson_interval(part, whole) == pytest.approx((low, high), abs=5e-5)
    assert np.isnan(wilson_interval(0, 0)).all()


@pytest.mark.parametrize(
    # Newcombe, Statistics in Medicine 17 (1998) 873, table II, method 10.
    ("counts", "low", "high"),
    [
        ((56, 70, 48, 80), 0.0524, 0.3339),
        ((9, 10, 3, 10), 0.1705, 0.8090),
        ((5, 56, 0, 29), -0.0381, 0.1926),
        ((10, 10, 0, 10), 0.6075, 1.0),
    ],
)
def test_newcombe(counts, low, high):
    assert newcombe_interval(*counts) == pytest.approx((low, high), abs=5e-5)
    turned = newcombe_interval(*counts[2:], *counts[:2])
    assert turned == pytest.approx((-high, -low), abs=5e-5)


def test_a_difference_to_nothing_is_undefined():
    assert np.isnan(newcombe_interval(1, 2, 0, 0)).all()


@given(st.integers(0, 2**32 - 1), st.integers(4, 40), st.integers(2, 5))
def test_repeating_images_adds_next_to_nothing(seed, count, times):
    hits = np.random.default_rng(seed).random(count) < 0.5
    hits[:2] = True, False  # a share of 0 or 1 counts groups alone
    once = effective_size(hits, np.arange(count))
    assert once == pytest.approx(count)
    repeated = effective_size(np.repeat(hits, times), np.repeat(np.arange(count), times))
    assert count - 1 <= repeated <= count + 1e-9


def test_a_share_of_nothing_or_all_counts_groups():
    assert effective_size([False] * 6, list("aabbcc")) == 3
    assert effective_size([True, False], ["a", "a"]) == 1
    assert effective_size([], []) == 0


@pytest.mark.parametrize("count", [7, 13, 40, 147, 500])
def test_all_and_none_reach_the_ends(count):
    assert wilson_interval(count, count)[1] == 1.0
    assert wilson_interval(0, count)[0] == 0.0


def test_images_that_differ_within_a_group_are_worth_more_the_more_groups_there_are():
    for groups, worth in ((10, 13.3), (1000, 1980)):
        hits = [True, False] * groups
        assert effective_size(hits, np.repeat(np.arange(groups), 2)) == pytest.approx(worth, 0.01)


def test_groups_of_uneven_size_are_worth_fewer():
    # One group holds nearly all images: they are worth little more than one image.
    groups = np.append(np.zeros(97), [1, 2, 3])
    assert effective_size(np.full(100, True), groups) == pytest.approx(100**2 / (97**2 + 3))
    one_miss = np.append(np.full(99, True), False)
    assert effective_size(one_miss, groups) < 1.5


@pytest.mark.parametrize(
    ("sizes", "within"),
    [
        ([1] * 60, 0.0),
        ([3] * 60, 0.9),
        ([1, 2, 3, 5] * 10, 0.3),
        ([1, 1, 1, 20] * 7, 0.9),
        ([1, 1, 1, 20] * 15, 0.9),
        ([20] * 8, 0.95),  # like a hospital of few patients
    ],
)
@pytest.mark.parametrize("share", [0.75, 0.9])
def test_coverage_is_what_it_says(sizes, within, share):
    rng = np.random.default_rng(0)
    member = np.repeat(np.arange(len(sizes)), sizes)
    limit, held = NormalDist().inv_cdf(share), 0
    for _ in range(400):
        score = np.sqrt(within) * rng.normal(size=len(sizes))[member]
        hits = score + np.sqrt(1 - within) * rng.normal(size=len(member)) < limit
        worth = effective_size(hits, member)
        low, high = wilson_interval(hits.mean() * worth, worth)
        held += low <= share <= high
    assert held / 400 >= 0.92  # 0.95 less what 400 trials leave open
