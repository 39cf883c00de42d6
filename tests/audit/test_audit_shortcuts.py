"""Shortcuts: AUC and shares as counted by others, intervals that count groups and not images."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from breastus.audit.shortcuts import (
    ALL,
    flags_by_label,
    roc_auc_interval,
    statistics_by_label,
)
from breastus.data.image_statistics import STATISTICS


def _drawn(seed, count):
    rng = np.random.default_rng(seed)
    positive = rng.random(count) < 0.5
    positive[:4] = True, True, False, False
    return positive, np.round(rng.normal(size=count) + positive, 1)  # rounded: with ties


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(4, 40))
def test_auc_is_that_of_scikit_learn(seed, count):
    positive, scores = _drawn(seed, count)
    auc, low, high = roc_auc_interval(positive, scores, np.arange(count))
    assert auc == pytest.approx(roc_auc_score(positive, scores))
    if 0 < auc < 1:
        assert 0 <= low <= auc <= high <= 1


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(4, 20))
def test_the_variance_is_delongs_where_every_image_is_its_own_group(seed, count):
    positive, scores = _drawn(seed, count)
    wins = np.array(
        [[(a > b) + 0.5 * (a == b) for b in scores[~positive]] for a in scores[positive]]
    )
    auc = wins.mean()
    if auc in (0, 1):
        return
    variance = (
        wins.mean(axis=1).var(ddof=1) / wins.shape[0]
        + wins.mean(axis=0).var(ddof=1) / wins.shape[1]
    )
    half = 1.959964 * np.sqrt(variance) / (auc * (1 - auc))
    logit = np.log(auc / (1 - auc))
    expected = 1 / (1 + np.exp(-(logit + np.array([-half, half]))))
    assert roc_auc_interval(positive, scores, np.arange(count))[1:] == pytest.approx(expected)


@given(st.integers(0, 2**32 - 1), st.integers(2, 5))
def test_copies_in_a_group_do_not_narrow_the_interval(seed, times):
    positive, scores = _drawn(seed, 30)
    once = roc_auc_interval(positive, scores, np.arange(30))
    repeated = [np.repeat(values, times) for values in (positive, scores, np.arange(30))]
    assert roc_auc_interval(*repeated) == pytest.approx(once)


def test_what_is_undefined():
    scores = np.array([1.0, 2.0, 3.0, 4.0])
    groups = np.arange(4)
    assert np.isnan(roc_auc_interval([True] * 4, scores, groups)).all()
    auc, low, high = roc_auc_interval([False, False, True, True], scores, groups)
    assert (auc, np.isnan(low), np.isnan(high)) == (1.0, True, True)
    auc, low, _ = roc_auc_interval([False, True, False, True], scores, [0, 1, 2, 1])
    assert (auc, np.isnan(low)) == (0.75, True)  # one group of lumps


def used(lump_flags, no_lump_flags, sources=None) -> pd.DataFrame:
    flags = [*lump_flags, *no_lump_flags]
    return pd.DataFrame(
        {
            "image_id": [f"x/{i}" for i in range(len(flags))],
            "source": sources or "x",
            "label": ["lump"] * len(lump_flags) + ["no_lump"] * len(no_lump_flags),
            "group_id": [f"g{i}" for i in range(len(flags))],
            "flags": flags,
        }
    )


def test_flags_are_counted_by_label():
    table = used(["caliper;text"] * 8 + [""] * 2, ["text"] * 7 + ["caliper"] + [""] * 2)
    found = flags_by_label(table).set_index("flag")
    assert list(found.index) == ["caliper", "text"]  # the largest difference first
    assert found.loc["caliper", ["lump", "lump_images", "no_lump", "no_lump_images"]].tolist() == [
        *(8, 10, 1, 10),
    ]
    assert found.loc["caliper", "difference"] == pytest.approx(0.7)
    assert found.loc["caliper", "low"] > 0
    assert found.loc["text", "low"] < 0 < found.loc["text", "high"]


def test_one_patients_marks_prove_little():
    table = used(["caliper"] * 20 + [""] * 20, [""] * 40)
    apart = flags_by_label(table).iloc[0]
    table["group_id"] = ["p"] * 20 + ["q"] * 20 + ["r"] * 20 + ["s"] * 20
    together = flags_by_label(table).iloc[0]
    assert apart["low"] > 0
    assert together["low"] < 0
    assert together["difference"] == apart["difference"]


def test_sources_stand_apart_and_together():
    table = used(["caliper", ""], ["", ""], ["a", "b", "a", "b"])
    assert flags_by_label(table)["source"].tolist() == [ALL, "a"]


def test_one_class_only():
    found = flags_by_label(used(["caliper", ""], [])).iloc[0]
    assert found["lump"] == 1
    assert np.isnan([found["difference"], found["low"], found["high"]]).all()
    assert flags_by_label(used([], [])).empty


def test_statistics_leave_unreadable_images_out():
    table = used([""] * 3, [""] * 3)
    measured = pd.DataFrame(
        {name: [5.0, 6.0, np.nan, 1.0, 2.0, 9.0] for name in STATISTICS}, index=table["image_id"]
    )
    found = statistics_by_label(table, measured)
    assert set(found["statistic"]) == set(STATISTICS)
    assert found["auc"].to_numpy() == pytest.approx(4 / 6)
