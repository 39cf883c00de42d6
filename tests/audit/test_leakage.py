"""Leaks are counted as a plain loop over all pairs counts them; what is to be expected is exact."""

from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from breastus.audit.leakage import (
    SAME_FILE,
    SAME_IMAGE,
    SAME_PATIENT,
    leak_shares,
    leaks,
    random_split_share,
    twin_links,
)


def manifest(count: int, patients=None, sha256=None) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "image_id": [f"x/{i}" for i in range(count)],
            "patient_id": patients or [""] * count,
            "sha256": sha256 or [f"sha{i}" for i in range(count)],
        }
    )


def twins(*pairs, **columns) -> pd.DataFrame:
    """A table of pairs such as (0, 3, 0.9)."""
    rows = [(f"x/{a}", f"x/{b}", similarity) for a, b, similarity in pairs]
    table = pd.DataFrame(rows, columns=["image_id", "twin_id", "similarity"])
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
    links = twin_links(table, twins(*((a, b, s) for (a, b), s in similar.items())))
    found = leaks(members(*splits), table, links)
    shares = leak_shares(members(*splits), found)

    counted = {"val": [0, 0, 0, 0], "test": [0, 0, 0, 0]}
    for held, split in enumerate(splits):
        if split == "train":
            continue
        twin = patient = False
        for other, where in enumerate(splits):
            if where == "train":
                ends = (min(held, other), max(held, other))
                twin |= ends in similar or (shas[held] == shas[other] != "")
                patient |= patients[held] == patients[other] != ""
        counted[split] = [
            total + one
            for total, one in zip(counted[split], (1, twin, patient, twin or patient), strict=True)
        ]
    for split, (images, twin, patient, either) in counted.items():
        if not images:
            assert split not in shares.index
            continue
        row = shares.loc[split]
        assert (row["images"], row["twin"], row["patient"], row["either"]) == (
            *(images, twin, patient, either),
        )
        assert row["share"] == pytest.approx(either / images)


@settings(deadline=None, max_examples=60)
@given(cases())
def test_every_pair_that_is_shown_is_a_leak(case):
    splits, patients, shas, similar = case
    table = manifest(len(splits), patients, shas)
    links = twin_links(table, twins(*((a, b, s) for (a, b), s in similar.items())))
    found = leaks(members(*splits), table, links)
    assert found["image_id"].is_unique
    for row in found.itertuples():
        held, other = (int(name.partition("/")[2]) for name in (row.image_id, row.twin_id))
        assert (splits[held], splits[other]) == (row.split, "train")
        if row.kind == SAME_PATIENT:
            assert not row.twin
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
    found = leaks(listed, table, twin_links(table, twins((1, 2, 0.9))))
    assert found[["image_id", "kind"]].to_numpy().tolist() == [
        ["x/0", SAME_IMAGE],
        ["x/1", "near-duplicate"],
    ]


def test_kinds_are_kept_and_other_columns_are_no_matter():
    table = manifest(4, sha256=["a", "a", "b", ""])
    links = twin_links(table, twins((0, 1, 0.99), (1, 2, 0.8), kind="mirrored", shift=3))
    assert links["kind"].tolist() == [SAME_FILE, "mirrored"]


def test_equal_files_that_correlate_with_nothing_are_twins():
    links = twin_links(manifest(4, sha256=["a", "", "", "a"]), twins())
    assert links.to_numpy().tolist() == [["x/0", "x/3", 1.0, SAME_FILE]]


def test_of_three_equal_files_each_is_the_twin_of_both_others():
    table = manifest(3, sha256=["a", "a", "a"])
    links = twin_links(table, twins((1, 2, 0.99)))
    assert len(links) == 3
    found = leaks(members("val", "train", "test"), table, links)
    assert sorted(found["image_id"]) == ["x/0", "x/2"]


@pytest.mark.parametrize("test", [0.2, 0.5])
@pytest.mark.parametrize("patients", [False, True])
def test_the_random_split_is_the_mean_over_all_splits(test, patients):
    count = 10
    table = manifest(count, ["p", "p", "p", "", "", "q", "q", "", "", ""])
    pairs = [(0, 1), (1, 4), (4, 5), (7, 8)]
    links = twin_links(table, twins(*((a, b, 0.9) for a, b in pairs)))
    related = {frozenset(pair) for pair in pairs}
    if patients:
        related |= {frozenset(p) for p in [(0, 1), (0, 2), (1, 2), (5, 6)]}
    shares = []
    for held in combinations(range(count), round(test * count)):
        train = set(range(count)) - set(held)
        shares.append(np.mean([any({i, t} in related for t in train) for i in held]))
    got = random_split_share(table, links, patients=patients, test=test)
    assert got == pytest.approx(np.mean(shares), abs=1e-12)


def test_pairs_with_images_elsewhere_do_not_count():
    table = manifest(6)
    links = twin_links(table, twins((0, 5, 0.9)))
    assert random_split_share(table.head(5), links) == 0
    assert np.isnan(random_split_share(table.head(1), links))
