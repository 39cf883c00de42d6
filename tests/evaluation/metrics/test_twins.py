"""Scores with and without a twin in training equal the scores of two parts of the images."""

import math

import numpy as np
import prediction_tables
import pytest
from sklearn.metrics import recall_score, roc_auc_score

from breastus.evaluation.intervals.delong import delong_interval
from breastus.evaluation.intervals.proportions import clustered_proportion
from breastus.evaluation.metrics.twins import WITH, WITHOUT, part_scores, scores_by_twin


def predictions(**options):
    return prediction_tables.predictions(**options).assign(threshold=0.5)


def parts(tables, twins):
    return {p["title"]: p for p in scores_by_twin(tables, twins)["attributes"][1]["subgroups"]}


def test_each_part_has_its_own_scores():
    table = predictions()
    twins = set(table["image_id"][::3])
    found = parts([table], twins)
    assert set(found) == {WITH, WITHOUT}
    for title, inside in ((WITH, table["image_id"].isin(twins)), (WITHOUT, None)):
        rows = table[inside if inside is not None else ~table["image_id"].isin(twins)]
        truth, called = rows["label"] == "lump", rows["probability"] >= 0.5
        one = found[title]
        assert (one["n"], one["n_lump"]) == (len(rows), truth.sum())
        assert one["sensitivity"]["value"] == pytest.approx(recall_score(truth, called))
        assert one["specificity"]["value"] == pytest.approx(recall_score(~truth, ~called))
        assert one["roc_auc"]["value"] == pytest.approx(roc_auc_score(truth, rows["probability"]))
        # The intervals equal those of subgroups.
        groups = rows["group_id"].tolist()
        area = delong_interval(truth.astype(int), rows["probability"], groups)
        share = clustered_proportion(called[truth], rows["group_id"][truth])
        for name, other in (("roc_auc", area), ("sensitivity", share)):
            for end in ("ci_low", "ci_high"):
                assert one[name][end] == pytest.approx(other[end])


def test_several_runs_are_averaged():
    tables = [predictions(seed=0), predictions(seed=1)]
    twins = set(tables[0]["image_id"][::2])
    both = parts(tables, twins)
    each = [parts([one], twins) for one in tables]
    for title in (WITH, WITHOUT):
        for name in ("sensitivity", "specificity", "roc_auc"):
            mean = np.mean([one[title][name]["value"] for one in each])
            assert both[title][name]["value"] == pytest.approx(mean)
            assert both[title]["n"] == each[0][title]["n"]
            assert both[title][name]["ci_low"] < mean < both[title][name]["ci_high"]


def test_a_score_of_few_groups_is_undefined_and_says_why():
    table = predictions(lumps=40, others=6)  # two images a group
    one = part_scores([table])
    assert math.isnan(one["specificity"]["value"])
    assert "3 groups, fewer than 5" in one["specificity"]["reason"]
    assert "3 groups" in one["roc_auc"]["reason"]
    assert one["sensitivity"]["value"] > 0
    assert part_scores([table.iloc[:0]])["sensitivity"]["reason"] == "no lumps"
