"""Subgroups: worked examples, sizes in thirds, too few groups, and what is refused."""

from operator import itemgetter

import numpy as np
import pytest
from prediction_tables import subgroup_tables

from breastus.evaluation.intervals.proportions import wilson_interval
from breastus.evaluation.metrics.metrics import roc_auc
from breastus.evaluation.metrics.subgroups import MINIMUM, subgroups


def judged(predictions, attributes):
    shared = {"threshold": 0.5, "confidence": 0.95, "whole": None}
    return subgroups(predictions, attributes, **shared)


def family(result, name):
    return next(f for f in result["attributes"] if f["name"] == name)


def part(result, name, title):
    return next(p for p in family(result, name)["subgroups"] if p["title"].startswith(title))


def test_findings_are_each_set_against_the_others():
    predictions, attributes = subgroup_tables()
    result = judged(predictions, attributes)
    prob = predictions["probability"].to_numpy()
    found = predictions["finding"].to_numpy()
    malignant = part(result, "finding", "malignant")
    assert (malignant["n"], malignant["n_lump"], malignant["n_no_lump"]) == (10, 10, 0)
    hits = int((prob[found == "malignant"] >= 0.5).sum())
    assert malignant["sensitivity"]["value"] == hits / 10
    low, high = wilson_interval(hits, 10)  # each image is a group
    assert malignant["sensitivity"]["ci_low"] == pytest.approx(low)
    assert malignant["sensitivity"]["ci_high"] == pytest.approx(high)
    chosen = found != "benign"
    truth = (found[chosen] == "malignant").astype(int)
    assert malignant["roc_auc"]["value"] == pytest.approx(roc_auc(truth, prob[chosen]))
    assert malignant["roc_auc"]["ci_low"] < malignant["roc_auc"]["value"]
    assert malignant["compared_with"] == "all images without a lump"
    assert malignant["specificity"]["reason"] == "no images without a lump"
    normal = part(result, "finding", "normal")
    assert normal["specificity"]["value"] == (prob[found == "normal"] < 0.5).mean()
    assert normal["sensitivity"]["reason"] == "no lumps"
    assert normal["roc_auc"]["value"] == part(result, "all", "all")["roc_auc"]["value"]


def test_all_images_of_a_class_have_the_interval_of_the_whole():
    predictions, attributes = subgroup_tables()
    whole = {
        name: {"value": 0.5, "ci_low": 0.25, "ci_high": 0.75}
        for name in ("sensitivity", "specificity", "roc_auc")
    }
    result = subgroups(predictions, attributes, threshold=0.5, confidence=0.95, whole=whole)
    alone = judged(predictions, attributes)
    bounds = itemgetter("value", "ci_low", "ci_high")
    for name in whole:
        assert bounds(part(result, "all", "all")[name]) == (0.5, 0.25, 0.75)
    # Normal images are all that have no lump; benign lumps are a part of the lumps.
    assert bounds(part(result, "finding", "normal")["specificity"]) == (0.5, 0.25, 0.75)
    assert part(result, "finding", "benign") == part(alone, "finding", "benign")
    assert part(result, "finding", "normal")["sensitivity"]["reason"] == "no lumps"


def test_grouped_images_are_worth_less():
    predictions, attributes = subgroup_tables()
    # Groups of two whose calls agree: half as many independent images.
    predictions["group_id"] = [f"g{i // 2}" for i in range(50)]
    predictions["probability"] = np.repeat(np.where(np.arange(25) % 5 < 2, 0.9, 0.1), 2)
    benign = part(judged(predictions, attributes), "finding", "benign")["sensitivity"]
    assert benign["value"] == 0.4
    low, high = wilson_interval(0.4 * 10, 10)
    assert benign["ci_low"] == pytest.approx(low, abs=0.02)
    assert benign["ci_high"] == pytest.approx(high, abs=0.02)


def test_lumps_by_size_in_thirds():
    predictions, attributes = subgroup_tables(["normal"] * 6 + ["benign"] * 16)
    known = [0.01 * i for i in range(1, 16)]
    attributes["lesion_area_fraction"] = [0.5] + [0.0] * 5 + [np.nan] + known
    result = judged(predictions, attributes)
    sizes = family(result, "lesion_area_fraction")
    titles = ["small, up to 5.67 %", "middle, 5.67 to 10.3 %", "large, above 10.3 %"]
    assert [p["title"] for p in sizes["subgroups"]] == titles
    assert [p["n"] for p in sizes["subgroups"]] == [5, 5, 5]
    assert sizes["note"] == "Thirds of the 15 lumps whose size is known. Of 1 it is not."
    attributes["lesion_area_fraction"] = np.nan
    result = judged(predictions, attributes)
    assert not any(f["name"] == "lesion_area_fraction" for f in result["attributes"])


def test_flags_and_sources_divide_all():
    result = judged(*subgroup_tables())
    for name in ("flag:caliper", "flag:text", "source"):
        assert sum(p["n"] for p in family(result, name)["subgroups"]) == 50
        assert not any(p["compared_with"] for p in family(result, name)["subgroups"])
    assert part(result, "flag:caliper", "with")["n"] == 17
    assert [p["title"] for p in family(result, "source")["subgroups"]] == ["bus_uclm", "busi"]
    predictions, attributes = subgroup_tables()
    unknown = attributes.assign(source="busi", flags="", lesion_area_fraction=np.nan)
    result = judged(predictions, unknown)
    assert [f["name"] for f in result["attributes"]] == ["all", "finding"]


@pytest.mark.parametrize("count", [MINIMUM - 1, MINIMUM])
def test_too_few_groups_have_no_score_and_a_reason(count):
    predictions, attributes = subgroup_tables(["normal"] * 10 + ["malignant"] * count * 2)
    predictions["group_id"] = [f"g{i}" for i in range(10)] + [
        f"h{i // 2}" for i in range(2 * count)
    ]
    found = part(judged(predictions, attributes), "finding", "malignant")
    few = count < MINIMUM
    assert found["n_groups"] == count
    for name in ("sensitivity", "roc_auc"):
        assert np.isnan(found[name]["value"]) == few
        reason = f"lumps of {count} groups, fewer than {MINIMUM}" if few else ""
        assert found[name]["reason"] == reason


def test_seeds_repeat():
    predictions, attributes = subgroup_tables(["normal"] * 20 + ["malignant"] * 3)
    assert str(judged(predictions, attributes)) == str(judged(predictions, attributes))
