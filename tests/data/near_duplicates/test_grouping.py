"""Groups join what must not be split; contradictions are left out with their reason."""

import numpy as np
import pandas as pd
import pytest

from breastus.data.near_duplicates.grouping import TWIN_COLUMNS, components, curate


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


def _curate(table, fingerprints, **options):
    options = {"threshold": 0.76, "exclude_contradictions": True, **options}
    return curate(table, fingerprints, **options)[0]


def test_twins_are_listed_with_how_alike_they_are():
    scenes = _same_scene(2, others=1)
    mirrored = np.concatenate([scenes, scenes[2:, :, ::-1]])
    _, twins = curate(_table(["benign"] * 4), mirrored, threshold=0.76, exclude_contradictions=True)
    assert tuple(twins.columns) == TWIN_COLUMNS
    assert twins[["image_id", "twin_id", "kind"]].to_numpy().tolist() == [
        ["x/0", "x/1", "near-duplicate"],
        ["x/2", "x/3", "mirrored"],
    ]
    assert (twins["similarity"] > 0.99).all()


def test_groups_are_named_after_their_first_image():
    table = _curate(_table(["benign"] * 4), _same_scene(2, others=2))
    assert table["group_id"].tolist() == ["x/0", "x/0", "x/2", "x/3"]
    assert (table["excluded"] == "").all()


def test_patients_and_equal_files_join():
    frame = _table(["benign"] * 5, ["", "p", "", "p", ""])
    frame.loc[4, "sha256"] = "sha0"
    table = _curate(frame, _same_scene(1, others=4))
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
    table = _curate(_table(findings), _same_scene(2))
    if contradict:
        assert "near-duplicate of x/1" in table["excluded"][0]
        assert f"which is {findings[0]} and not {findings[1]}" in table["excluded"][1]
    else:
        assert (table["excluded"] == "").all()


def test_contradictions_can_be_kept():
    table = _curate(_table(["benign", "normal"]), _same_scene(2), exclude_contradictions=False)
    assert (table["excluded"] == "").all()
    assert table["group_id"].nunique() == 1


def test_frames_of_one_patients_sweep_do_not_contradict_each_other():
    table = _curate(_table(["benign", "normal"], ["p", "p"]), _same_scene(2))
    assert (table["excluded"] == "").all()
    table = _curate(_table(["benign", "normal"], ["p", "q"]), _same_scene(2))
    assert (table["excluded"] != "").all()
    assert table["group_id"].nunique() == 1
