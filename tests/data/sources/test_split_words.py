"""Folders that are a split, or nearly one, and what is said where they are not used."""

import warnings

import pytest

from breastus.data.manifest.build import load_manifest
from breastus.data.sources.resolve import read_content
from breastus.data.sources.split_words import is_fold, parse_split
from breastus.data.splits.make import make_splits
from breastus.errors import DataWarning, SplitError


@pytest.mark.parametrize(
    ("name", "split"),
    [
        *(("train", "train"), ("Training", "train"), ("train_set", "train"), ("trainset", "train")),
        *(("Training Images", "train"), ("01_train", "train"), ("train-data", "train")),
        *(("val", "val"), ("valid", "val"), ("Validation_Set", "val"), ("valset", "val")),
        *(("test", "test"), ("testing", "test"), ("test_set", "test"), ("Test Set", "test")),
        *(("test1", "test"), ("testset", "test"), ("hold-out", "test"), ("holdout_set", "test")),
        *(("TrainDataset", "train"), ("test_imgs", "test"), ("val-split", "val")),
        *(("dev", ""), ("data", ""), ("images", ""), ("test_hospital", ""), ("latest", "")),
        *(("fold_1", ""), ("lump", ""), ("", "")),
    ],
)
def test_words_for_the_parts_of_a_split(name, split):
    assert parse_split(name) == split


def test_the_first_folder_decides():
    assert parse_split("data", "Testing", "train") == "test"


def test_folds():
    assert all(map(is_fold, ("fold_0", "Fold 12", "fold1", "kfold-3", "cv2", "1_fold", "fold.4")))
    assert not any(map(is_fold, ("fold", "folder_1", "scaffold_1", "3", "train")))


@pytest.fixture
def write(tmp_path, write_image):
    """A function (part, count) that writes images of both classes into a folder of that name."""
    seeds = iter(range(1000))

    def write(part, count=3):
        for label in ("lump", "no_lump"):
            for number in range(count):
                write_image(tmp_path / part / label / f"{part}{number}.png", next(seeds))
        return tmp_path

    return write


@pytest.mark.parametrize("parts", [("training", "testing"), ("Train", "val_set", "test_set")])
def test_the_split_of_the_folders_is_used_by_any_of_its_words(write, parts):
    for part in parts:
        folder = write(part, 6)
    manifest = load_manifest(folder)
    splits = make_splits(manifest)
    test = set(splits.loc[splits["split"] == "test", "image_id"])
    assert test == {name for name in manifest["image_id"] if parts[-1] in name}
    assert len(test) == 12
    # Without a folder for it, a fifth of train is validation.
    sizes = splits["split"].value_counts()
    assert sizes["val"] == 12 if len(parts) == 3 else 1 < sizes["val"] < 4


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        (("train", "test", "zweite"), r"train, test is not used.*zweite \(6\)"),
        (("train", "val"), r"train and val is not used.*there is no test/"),
        (
            ("fold_0", "fold_1", "fold_2"),
            "folds of the folders fold_0, fold_1, fold_2 are not used",
        ),
        (("обучение", "тест"), "folders обучение, тест hold images of all classes each. They are"),
    ],
)
def test_a_split_of_folders_that_is_not_used_is_named(write, parts, message):
    for part in parts:
        folder = write(part)
    manifest = load_manifest(folder)
    assert len(manifest) == 6 * len(parts)
    with pytest.warns(DataWarning, match=message):
        make_splits(manifest)


def test_folders_of_a_class_and_a_split_are_named(tmp_path, write_image):
    labels = {}
    for seed, split in enumerate(("train", "test")):
        for index, label in enumerate(("lump", "no_lump")):
            labels[f"{split}_{label}"] = label
            for number in range(6):
                path = tmp_path / f"{split}_{label}" / f"{number}.png"
                write_image(path, 100 * seed + 10 * index + number)
    manifest = load_manifest(tmp_path, labels=labels)
    with pytest.warns(DataWarning, match="folders test_lump, test_no_lump, train_lump, .* are not"):
        make_splits(manifest)


def test_a_split_in_the_names_of_files_is_named(tmp_path, write_image):
    for seed in range(12):
        label, split = ("lump", "no_lump")[seed % 2], ("Train", "Test")[seed % 3 == 0]
        write_image(tmp_path / label / f"{split}_{seed:03d}.png", seed)
    write_image(tmp_path / "lump/other.png", 12)
    manifest = load_manifest(tmp_path)
    with pytest.warns(DataWarning, match=r"names of files, train \(8\), test \(4\), is not used"):
        make_splits(manifest)


def test_patients_in_class_folders_are_no_split(tmp_path, write_image):
    for seed in range(24):
        write_image(tmp_path / ("lump", "no_lump")[seed % 2] / f"{seed // 2}" / "a.png", seed)
    manifest = load_manifest(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        make_splits(manifest)


def test_the_scheme_folders_names_the_others(write):
    for part in ("train", "test", "zweite"):
        folder = write(part)
    with pytest.raises(SplitError, match=r"in none of them: zweite \(6\)\."):
        make_splits(load_manifest(folder), scheme="folders")
    for number in range(5):
        write(f"other{number}", 1)
    with pytest.raises(SplitError, match=r"in none of them: zweite \(6\), other.* and 2 more\."):
        make_splits(load_manifest(folder), scheme="folders")


def test_other_images_beside_busi_keep_a_source_of_their_own(tmp_path, write_image):
    for seed, name in enumerate(("benign/benign (1).png", "normal/normal (1).png")):
        write_image(tmp_path / "BUSI" / name, seed)
    write_image(tmp_path / "ours" / "lump" / "x.png", 7)
    manifest = load_manifest(tmp_path)
    assert manifest["image_id"].tolist() == [
        *("busi/BUSI/benign/benign (1)", "busi/BUSI/normal/normal (1)", "folder/ours/lump/x"),
    ]


BUSI = ("benign (6).png", "malignant (1).png", "normal (1).png")


@pytest.mark.parametrize("parts", [("training", "testing"), ("fold_0", "fold_1", "fold_2"), ("a",)])
def test_a_rearranged_busi_is_read_whole_and_keeps_its_faults(tmp_path, write_image, parts):
    for number, part in enumerate(parts):
        for seed, name in enumerate(BUSI):
            write_image(tmp_path / part / name.split()[0] / name, 10 * number + seed)
    found = read_content(tmp_path, known_faults=True)
    assert found.source == "busi"
    assert len(found.images) == 3 * len(parts)
    excluded = [image for image in found.images if image.excluded]
    assert {image.path.name for image in excluded} == {"benign (6).png"}
    assert len(excluded) == len(parts)
