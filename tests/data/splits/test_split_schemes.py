"""Cross-validation, leaving a source out, and a split of one's own: kept as asked, or refused."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import StratifiedGroupKFold

from breastus.config.parsing import SPLIT_SCHEMES
from breastus.config.schema import DataConfig
from breastus.data.splits import scheme
from breastus.data.splits.make import make_splits, read_splits, splits_summary, write_splits
from breastus.errors import DataWarning, SplitError


def manifest(*sources, sizes=(1,)):
    """A table of sources given as (name, groups of no_lump, groups of lump)."""
    rows = []
    for name, *counts in sources:
        for label, count in zip(("no_lump", "lump"), counts, strict=True):
            rows += [
                (name, label, f"{name}/{label}/{group}", member)
                for group in range(count)
                for member in range(sizes[group % len(sizes)])
            ]
    table = pd.DataFrame(rows, columns=["source", "label", "group_id", "member"])
    table["image_id"] = table["group_id"] + "-" + table.pop("member").astype(str)
    table["path"] = "/data/" + table["image_id"] + ".png"
    return table.assign(excluded="")


def joined(splits, table):
    return splits.merge(table, on="image_id", validate="one_to_one")


groups = st.integers(5, 12)


@pytest.mark.slow
@settings(max_examples=6, deadline=None)
@given(groups, groups, st.integers(0, 1000), st.integers(3, 5))
def test_every_image_is_in_one_test_part_of_a_cross_validation(no_lump, lump, seed, folds):
    table = manifest(("x", no_lump, lump), sizes=(1, 3, 2))
    tested = []
    for fold in range(folds):
        splits = make_splits(table, scheme="kfold", seed=seed, fold=fold, folds=folds)
        both = joined(splits, table)
        assert len(both) == len(table)
        assert (both.groupby("group_id")["split"].nunique() == 1).all()
        for part in ("train", "val", "test"):
            assert set(both.loc[both["split"] == part, "label"]) == {"no_lump", "lump"}
        assert set(both.loc[both["split"] == "test", "fold"]) == {fold}
        assert set(both.loc[both["split"] == "val", "fold"]) == {(fold + 1) % folds}
        validated = both.loc[both["split"] == "val", "image_id"].tolist()
        for rotation in range(1, folds - 1):
            options = {"seed": seed, "fold": fold, "folds": folds, "val_rotation": rotation}
            other = make_splits(table, scheme="kfold", **options)
            assert other["fold"].equals(splits["fold"])
            assert (other["split"] == "test").equals(splits["split"] == "test")
            validated += other.loc[other["split"] == "val", "image_id"].tolist()
        rest = both.loc[both["split"] != "test", "image_id"]
        assert sorted(validated) == sorted(rest)  # each once, in one of the rotations
        tested += both.loc[both["split"] == "test", "image_id"].tolist()
    assert sorted(tested) == sorted(table["image_id"])


def test_val_is_the_fold_that_its_rotation_names():
    table = manifest(("x", 10, 10))
    for fold, rotation, val in ((1, 0, 2), (1, 2, 4), (4, 0, 0), (3, 3, 2)):
        splits = make_splits(table, scheme="kfold", fold=fold, val_rotation=rotation)
        assert set(splits.loc[splits["split"] == "val", "fold"]) == {val}


def test_folds_of_uneven_groups_are_the_most_even_of_several_draws():
    table = manifest(("x", 12, 30), sizes=(1, 9, 2))
    table["group_id"] = table["group_id"].str.rpartition("/")[2]  # some hold both classes
    splits = make_splits(table, scheme="kfold", seed=3)

    def unevenness(fold):
        counts = pd.crosstab(table["label"], np.asarray(fold))
        return (counts.div(counts.sum(axis=1), axis=0) - 1 / 5).abs().to_numpy().max()

    draws = []
    for attempt in range(20):
        fold = np.empty(len(table), int)
        folding = StratifiedGroupKFold(5, shuffle=True, random_state=3 + attempt * 10_007)
        held_out = [test for _, test in folding.split(table, table["label"], table["group_id"])]
        for number, rows in enumerate(held_out):
            fold[rows] = number
        draws.append(unevenness(fold))
    ours = joined(splits, table).set_index("image_id")["fold"][table["image_id"]]
    assert unevenness(ours) == pytest.approx(min(draws))
    assert min(draws) < np.median(draws)


def test_folds_are_even_in_both_classes_and_drawn_by_seed():
    table = manifest(("x", 20, 60))
    splits = make_splits(table, scheme="kfold", folds=10, fold=9)
    counts = joined(splits, table).groupby(["fold", "label"]).size()
    assert set(counts.xs("lump", level="label")) == {6}
    assert set(counts.xs("no_lump", level="label")) == {2}
    assert not splits.equals(make_splits(table, scheme="kfold", folds=10, fold=9, seed=1))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fold": 5}, r"data\.fold must be below data\.folds=5"),
        ({"val_rotation": 4}, r"data\.val_rotation must be at most 3 .*data\.folds=5"),
        ({"scheme": "group", "val_rotation": 1}, r"data\.split=kfold"),
        ({"folds": 8}, "at least 8 groups .* one for each of the 8 folds.*lower data.folds"),
        ({"scheme": "group", "fold": 1}, r"data\.split=kfold"),
    ],
)
def test_impossible_folds_are_refused(options, message):
    with pytest.raises(SplitError, match=message):
        make_splits(manifest(("x", 7, 20)), **{"scheme": "kfold", **options})


def test_a_source_is_left_out():
    table = manifest(("a", 20, 30), ("b", 10, 10), ("c", 5, 5))
    splits = make_splits(table, scheme="source:b")
    both = joined(splits, table)
    assert len(both) == len(table)
    assert set(both.loc[both["split"] == "test", "source"]) == {"b"}
    assert (both["split"] == "test").sum() == 20
    assert set(both.loc[both["split"] == "val", "label"]) == {"no_lump", "lump"}
    assert 10 <= (both["split"] == "val").sum() <= 14  # a fifth of 60
    assert both["fold"].tolist() == both["split"].map({"test": 0, "val": 1, "train": 2}).tolist()
    assert "test  10 no_lump, 10 lump, in 20 groups\n" in splits_summary(splits, table) + "\n"
    assert "(" in splits_summary(splits, table).splitlines()[0]  # train is of a and c


def test_a_group_that_reaches_across_is_not_trained_on():
    table = manifest(("a", 20, 30), ("b", 10, 10))
    table.loc[table["image_id"].isin(["a/lump/0-0", "b/lump/0-0"]), "group_id"] = "twins"
    with pytest.warns(DataWarning, match="1 images are not used for train or val"):
        splits = make_splits(table, scheme="source:b")
    assert "a/lump/0-0" not in set(splits["image_id"])
    assert "b/lump/0-0" in set(splits["image_id"])
    assert len(splits) == len(table) - 1


def test_a_source_without_one_class_can_be_tested_on_but_not_alone_be_trained_on():
    table = manifest(("a", 20, 30), ("lumps", 0, 10))
    with pytest.warns(DataWarning, match=r"only one class.*0 images of no_lump"):
        splits = make_splits(table, scheme="source:lumps")
    assert (splits["split"] == "test").sum() == 10
    with pytest.raises(SplitError, match="no images of no_lump outside a"):
        make_splits(table, scheme="source:a")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("bussi", r"name a source .*: bus_uclm, busi\. Did you mean busi\? Received: bussi"),
        ("gone", "name a source with included images"),
    ],
)
def test_an_unknown_source_is_refused(name, message):
    table = manifest(("busi", 9, 9), ("bus_uclm", 9, 9), ("gone", 1, 1))
    table.loc[table["source"] == "gone", "excluded"] = "unreadable"
    with pytest.raises(SplitError, match=message):
        make_splits(table, scheme=f"source:{name}")


def test_the_only_source_cannot_be_left_out():
    with pytest.raises(SplitError, match="no images remain for training"):
        make_splits(manifest(("a", 9, 9)), scheme="source:a")


@pytest.fixture
def own(tmp_path):
    """A function (rows or text) that writes a split file and returns its path as text."""

    def write(rows, header="image_id,split"):
        text = rows if isinstance(rows, str) else "\n".join(",".join(row) for row in rows)
        (tmp_path / "mine.csv").write_text(f"{header}\n{text}\n")
        return str(tmp_path / "mine.csv")

    return write


PARTS = {"train": range(5), "val": range(5, 7), "test": range(7, 10)}


def _rows(name="a/{label}/{n}-0", parts=PARTS):
    return [
        (name.format(label=label, n=n), part)
        for part, numbers in parts.items()
        for n in numbers
        for label in ("lump", "no_lump")
    ]


@pytest.mark.parametrize(
    ("name", "header"),
    [
        ("a/{label}/{n}-0", "image_id,split"),
        ("a/{label}/{n}-0.png", "path,split"),
        ("{label}/{n}-0.png", "file,split"),
        ("/data/a/{label}/{n}-0.png", "image,split"),
    ],
)
def test_ones_own_split_is_kept(own, name, header):
    table = manifest(("a", 10, 10), ("b", 0, 0))
    splits = make_splits(table, scheme=own(_rows(name), header))
    assert splits["image_id"].tolist() == table["image_id"].tolist()
    assert dict(zip(splits["image_id"], splits["split"], strict=True)) == dict(_rows())
    assert set(splits["fold"]) == {0, 1, 2}


def test_what_prepare_wrote_comes_back(tmp_path):
    table = manifest(("a", 20, 20), sizes=(1, 2))
    splits = make_splits(table, seed=3)
    write_splits(splits, tmp_path / "splits.csv")
    pd.testing.assert_frame_equal(make_splits(table, scheme=str(tmp_path / "splits.csv")), splits)
    pd.testing.assert_frame_equal(read_splits(tmp_path / "splits.csv", table), splits)


def test_val_is_drawn_where_there_is_none(own):
    parts = {"Training": range(7), "testing": range(7, 10)}  # as people call them
    splits = make_splits(manifest(("a", 10, 10)), scheme=own(_rows(parts=parts)))
    assert splits["split"].value_counts()["test"] == 6
    assert splits["split"].value_counts()["val"] >= 2


def test_what_the_file_leaves_out_or_the_manifest_excludes_is_counted(own):
    table = manifest(("a", 12, 10))
    table.loc[table["image_id"] == "a/lump/0-0", "excluded"] = "known fault"
    with pytest.warns(DataWarning) as caught:
        splits = make_splits(table, scheme=own(_rows()))
    assert len(splits) == 19
    text = "\n".join(str(warning.message) for warning in caught)
    assert "1 images of" in text
    assert "2 included images are not in" in text


def test_a_group_that_is_cut_apart_is_refused_by_name(own):
    table = manifest(("a", 10, 10))
    twins = table["image_id"].isin(["a/lump/0-0", "a/lump/9-0"])
    table.loc[twins, "group_id"] = "a/lump/0-0"
    message = r"mine.csv separates the group a/lump/0-0: a/lump/0-0 is in train, a/lump/9-0 in test"
    with pytest.raises(SplitError, match=message):
        make_splits(table, scheme=own(_rows()))
    table.loc[twins, "excluded"] = "contradiction"  # what is not used leaks nothing
    with pytest.warns(DataWarning):
        assert len(make_splits(table, scheme=own(_rows()))) == 18


@pytest.mark.parametrize(
    ("rows", "header", "message"),
    [
        (
            [("a/lump/0-0", "train"), ("z", "val"), ("y", "val")],
            None,
            "does not contain.*Received: z, y$",
        ),
        ([(str(n), "val") for n in range(9)], None, "0, 1, 2, 3, 4 and 4 others"),
        (
            [("0-0.png", "train")],
            "file,split",
            "fits several images: a/lump/0-0, a/no_lump/0-0",
        ),
        ([("a/lump/0-0", "train"), ("lump/0-0", "val")], None, "row 2 .* and row 3 .* are both"),
        ([("a/lump/0-0", "dev")], None, "row 2 .*: split must be one of train, val, test.*'dev'"),
        ([("a/lump/0-0", "val", "x")], "image_id,split,fold", "fold must be a whole number.*'x'"),
        ([("a/lump/0-0", "1")], "image_id,kFold", "must have a column split and one of image_id"),
        (_rows(parts={"train": range(8)}), None, "no images for val and test"),
        (_rows()[:-1:2], None, "no images of no_lump in train of"),
        ("", "", "cannot be read"),
    ],
)
@pytest.mark.filterwarnings("ignore::breastus.errors.DataWarning")
def test_a_wrong_file_is_refused(own, rows, header, message):
    path = own(rows, "image_id,split" if header is None else header)
    with pytest.raises(SplitError, match=message):
        make_splits(manifest(("a", 10, 10)), scheme=path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(SplitError, match=r"gone\.csv cannot be read"):
        make_splits(manifest(("a", 9, 9)), scheme=str(tmp_path / "gone.csv"))


def test_folds_of_ones_own_are_kept(own):
    rows = [(*row, str(n % 4)) for n, row in enumerate(_rows())]
    splits = make_splits(manifest(("a", 10, 10)), scheme=own(rows, "image_id,split,fold"))
    folds = {name: int(fold) for name, _, fold in rows}
    assert splits["fold"].dtype == np.int64
    assert dict(zip(splits["image_id"], splits["fold"], strict=True)) == folds


@pytest.fixture
def own_scheme():
    """A scheme from outside the package, which is forgotten after the test."""

    @scheme.register_split_scheme("in_turn")
    def split_in_turn(rows, options):
        names = ("train", "val", "test")
        split = [names[(number + options.seed) % 3] for number in range(len(rows))]
        return scheme.split_table(rows, split)

    yield "in_turn"
    del scheme.SCHEMES["in_turn"]
    SPLIT_SCHEMES.remove("in_turn")


def test_a_scheme_from_outside_the_package_is_used_like_the_others(own_scheme):
    table = manifest(("a", 10, 10))
    DataConfig(split=own_scheme)
    splits = make_splits(table, scheme=own_scheme, seed=1)
    assert splits["split"].tolist()[:3] == ["val", "test", "train"]
    with pytest.raises(SplitError, match="in_turn is registered already"):
        scheme.register_split_scheme("in_turn")(lambda rows, options: None)


def test_a_scheme_that_separates_a_group_is_refused(own_scheme):
    table = manifest(("a", 10, 10)).assign(group_id="one")
    with pytest.raises(SplitError, match="in_turn separates the group one"):
        make_splits(table, scheme=own_scheme)


def test_a_scheme_from_nowhere_is_unknown():
    with pytest.raises(SplitError, match="must be one of auto, group"):
        make_splits(manifest(("a", 10, 10)), scheme="in_turn")
