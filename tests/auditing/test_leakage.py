"""Leaks are counted as a plain loop over all pairs counts them; what is to be expected is exact."""

from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from breastus.auditing.leakage import (
    SAME_FILE,
    SAME_IMAGE,
    SAME_PATIENT,
    duplicate_pairs,
    leakage_rates,
    random_split_leakage,
    twins_in_training,
)


def manifest(count: int, patients=None, sha256=None, source="x") -> pd.DataFrame:
    return pd.DataFrame(
        {
            "image_id": [f"x/{i}" for i in range(count)],
            "source": source,
            "patient_id": patients or [""] * count,
            "sha256": sha256 or [f"sha{i}" for i in range(count)],
        }
    )


def near_duplicates(*pairs, **columns) -> pd.DataFrame:
    """A table of pairs such as (0, 3, 0.9)."""
    rows = [(f"x/{a}", f"x/{b}", similarity) for a, b, similarity in pairs]
    table = pd.DataFrame(rows, columns=["image_id", "duplicate_id", "similarity"])
    return table.assign(**{"kind": "near-duplicate", **columns})


def members(*splits) -> pd.DataFrame:
    return pd.DataFrame({"image_id": [f"x/{i}" for i in range(len(splits))], "split": splits})


@st.composite
def cases(draw):
    count = draw(st.integers(2, 12))
    splits = draw(
        st.lists(st.sampled_from(["train", "val", "test"]), min_size=count, max_size=count)
    )
    patients = draw(st.lists(st.sampled_from(["", "p", "q"]), min_size=count, max_size=count))
    shas = draw(st.lists(st.sampled_from(["", "a", "b", "c", "d"]), min_size=count, max_size=count))
    pairs = draw(st.sets(st.sampled_from(list(combinations(range(count), 2)))))
    similar = draw(st.lists(st.floats(0.7, 1), min_size=len(pairs), max_size=len(pairs)))
    return splits, patients, shas, dict(zip(sorted(pairs), similar, strict=True))


@settings(deadline=None, max_examples=60)
@given(cases())
def test_leaks_equal_the_plain_double_loop(case):
    splits, patients, shas, similar = case
    table = manifest(len(splits), patients, shas)
    pairs = duplicate_pairs(table, near_duplicates(*((a, b, s) for (a, b), s in similar.items())))
    found = twins_in_training(members(*splits), table, pairs)
    rates = leakage_rates(members(*splits), found)

    counted = {"val": [0, 0, 0, 0], "test": [0, 0, 0, 0]}
    for held, split in enumerate(splits):
        if split == "train":
            continue
        near_duplicate = patient = False
        for other, where in enumerate(splits):
            if where == "train":
                ends = (min(held, other), max(held, other))
                near_duplicate |= ends in similar or (shas[held] == shas[other] != "")
                patient |= patients[held] == patients[other] != ""
        counted[split] = [
            total + one
            for total, one in zip(
                counted[split], (1, near_duplicate, patient, near_duplicate or patient), strict=True
            )
        ]
    for split, (images, near_duplicate, patient, leaked) in counted.items():
        if not images:
            assert split not in rates.index
            continue
        row = rates.loc[split]
        assert (row["images"], row["near_duplicate"], row["same_patient"], row["leaked"]) == (
            *(images, near_duplicate, patient, leaked),
        )
        assert row["rate"] == pytest.approx(leaked / images)


@settings(deadline=None, max_examples=60)
@given(cases())
def test_every_pair_that_is_shown_is_a_leak(case):
    splits, patients, shas, similar = case
    table = manifest(len(splits), patients, shas)
    pairs = duplicate_pairs(table, near_duplicates(*((a, b, s) for (a, b), s in similar.items())))
    found = twins_in_training(members(*splits), table, pairs)
    assert found["image_id"].is_unique
    for row in found.itertuples():
        held, other = (int(name.partition("/")[2]) for name in (row.image_id, row.duplicate_id))
        assert (splits[held], splits[other]) == (row.split, "train")
        if row.kind == SAME_PATIENT:
            assert not row.near_duplicate
            assert patients[held] == patients[other] != ""
        elif row.kind == SAME_FILE:
            assert shas[held] == shas[other] != ""
        else:
            best = max(
                similar.get((min(held, i), max(held, i)), 0)
                for i, split in enumerate(splits)
                if split == "train"
            )
            assert row.similarity == best
    assert found["similarity"].dropna().is_monotonic_decreasing


def test_an_image_in_two_splits_is_the_worst_leak():
    table = manifest(3)
    listed = pd.DataFrame(
        {"image_id": ["x/0", "x/0", "x/1", "x/2"], "split": ["train", "test", "test", "train"]}
    )
    found = twins_in_training(listed, table, duplicate_pairs(table, near_duplicates((1, 2, 0.9))))
    assert found[["image_id", "kind"]].to_numpy().tolist() == [
        ["x/0", SAME_IMAGE],
        ["x/1", "near-duplicate"],
    ]


def test_kinds_are_kept_and_other_columns_are_no_matter():
    table = manifest(4, sha256=["a", "a", "b", ""])
    pairs = duplicate_pairs(
        table, near_duplicates((0, 1, 0.99), (1, 2, 0.8), kind="mirrored", shift=3)
    )
    assert pairs["kind"].tolist() == [SAME_FILE, "mirrored"]


def test_equal_files_that_correlate_with_nothing_are_near_duplicates():
    pairs = duplicate_pairs(manifest(4, sha256=["a", "", "", "a"]), near_duplicates())
    assert pairs.to_numpy().tolist() == [["x/0", "x/3", 1.0, SAME_FILE]]


def test_of_three_equal_files_each_is_a_near_duplicate_of_both_others():
    table = manifest(3, sha256=["a", "a", "a"])
    pairs = duplicate_pairs(table, near_duplicates((1, 2, 0.99)))
    assert len(pairs) == 3
    found = twins_in_training(members("val", "train", "test"), table, pairs)
    assert sorted(found["image_id"]) == ["x/0", "x/2"]


@pytest.mark.parametrize("test", [0.2, 0.5])
@pytest.mark.parametrize("patients", [False, True])
def test_the_random_split_is_the_mean_over_all_splits(test, patients):
    count = 10
    table = manifest(count, ["p", "p", "p", "", "", "q", "q", "", "", ""])
    alike = [(0, 1), (1, 4), (4, 5), (7, 8)]
    pairs = duplicate_pairs(table, near_duplicates(*((a, b, 0.9) for a, b in alike)))
    related = {frozenset(pair) for pair in alike}
    if patients:
        related |= {frozenset(p) for p in [(0, 1), (0, 2), (1, 2), (5, 6)]}
    rates = []
    for held in combinations(range(count), round(test * count)):
        train = set(range(count)) - set(held)
        rates.append(np.mean([any({i, t} in related for t in train) for i in held]))
    got = random_split_leakage(table, pairs, patients=patients, test=test)
    assert got == pytest.approx(np.mean(rates), abs=1e-12)


def test_pairs_with_images_elsewhere_do_not_count():
    table = manifest(6)
    pairs = duplicate_pairs(table, near_duplicates((0, 5, 0.9)))
    assert random_split_leakage(table.head(5), pairs, test=0.2) == 0
    assert np.isnan(random_split_leakage(table.head(1), pairs, test=0.2))


def test_patients_of_two_hospitals_are_never_compared():
    table = manifest(4, ["001", "001", "001", "002"], source=["a", "b", "b", "b"])
    found = twins_in_training(members("train", "test", "train", "test"), table, near_duplicates())
    assert found[["image_id", "duplicate_id"]].to_numpy().tolist() == [["x/1", "x/2"]]
    found = twins_in_training(members("train", "test", "val", "test"), table, near_duplicates())
    assert found.empty
    # Of 4 images 2 are tested: the pair of one patient is separated in 4 of 6 splits.
    expected = random_split_leakage(table, near_duplicates(), patients=True, test=0.5)
    assert expected == pytest.approx((4 / 6) / 2)


@settings(deadline=None, max_examples=25)
@given(cases())
def test_twins_in_training_equal_the_plain_double_loop(case):
    splits, patients, shas, similar = case
    table = manifest(len(splits), patients, shas)
    pairs = duplicate_pairs(table, near_duplicates(*((a, b, s) for (a, b), s in similar.items())))
    linked = {
        frozenset(ends) for ends in zip(pairs["image_id"], pairs["duplicate_id"], strict=True)
    }
    patient = dict(zip(table["image_id"], patients, strict=True))

    def twin(one, other):
        same_patient = patient[one] == patient[other] != ""
        return one != other and (frozenset((one, other)) in linked or same_patient)

    parts = members(*splits).set_index("image_id")["split"]
    found = twins_in_training(members(*splits), table, pairs)
    trained = parts.index[parts == "train"]
    held_out = parts.index[parts != "train"]
    expected = {one for one in held_out if any(twin(one, other) for other in trained)}
    assert set(found["image_id"]) == expected

    # In folds all other folds are trained on.
    folds = pd.Series([len(name) % 3 for name in splits], index=table["image_id"])
    listed = folds.rename("fold").rename_axis("image_id").reset_index()
    found = twins_in_training(listed, table, pairs)
    expected = {
        one
        for one in folds.index
        if any(twin(one, other) and folds[one] != folds[other] for other in folds.index)
    }
    assert set(found["image_id"]) == expected
    assert set(found["split"]) <= {"test"}
    assert found["similarity"].dropna().is_monotonic_decreasing
    rates = leakage_rates(listed, found)
    assert rates[["images", "leaked"]].to_numpy().tolist() == [[len(splits), len(expected)]]
    for one, other in zip(found["image_id"], found["duplicate_id"], strict=True):
        assert twin(one, other)
        assert folds[one] != folds[other]
