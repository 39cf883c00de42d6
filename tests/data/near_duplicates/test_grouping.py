"""Groups join what must not be split; contradictions are excluded with their reason."""

import numpy as np
import pandas as pd
import pytest

from breastus.data.near_duplicates.grouping import (
    PAIR_COLUMNS,
    components,
    group_images,
    pairs_table,
)
from breastus.data.near_duplicates.search import near_duplicates


def test_components_join_chains():
    assert components(5, [0, 1], [1, 3]).tolist() == [0, 0, 1, 0, 2]


def _table(findings, patients=None):
    count = len(findings)
    labels = {"normal": "no_lump", "no_lump": "no_lump", "unknown": ""}
    return pd.DataFrame(
        {
            "image_id": [f"x/{i}" for i in range(count)],
            "patient_id": patients or [""] * count,
            "sha256": [f"sha{i}" for i in range(count)],
            "finding": findings,
            "label": [labels.get(f, "lump") for f in findings],
            "excluded": "",
        }
    )


def _same_scene(count, others=0):
    """Fingerprints of `count` images of one scene, and of others of their own."""
    rng = np.random.default_rng(0)
    scenes = rng.integers(20, 250, (1 + others, 16, 16), np.uint8).repeat(4, 1).repeat(4, 2)
    return np.concatenate([np.repeat(scenes[:1], count, axis=0), scenes[1:]])


def _group(table, fingerprints, **options):
    pairs = near_duplicates(fingerprints, threshold=0.76)
    options = {"exclude_contradictions": True, "patients": table["patient_id"], **options}
    return group_images(table, pairs, **options)


def test_pairs_are_listed_with_their_similarity():
    scenes = _same_scene(2, others=1)
    mirrored = np.concatenate([scenes, scenes[2:, :, ::-1]])
    pairs = pairs_table([f"x/{i}" for i in range(4)], near_duplicates(mirrored, threshold=0.76))
    assert tuple(pairs.columns) == PAIR_COLUMNS
    assert pairs[["image_id", "duplicate_id", "kind"]].to_numpy().tolist() == [
        ["x/0", "x/1", "near-duplicate"],
        ["x/2", "x/3", "mirrored"],
    ]
    assert (pairs["similarity"] > 0.99).all()


def test_groups_are_named_after_their_first_image():
    table = _group(_table(["benign"] * 4), _same_scene(2, others=2))
    assert table["group_id"].tolist() == ["x/0", "x/0", "x/2", "x/3"]
    assert (table["excluded"] == "").all()


def test_patients_and_equal_files_join():
    frame = _table(["benign"] * 5, ["", "p", "", "p", ""])
    frame.loc[4, "sha256"] = "sha0"
    table = _group(frame, _same_scene(1, others=4))
    assert table["group_id"].tolist() == ["x/0", "x/1", "x/2", "x/1", "x/0"]


@pytest.mark.parametrize(
    ("findings", "contradict"),
    [
        (["benign", "normal"], True),
        (["benign", "malignant"], True),
        (["benign", "benign"], False),
        (["unknown", "normal"], False),
    ],
)
def test_contradictions_are_excluded_with_the_reason(findings, contradict):
    table = _group(_table(findings), _same_scene(2))
    if contradict:
        assert "near-duplicate of x/1" in table["excluded"][0]
        assert f"which is {findings[0]} and not {findings[1]}" in table["excluded"][1]
    else:
        assert (table["excluded"] == "").all()


def test_an_image_of_which_nothing_is_known_contradicts_nothing():
    table = _group(_table(["unknown", "benign", "normal"]), _same_scene(3))
    assert (table["excluded"] != "").tolist() == [False, True, True]


@pytest.mark.parametrize(
    ("findings", "excluded"),
    [
        # A plain lump agrees with both kinds of lump, which still contradict each other.
        (["benign", "malignant", "lump"], [True, True, False]),
        (["lump", "benign", "malignant"], [False, True, True]),
        (["lump", "benign", "normal"], [True, True, True]),
        (["lump", "benign", "lump"], [False, False, False]),
        (["normal", "no_lump", "lump"], [True, True, True]),
        (["normal", "no_lump"], [False, False]),
        (["benign", "unknown", "normal"], [True, False, True]),
    ],
)
def test_labels_without_a_finding_hide_no_contradiction(findings, excluded):
    table = _table(findings)
    table["finding"] = table["finding"].where(
        ~table["finding"].isin(["lump", "no_lump"]), "unknown"
    )
    assert (_group(table, _same_scene(len(findings)))["excluded"] != "").tolist() == excluded


def test_earlier_groups_stay_together():
    table = _table(["benign"] * 3)
    grouped = _group(table, _same_scene(1, others=2), earlier_groups=["g", "", "g"])
    assert grouped["group_id"].tolist() == ["x/0", "x/1", "x/0"]


def test_contradictions_can_be_kept():
    table = _group(_table(["benign", "normal"]), _same_scene(2), exclude_contradictions=False)
    assert (table["excluded"] == "").all()
    assert table["group_id"].nunique() == 1


def test_frames_of_one_patients_sweep_do_not_contradict_each_other():
    table = _group(_table(["benign", "normal"], ["p", "p"]), _same_scene(2))
    assert (table["excluded"] == "").all()
    for patients in (["p", "q"], ["q", "p"]):
        table = _group(_table(["benign", "normal"], patients), _same_scene(2))
        assert (table["excluded"] != "").all()
        assert table["group_id"].nunique() == 1
