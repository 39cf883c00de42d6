"""Splits: no group in two of them, both classes in all of them, the sizes that were asked for."""

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from breastus.data.splits.make import make_splits, read_splits, splits_summary, write_splits
from breastus.data.splits.study import STUDY_SIZES
from breastus.errors import DataWarning, SplitError


def manifest(no_lump, lump, *, names=None) -> pd.DataFrame:
    """A table with groups of the given sizes, such as manifest([1, 2], [3])."""
    rows = [
        (f"g{label}{number}", label)
        for label, sizes in (("no_lump", no_lump), ("lump", lump))
        for number, size in enumerate(sizes)
        for _ in range(size)
    ]
    names = names or [f"image {i}" for i in range(len(rows))]
    return pd.DataFrame(
        {
            "image_id": [f"x/{name}" for name in names],
            "group_id": [group for group, _ in rows],
            "label": [label for _, label in rows],
            "source": "x",
            "path": [f"/data/{name}.png" for name in names],
            "excluded": "",
        }
    )


def joined(splits, table):
    return splits.merge(table, on="image_id", validate="one_to_one")


def assert_sound(splits, table):
    both = joined(splits, table)
    assert len(both) == (table["excluded"] == "").sum()
    assert (both.groupby("group_id")["split"].nunique() == 1).all()
    assert (both.groupby("group_id")["fold"].nunique() == 1).all()
    for split in ("train", "val", "test"):
        assert set(both.loc[both["split"] == split, "label"]) == {"no_lump", "lump"}


sizes = st.lists(st.integers(1, 6), min_size=8, max_size=40)


@settings(max_examples=10, deadline=None)
@given(sizes, sizes, st.integers(0, 1000))
def test_any_groups_are_kept_together(no_lump, lump, seed):
    table = manifest(no_lump, lump)
    splits = make_splits(table, seed=seed)
    assert_sound(splits, table)
    pd.testing.assert_frame_equal(splits, make_splits(table, seed=seed))


def test_sixty_twenty_twenty_of_each_label():
    table = manifest([1] * 100, [2, 1] * 100)
    splits = make_splits(table, seed=0)
    both = joined(splits, table)
    for label, count in (("no_lump", 100), ("lump", 300)):
        part = both.loc[both["label"] == label, "split"].value_counts() / count
        assert part["train"] == pytest.approx(0.6, abs=0.02)
        assert part["test"] == pytest.approx(0.2, abs=0.02)
    assert set(splits["fold"]) == {0, 1, 2, 3, 4}
    assert set(splits.loc[splits["fold"] == 0, "split"]) == {"test"}
    assert not splits.equals(make_splits(table, seed=1))


def test_many_images_are_split_in_one_go(monkeypatch):
    import sklearn.model_selection as sklearn

    shuffles = []

    class Counting(sklearn.StratifiedGroupKFold):
        def __init__(self, *args, random_state, **kwargs):
            shuffles.append(random_state)
            super().__init__(*args, random_state=random_state, **kwargs)

    monkeypatch.setattr(sklearn, "StratifiedGroupKFold", Counting)
    few = manifest([1] * 12, [2] * 13)
    make_splits(few)
    assert len(set(shuffles)) > 1  # few images are rarely even at once
    shuffles.clear()
    many = manifest([1] * 1200, [2] * 700)
    splits = make_splits(many)
    assert len(shuffles) == 1
    shares = joined(splits, many).groupby("label")["split"].value_counts(normalize=True)
    for label in ("no_lump", "lump"):
        for split, share in (("train", 0.6), ("val", 0.2), ("test", 0.2)):
            assert shares[label, split] == pytest.approx(share, abs=0.001)


def test_the_studys_sizes_without_cutting_groups():
    table = manifest([1, 2] * 45, [3, 1] * 120)
    splits = make_splits(table, scheme="study", seed=0)
    both = joined(splits, table)
    # Table I of the study.
    assert STUDY_SIZES == {"lump": (194, 66, 66), "no_lump": (80, 27, 26)}
    for label, counts in STUDY_SIZES.items():
        part = both.loc[both["label"] == label, "split"].value_counts()
        assert (part["train"], part["val"], part["test"]) == counts
    assert (both.groupby("group_id")["split"].nunique() == 1).all()


def test_excluded_and_unlabelled_images_take_no_part():
    table = manifest([1] * 10, [1] * 10)
    table.loc[0, "excluded"] = "known fault"
    table.loc[15, "label"] = ""
    splits = make_splits(table)
    assert len(splits) == 18
    assert not {"x/image 0", "x/image 15"} & set(splits["image_id"])


@pytest.mark.parametrize(
    ("table", "options", "message"),
    [
        (manifest([], [1] * 9), {}, "no images of no_lump"),
        (manifest([1] * 9, []), {}, "no images of lump"),
        (manifest([5, 5], [1] * 9), {}, r"at least 3 groups .*10 images of no_lump in 2 groups"),
        (manifest([1] * 4, [1] * 4), {"scheme": "kfold"}, "at least 5 groups"),
        (manifest([1] * 9, [1] * 9), {"scheme": "study"}, "needs 326 images of lump"),
        (manifest([140], [1] * 400), {"scheme": "study"}, "cannot reach its sizes"),
        (manifest([1] * 9, [1] * 9), {"scheme": "folders"}, "folders train/, val/ and test/"),
        (manifest([1] * 9, [1] * 9), {"scheme": "random"}, "Received: 'random'"),
    ],
)
def test_what_cannot_be_split_is_said(table, options, message):
    with pytest.raises(SplitError, match=message):
        make_splits(table, **options)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    ("no_lump", "lump", "shared"),
    [
        ([1] * 3, [1] * 3, 0),
        ([1] * 4, [1] * 4, 0),
        ([2] * 4, [2] * 4, 4),  # four patients with both classes
        ([1] * 3, [1] * 3, 1),  # one with both, four with one
        ([5, 1, 1], [1, 7, 2], 3),
        ([1] * 3, [1] * 40, 2),
    ],
)
def test_three_groups_of_each_label_are_enough(no_lump, lump, shared, seed):
    table = manifest(no_lump, lump)
    for number in range(shared):
        table.loc[table["group_id"] == f"glump{number}", "group_id"] = f"gno_lump{number}"
    assert_sound(make_splits(table, seed=seed), table)


def folder_names(train, val, test):
    return [
        f"{split}/{label}/{n}"
        for label in ("no_lump", "lump")
        for split, count in (("train", train), ("val", val), ("test", test))
        for n in range(count)
    ]


def test_given_folders_are_kept():
    table = manifest([1] * 10, [1] * 10, names=folder_names(6, 2, 2))
    splits = make_splits(table)  # auto sees that they are split
    assert_sound(splits, table)
    assert (splits["image_id"].str.split("/").str[1] == splits["split"]).all()


def test_given_folders_without_val_get_one():
    table = manifest([1] * 10, [1] * 10, names=folder_names(8, 0, 2))
    splits = make_splits(table)
    assert_sound(splits, table)
    assert splits["split"].value_counts()["val"] >= 2


def test_given_folders_that_leak_are_mended():
    table = manifest([1] * 10, [1] * 10, names=folder_names(6, 2, 2))
    train, test = "x/train/lump/0", "x/test/lump/0"
    table.loc[table["image_id"] == train, "group_id"] = "twins"
    table.loc[table["image_id"] == test, "group_id"] = "twins"
    with pytest.warns(DataWarning, match="1 images are not used for train or val"):
        splits = make_splits(table)
    assert train not in set(splits["image_id"])
    assert test in set(splits["image_id"])


def test_a_single_train_folder_is_no_split():
    table = manifest([1] * 10, [1] * 10, names=folder_names(10, 0, 0))
    assert_sound(make_splits(table), table)


def test_csv_comes_back_as_it_went(tmp_path):
    table = manifest([1] * 10, [1] * 10)
    splits = make_splits(table)
    write_splits(splits, tmp_path / "splits.csv")
    pd.testing.assert_frame_equal(read_splits(tmp_path / "splits.csv", table), splits)
    assert "train" in splits_summary(splits, table)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.drop(columns="fold"), "lacks the column fold"),
        (lambda s: s.assign(split="training"), "other than train, val and test"),
        (lambda s: pd.concat([s, s.head(1)]), "names an image twice"),
        (lambda s: s.assign(image_id="x/" + s.index.astype(str)), "the manifest lacks"),
    ],
)
def test_damaged_splits_are_refused(tmp_path, change, message):
    table = manifest([1] * 10, [1] * 10)
    change(make_splits(table)).to_csv(tmp_path / "splits.csv", index=False)
    with pytest.raises(SplitError, match=message):
        read_splits(tmp_path / "splits.csv", table)


def test_a_group_cut_apart_by_hand_is_refused(tmp_path):
    table = manifest([2] * 10, [1] * 10)
    splits = make_splits(table)
    splits.loc[0, "split"] = "val" if splits.loc[1, "split"] != "val" else "test"
    splits.to_csv(tmp_path / "splits.csv", index=False)
    with pytest.raises(SplitError, match=r"separates the group gno_lump0: x/image 0"):
        read_splits(tmp_path / "splits.csv", table)
