"""Anybody's predictions: read however they name images, and refused where they do not fit."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from breastus.data.splits.benchmark import BenchmarkSplit
from breastus.errors import DataError
from breastus.evaluation.entry import EntryFile

COUNT, EXCLUDED = 20, 2


@pytest.fixture
def manifest():
    names = [f"{'benign' if n % 2 else 'normal'}/{n}" for n in range(COUNT + EXCLUDED)]
    return pd.DataFrame(
        {
            "image_id": [f"busi/{name}" for name in names],
            "path": [f"/data/busi/{name}.png" for name in names],
            "sha256": [f"{n:064x}" for n in range(len(names))],
            "label": ["lump" if n % 2 else "no_lump" for n in range(len(names))],
            "finding": ["benign" if n % 2 else "normal" for n in range(len(names))],
            "group_id": [f"g{n // 2}" for n in range(len(names))],
            "excluded": ["known fault: needle" if n >= COUNT else "" for n in range(len(names))],
        }
    )


def split_of(manifest, by="fold"):
    used = manifest["excluded"] == ""
    part = np.arange(COUNT) % 5 if by == "fold" else np.array(["test", "train"]).repeat(COUNT // 2)
    images = manifest[used].assign(pixel_sha256=lambda t: "f" + t["sha256"].str[1:], file="x")
    images[by] = part
    parts = images.set_index("image_id")[by]
    return BenchmarkSplit(by, images, manifest[~used], parts, Path("/data"))


@pytest.fixture
def split(manifest):
    return split_of(manifest)


@pytest.fixture
def table(split):
    """Predictions that fit, as a person would write them from the exported file."""
    images = split.images
    return pd.DataFrame(
        {
            "image_id": images["image_id"],
            "probability": np.linspace(0.02, 0.98, COUNT).round(3),
            "fold": images["fold"],
        }
    )


@pytest.fixture
def check(manifest, split, tmp_path):
    """A function from a table to the entry, by way of a CSV file."""

    def run(table, split=split):
        file = tmp_path / "predictions.csv"
        table.to_csv(file, index=False)
        return EntryFile(file).check(manifest, split)

    return run


def test_predictions_meet_their_images(table, check, split):
    entry = check(table.sample(frac=1, random_state=0))
    (found,) = entry.tables
    assert found["image_id"].is_monotonic_increasing
    expected = table.set_index("image_id")["probability"]
    assert found.set_index("image_id")["probability"].to_dict() == expected.to_dict()
    assert (found["predicted"] == "lump").tolist() == (found["probability"] >= 0.5).tolist()
    assert entry.folds_checked
    assert entry.unscored.empty
    assert "0.5" in entry.thresholds


@pytest.mark.parametrize(
    "column", ["path", "file", "image_id", "sha256", "pixel_sha256", "Image Path"]
)
def test_images_may_be_named_in_many_ways(table, check, split, manifest, column):
    images = split.images
    names = {
        "image_id": images["image_id"],
        "path": images["path"],
        "file": images["image_id"].str.removeprefix("busi/") + ".png",
        "sha256": images["sha256"].str.upper(),
        "pixel_sha256": images["pixel_sha256"],
        "Image Path": images["path"].str.replace("/", "\\"),
    }[column]
    entry = check(table.drop(columns="image_id").assign(**{column: names}))
    assert entry.tables[0]["image_id"].tolist() == sorted(images["image_id"])


def test_a_checksum_of_no_image_is_refused(table, check, split):
    checksums = split.images["pixel_sha256"].where(table.index != 3, "0" * 64)
    table = table.drop(columns="image_id").assign(pixel_sha256=checksums, name="resnet")
    with pytest.raises(DataError, match=r"has this pixel_sha256.*row 5 .*pixel_sha256=0000"):
        check(table)


def test_the_predictions_of_a_cross_validation_of_ours_are_read(table, check, split):
    # The columns of predictions_oof.csv.
    table["threshold"] = np.where(table["fold"] == 1, 1 / 3, 2 / 3)
    lump = table["probability"] >= table["threshold"]
    ours = table.assign(
        split="test",
        group_id=split.images["group_id"],
        finding=split.images["finding"],
        label=split.images["label"],
        predicted=np.where(lump, "lump", "no_lump"),
        probability_uncalibrated=0.5,
        repeat=0,
    )
    entry = check(ours)
    assert entry.folds_checked
    assert entry.runs == ["0"]
    found = entry.tables[0].set_index("image_id")["predicted"]
    assert found[ours["image_id"]].tolist() == ours["predicted"].tolist()


def test_a_table_is_read_like_a_file(table, check, manifest, split):
    from_table = EntryFile(table).check(manifest, split).tables[0]
    pd.testing.assert_frame_equal(from_table, check(table).tables[0])


def edit(table, row, **cells):
    table = table.astype(object)
    for column, value in cells.items():
        table.loc[row, column] = value
    return table


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.drop(columns="probability"), "must have a column probability"),
        (lambda t: t.iloc[:0], "no row"),
        (lambda t: t[["probability"]], "must name the image of each row"),
        (lambda t: edit(t, 3, probability=1.01), r"from 0 to 1.*row 5 \(busi/benign/3, pr.*=1.01"),
        (lambda t: edit(t, 0, probability=-0.1), r"row 2 .*probability=-0.1"),
        (lambda t: edit(t, 0, probability="nan"), r"row 2 .*probability=nan"),
        (lambda t: edit(t, 0, probability=""), r"row 2 .*probability=''"),
        (lambda t: edit(t, 0, probability="high"), r"row 2 .*probability=high"),
        (lambda t: t.assign(probability="inf"), r"row 2 .*row 3 .*row 4 .* and 17 more"),
        (lambda t: t.iloc[3:], r"Missing: 3 images: busi/normal/0, busi/benign/1, busi/normal/2"),
        (lambda t: pd.concat([t, t.iloc[4:5]]), r"once by a model.*row 6 .*row 22 "),
        (lambda t: edit(t, 1, image_id="busi/normal/999"), "does not contain.*busi/normal/999"),
        (lambda t: edit(t, 7, fold=3), r"fold must be.*row 9 \(busi/benign/7, fold=3\)"),
        (lambda t: edit(t, 7, fold="a"), r"fold must be.*row 9 .*fold=a"),
        (lambda t: t.assign(label="lump"), r"label must agree with --data.*row 2 .*and 7 more"),
        (lambda t: t.assign(label="tumour"), "label must agree with --data"),
        (lambda t: t.assign(split_name="busi-scenes-v1"), r"another split.*busi-scenes-v1"),
        (lambda t: t.assign(threshold=1.5), "threshold must be a number from 0 to 1"),
        (lambda t: t.assign(threshold="x"), "threshold must be a number from 0 to 1.*threshold=x"),
        (lambda t: t.assign(predicted="maybe"), "predicted must be one of no_lump, lump"),
        (
            lambda t: t.assign(predicted=np.where(t["probability"] > 0.5, "no_lump", "lump")),
            "contradict each other",
        ),
        (
            lambda t: t.assign(predicted="lump", threshold=0.5),
            r"contradict each other.*row 2 .*predicted=lump",
        ),
    ],
)
def test_what_does_not_fit_is_refused(table, check, change, message):
    with pytest.raises(DataError, match=message):
        check(change(table))


def test_a_file_that_is_not_there():
    with pytest.raises(DataError, match=r"none\.csv"):
        EntryFile("none.csv")


def test_predictions_for_training_images_are_refused(table, check, manifest):
    holdout = split_of(manifest, "split")
    table = table.drop(columns="fold")
    with pytest.raises(DataError, match=r"test images only.*row 12 \(busi/normal/10\).*7 more"):
        check(table, holdout)
    assert len(check(table.iloc[:10], holdout).tables[0]) == 10


def test_excluded_images_are_named_and_not_scored(table, check, manifest):
    rows = manifest[manifest["excluded"] != ""].assign(probability=0.5, fold=0)
    entry = check(pd.concat([table, rows[["image_id", "probability", "fold"]]]))
    assert len(entry.tables[0]) == COUNT
    assert entry.unscored.to_numpy().tolist() == [
        ["busi/normal/20", "known fault: needle"],
        ["busi/benign/21", "known fault: needle"],
    ]


@pytest.mark.parametrize("column", ["seed", "run", "repeat"])
def test_runs_of_one_recipe_are_told_apart(table, check, column):
    runs = [
        table.assign(**{column: name}, probability=table["probability"] ** power)
        for power, name in enumerate(("b", "a", "c"), 1)
    ]
    entry = check(pd.concat(runs))
    assert entry.runs == ["b", "a", "c"]
    assert [len(one) for one in entry.tables] == [COUNT] * 3
    with pytest.raises(DataError, match=r"of run a must predict all 20 .*Missing: 5 images"):
        check(pd.concat([runs[0], runs[1].iloc[5:], runs[2]]))


def test_each_row_names_its_run(table, check):
    runs = [
        table.assign(run=run, seed=seed, probability=table["probability"] ** (1 + seed + 2 * run))
        for run in range(2)
        for seed in range(2)
    ]
    assert check(pd.concat(runs)).runs == ["0, 0", "0, 1", "1, 0", "1, 1"]
    seeds = table.assign(seed=[""] + ["0"] * (COUNT - 1))
    with pytest.raises(DataError, match=r"each row must name its seed\. Received: row 2 \("):
        check(seeds)


def test_repeats_with_other_folds_are_left_out(table, check, monkeypatch):
    other = table.assign(repeat=1, fold=(table["fold"] + 1) % 5, probability=0.5)
    entry = check(pd.concat([table.assign(repeat=0), other]))
    assert (entry.runs, entry.other_repeats) == (["0"], ["1"])
    assert entry.tables[0]["probability"].nunique() == COUNT
    with pytest.raises(DataError, match=r"no repeat .* has the folds of split-.* --splits FILE"):
        check(other)
    monkeypatch.setattr(BenchmarkSplit, "is_named", True)
    with pytest.raises(DataError, match="draws these with --folds 5 --seed 0 and the default"):
        check(other)
    # A repeat that contradicts the split in a few images is no other split.
    wrong = table.assign(repeat=1, fold=np.where(np.arange(COUNT) < 3, 4, table["fold"]))
    with pytest.raises(DataError, match="fold must be the one in which"):
        check(pd.concat([table.assign(repeat=0), wrong]))


def test_a_copy_is_no_other_run(table, check):
    copies = pd.concat([table.assign(seed=0), table.iloc[::-1].assign(seed=1)])
    message = r"csv, seed 0 and .*predictions\.csv, seed 1 with the same predictions"
    with pytest.raises(DataError, match=message):
        check(copies)


def test_labels_may_be_written_as_others_write_them(table, check, split):
    for words in (split.images["finding"], (split.images["label"] == "lump").astype(int)):
        check(table.assign(label=words.to_numpy()))


def test_a_name_or_a_fingerprint_of_the_split_may_be_stated(table, check, split):
    for name in (split.name, split.fingerprint):
        check(table.assign(split_name=name))


def test_thresholds_follow_from_what_was_predicted(table, check):
    limit = np.where(table["fold"] == 2, 0.8, 0.3)
    limit[table["fold"] == 4] = 2.0  # no image is predicted lump there
    predicted = np.where(table["probability"] >= limit, "lump", "no_lump")
    entry = check(table.assign(predicted=predicted))
    found = entry.tables[0].set_index("image_id")["predicted"]
    assert found[table["image_id"]].tolist() == predicted.tolist()
    assert entry.thresholds == "from the column predicted"
    given = check(table.assign(threshold=0.25))
    assert given.tables[0]["threshold"].unique().tolist() == [0.25]
    assert given.thresholds == "given"


def test_without_a_column_fold_nothing_is_known_of_training(table, check):
    assert not check(table.drop(columns="fold")).folds_checked
