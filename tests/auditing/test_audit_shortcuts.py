"""Shortcuts: AUC and shares as counted by others, intervals that count groups and not images."""

import numpy as np
import pandas as pd
import pytest

from breastus.auditing.shortcuts import (
    ALL,
    flags_by_label,
    statistics_by_label,
)
from breastus.data.image_statistics import STATISTICS


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


def test_a_statistic_that_separates_the_classes_has_an_interval():
    table = used([""] * 10, [""] * 10)
    measured = pd.DataFrame({name: np.arange(20.0) for name in STATISTICS}, index=table["image_id"])
    found = statistics_by_label(table, measured)
    assert (found["auc"] == 0).all()  # lump images have the smaller values
    assert (found["low"] == 0).all()
    assert found["high"].to_numpy() == pytest.approx(0.28, abs=0.01)  # Wilson's of 0 of 10 pairs


def test_one_class_has_no_auc():
    table = used([""] * 4, [])
    measured = pd.DataFrame({name: np.arange(4.0) for name in STATISTICS}, index=table["image_id"])
    assert statistics_by_label(table, measured)[["auc", "low", "high"]].isna().all(axis=None)
