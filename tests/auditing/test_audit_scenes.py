"""Scenes: near-duplicates form them, and the most alarming come first."""

import pandas as pd

from breastus.auditing.scenes import scenes


def manifest(*rows) -> pd.DataFrame:
    """A table of (finding, source, patient) a row."""
    labels = {"normal": "no_lump", "no_lump": "no_lump", "unknown": ""}
    return pd.DataFrame(
        {
            "image_id": [f"x/{i}" for i in range(len(rows))],
            "finding": [row[0] for row in rows],
            "label": [labels.get(row[0], "lump") for row in rows],
            "source": [row[1] for row in rows],
            "patient_id": [row[2] for row in rows],
        }
    )


def duplicates(*pairs) -> pd.DataFrame:
    return pd.DataFrame(
        [(f"x/{a}", f"x/{b}", similarity) for a, b, similarity in pairs],
        columns=["image_id", "duplicate_id", "similarity"],
    )


def test_what_alarms_comes_first():
    table = manifest(
        *[("benign", "a", "p")] * 4,  # frames of one patient, the largest
        *[("benign", "a", "")] * 3,
        *[("benign", "a", ""), ("benign", "b", "")],  # two sources
        *[("benign", "a", ""), ("malignant", "a", "")],
        *[("benign", "a", ""), ("normal", "a", "")],
        ("normal", "a", ""),  # alone
    )
    pairs = [(0, 1), (1, 2), (2, 3), (4, 5), (5, 6), (7, 8), (9, 10), (11, 12)]
    found = scenes(table, duplicates(*((a, b, 0.7 + a / 100) for a, b in pairs)))
    assert [scene.image_ids for scene in found] == [
        ("x/11", "x/12"),
        ("x/9", "x/10"),
        ("x/7", "x/8"),
        ("x/4", "x/5", "x/6"),
        ("x/0", "x/1", "x/2", "x/3"),
    ]
    assert [scene.findings for scene in found[:3]] == [
        ("benign", "normal"),
        ("benign", "malignant"),
        (),
    ]
    assert found[2].sources == ("a", "b")
    assert found[4].one_patient
    assert found[4].similarity == (0.7, 0.72)


def test_frames_of_one_patient_do_not_contradict_each_other():
    both = [("benign", "a", "p"), ("normal", "a", "p")]
    assert not scenes(manifest(*both), duplicates((0, 1, 0.9)))[0].contradicts
    other = [("benign", "a", "p"), ("normal", "a", "q")]
    assert scenes(manifest(*other), duplicates((0, 1, 0.9)))[0].contradicts


def test_a_lump_of_unknown_kind_agrees_with_any_lump():
    table = manifest(("lump", "a", ""), ("malignant", "a", ""), ("unknown", "a", ""))
    table["finding"] = ["unknown", "malignant", "unknown"]
    assert not scenes(table, duplicates((0, 1, 0.9), (1, 2, 0.9)))[0].contradicts
    table["label"] = ["no_lump", "lump", ""]
    assert scenes(table, duplicates((0, 1, 0.9)))[0].contradicts


def test_without_near_duplicates_there_are_no_scenes():
    assert scenes(manifest(("benign", "a", "")), duplicates()) == []


def test_equal_ids_of_two_hospitals_are_two_patients():
    table = manifest(("benign", "a", "001"), ("normal", "b", "001"))
    (scene,) = scenes(table, duplicates((0, 1, 0.9)))
    assert scene.contradicts
    assert not scene.one_patient
