"""The table of entries and the file in the package are made from the recorded predictions."""

import numpy as np
import pandas as pd
import pytest

from breastus.data.splits import benchmark
from breastus.errors import RunError
from breastus.evaluation.comparison.baselines import BASELINES, FOLDER
from experiments import entries
from experiments.recipes.benchmark import ENTRY, SPLIT, TITLE, out_of_fold


def test_the_package_ships_the_recorded_predictions():
    shipped = pd.read_csv(FOLDER / f"{SPLIT}.csv", dtype={"image": str})
    _, recorded = entries.read_entries()
    recorded = recorded[recorded["entry"] == ENTRY]
    assert len(shipped) == shipped["image"].nunique() == len(recorded)
    for ours, theirs in ((ENTRY, "probability"), (f"{ENTRY}_threshold", "threshold")):
        assert sorted(shipped[ours]) == sorted(recorded[theirs])
    assert BASELINES[ENTRY] == TITLE


def test_an_entry_of_another_split_is_refused(monkeypatch):
    monkeypatch.setitem(benchmark.NAMED_SPLITS, SPLIT, "0" * 64)
    with pytest.raises(RunError, match=f"{ENTRY} is of {SPLIT}, d73939530e0a, which the package"):
        entries.section()


def test_nothing_is_chosen_on_the_tested_fold():
    rng = np.random.default_rng(0)
    lump, fold = rng.integers(0, 2, 100), np.arange(100) % 5
    features = rng.normal(size=(100, 4)) + lump[:, None]
    found = out_of_fold(features, lump, fold)
    assert found.notna().all(axis=None)
    other = np.where(fold == 2, 1 - lump, lump)
    again = out_of_fold(features, other, fold)
    pd.testing.assert_frame_equal(found[fold == 2], again[fold == 2])
    assert not found[fold == 1].equals(again[fold == 1])  # fold 2 validates there
