"""McNemar's test equals published p-values and, for groups, every sign written out."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, binomtest, chi2

from breastus.errors import UndefinedMetricWarning
from breastus.evaluation.comparison.mcnemar import mcnemar


def calls(only_ours, only_theirs, both=5):
    ours = np.array([True] * only_ours + [False] * only_theirs + [True] * both)
    return ours, np.array([False] * only_ours + [True] * only_theirs + [True] * both)


def test_a_published_case():
    # Airway hyper-responsiveness before and after transplantation: 1 and 7 of 21 children.
    # Fagerland, Lydersen, Laake 2013, table 1; the exact conditional p-value is 0.0703.
    found = mcnemar(*calls(1, 7, 13))
    assert found["p_value"] == pytest.approx(0.0703, abs=5e-5)
    assert found == {
        "n": 21,
        "n_groups": 21,
        "only_ours": 1,
        "only_theirs": 7,
        "discordant_groups": 8,
        "p_value": found["p_value"],
        "test": "exact",
    }


@pytest.mark.parametrize(("first", "second"), [(3, 8), (8, 3), (0, 5), (6, 6), (12, 12), (0, 24)])
def test_few_are_judged_by_the_binomial(first, second):
    found = mcnemar(*calls(first, second))
    assert found["test"] == "exact"
    expected = binomtest(first, first + second).pvalue
    assert found["p_value"] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(("first", "second"), [(9, 16), (0, 25), (30, 30), (200, 260)])
def test_many_are_judged_by_mid_p(first, second):
    found = mcnemar(*calls(first, second))
    assert found["test"] == "mid-p"
    number = first + second
    mid = 2 * binom.cdf(min(first, second), number, 0.5) - binom.pmf(first, number, 0.5)
    if first == second:
        mid = 1 - binom.pmf(first, number, 0.5) / 2
    assert found["p_value"] == pytest.approx(mid, abs=1e-12)


images = st.lists(
    st.tuples(st.booleans(), st.booleans(), st.integers(0, 6)), min_size=1, max_size=25
)


@settings(max_examples=60, deadline=None)
@given(images, st.randoms(use_true_random=False))
def test_groups_are_turned_whole(rows, random):
    ours, theirs, groups = (np.array(column) for column in zip(*rows, strict=True))
    found = mcnemar(ours, theirs, groups)
    balance = [int((ours[groups == g]).sum() - (theirs[groups == g]).sum()) for g in set(groups)]
    sums = [abs(np.dot(signs, balance)) for signs in product((1, -1), repeat=len(balance))]
    assert found["p_value"] == pytest.approx(np.mean(np.array(sums) >= abs(sum(balance))))
    assert found["only_ours"] - found["only_theirs"] == sum(balance)
    # Neither the order of images counts nor which model comes first.
    mixed = [np.array(c) for c in zip(*random.sample(rows, len(rows)), strict=True)]
    assert mcnemar(*mixed)["p_value"] == pytest.approx(found["p_value"])
    assert mcnemar(theirs, ours, groups)["p_value"] == pytest.approx(found["p_value"])


def test_repeated_images_are_no_evidence():
    ours, theirs = calls(1, 7)
    once = mcnemar(ours, theirs)["p_value"]
    ours, theirs, groups = np.repeat(ours, 4), np.repeat(theirs, 4), np.repeat(np.arange(13), 4)
    assert mcnemar(ours, theirs, groups)["p_value"] == pytest.approx(once)
    assert mcnemar(ours, theirs)["p_value"] < once / 20


def test_many_groups_come_to_obuchowskis_chi_square():
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(800), 4)
    # A group's images are about as hard, for each model in its own way.
    ours, theirs = (
        rng.random(3200) < np.repeat(rng.beta(2 + shift, 1, 800), 4) for shift in (0.3, 0.0)
    )
    balance = np.bincount(groups, ours.astype(int) - theirs.astype(int))
    statistic = balance.sum() ** 2 / (800 / 799 * (balance**2).sum())
    found = mcnemar(ours, theirs, groups)
    assert 0.001 < found["p_value"] < 0.5
    assert found["p_value"] == pytest.approx(chi2.sf(statistic, 1), rel=0.02)


def test_it_errs_as_often_as_it_says():
    rng = np.random.default_rng(0)
    wrong = {"by group": 0, "by image": 0}
    groups = np.repeat(np.arange(50), 4)
    for _ in range(300):
        ours, theirs = (rng.random(200) < np.repeat(rng.beta(1, 0.5, 50), 4) for _ in range(2))
        wrong["by group"] += mcnemar(ours, theirs, groups)["p_value"] < 0.05
        wrong["by image"] += mcnemar(ours, theirs)["p_value"] < 0.05
    assert 0.02 <= wrong["by group"] / 300 <= 0.08
    assert wrong["by image"] / 300 > 0.1


def test_alike_is_no_difference_and_nothing_is_undefined():
    assert mcnemar(*calls(0, 0))["p_value"] == 1
    with pytest.warns(UndefinedMetricWarning, match="no p-value without images"):
        assert np.isnan(mcnemar([], [])["p_value"])


@pytest.mark.parametrize(
    ("ours", "theirs", "groups", "message"),
    [
        ([True], [True, False], None, "same length"),
        ([1.0, np.nan], [True, False], None, "must be boolean.* Received: float64"),
        ([[True]], [[True]], None, "must be boolean"),
        ([True, False], [True, False], [1], "the group of each of 2 images"),
    ],
)
def test_wrong_arguments_are_refused(ours, theirs, groups, message):
    with pytest.raises(ValueError, match=message):
        mcnemar(ours, theirs, groups)
