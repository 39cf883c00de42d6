"""Exported splits: the folds that we train on, known by their content, and read back whole."""

import hashlib
import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from breastus.config.schema import Config
from breastus.data.manifest.build import load_manifest
from breastus.data.splits import benchmark
from breastus.data.splits.benchmark import (
    make_benchmark_split,
    parts_of_fold,
    pixel_checksums,
    with_parts,
    write_benchmark_split,
)
from breastus.data.splits.benchmark_file import read_benchmark_split
from breastus.data.splits.make import make_splits_of_settings
from breastus.errors import SplitError

KFOLD = Config().replace({"data": {"split": "kfold"}})


@pytest.fixture(scope="module")
def manifest(phantoms):
    table = load_manifest(phantoms)
    # A reason with a folder, an excluded image, and one without a label.
    table.loc[0, "excluded"] = f"unreadable: {phantoms}/secret.png is empty"
    table.loc[1, "excluded"] = "known fault: shows the axilla"
    table.loc[2, "label"] = ""
    return table


@pytest.fixture(scope="module")
def split(manifest):
    return make_benchmark_split(manifest, KFOLD.data, 0)


def test_the_folds_are_those_that_cross_validation_trains_on(manifest, split):
    exported = split.images.set_index("image_id")["fold"]
    for fold in range(5):
        settings = KFOLD.replace({"data": {"fold": fold}}).data
        trained = make_splits_of_settings(manifest, settings, 0).set_index("image_id")["split"]
        parts = parts_of_fold(fold, split.folds)
        for name, numbers in parts.items():
            assert set(exported.index[exported.isin(numbers)]) == set(
                trained.index[trained == name]
            )


def test_images_that_are_left_out_have_a_reason(manifest, split):
    reasons = split.excluded.set_index("image_id")["excluded"]
    assert reasons.to_dict() == dict(
        zip(
            manifest["image_id"][:3],
            ("unreadable", "known fault: shows the axilla", "no label"),
            strict=True,
        )
    )
    assert len(split.images) == len(manifest) - 3


def test_a_checksum_of_pixels_does_not_depend_on_the_file(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30), np.uint8)
    grey, color = Image.fromarray(pixels), Image.fromarray(pixels).convert("RGB")
    grey.save(tmp_path / "grey.png")
    color.save(tmp_path / "color.png", compress_level=0)
    color.save(tmp_path / "color.bmp")
    color.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "turned.png")
    names = ("grey.png", "color.png", "color.bmp", "turned.png")
    *same, turned = pixel_checksums([str(tmp_path / name) for name in names])
    assert set(same) == {hashlib.sha256(b"20x30\n" + color.tobytes()).hexdigest()}
    assert turned not in same


def test_a_split_is_known_by_pixels_labels_and_folds(manifest, split, monkeypatch):
    again = with_parts(
        manifest.sample(frac=1, random_state=1).assign(sha256="other", group_id="other"),
        split.parts,
        "fold",
    )
    assert again.fingerprint == split.fingerprint
    moved = split.parts.copy()
    moved.iloc[0] = (moved.iloc[0] + 1) % 5
    assert with_parts(manifest, moved, "fold").fingerprint != split.fingerprint
    row = manifest.index[manifest["image_id"] == split.parts.index[0]][0]
    other = "lump" if manifest.at[row, "label"] == "no_lump" else "no_lump"
    relabelled = manifest.copy()
    relabelled.at[row, "label"] = other
    assert with_parts(relabelled, split.parts, "fold").fingerprint != split.fingerprint

    assert split.name == f"split-{split.fingerprint[:12]}"
    assert not split.is_named
    monkeypatch.setitem(benchmark.NAMED_SPLITS, "phantoms-v1", split.fingerprint)
    assert (split.name, split.is_named) == ("phantoms-v1", True)


@pytest.mark.parametrize("format", ["csv", "json"])
@pytest.mark.parametrize("scheme", ["kfold", "group"])
def test_an_export_is_read_back(manifest, tmp_path, scheme, format):
    settings = KFOLD.replace({"data": {"split": scheme}}).data
    split, file = make_benchmark_split(manifest, settings, 3), tmp_path / f"mine.{format}"
    write_benchmark_split(split, file, format)
    text = file.read_text()
    assert str(manifest["path"][0].rpartition("/")[0]) not in text  # no folder of this machine
    read = read_benchmark_split(file, manifest)
    assert (read.fingerprint, read.by) == (split.fingerprint, split.by)
    assert read.tested["image_id"].tolist() == split.tested["image_id"].tolist()
    if format == "json" and scheme == "kfold":
        assert json.loads(text)["folds"][4] == {"test": [4], "val": [0], "train": [1, 2, 3]}


def test_a_file_that_pandas_wrote_again_is_read(manifest, split, tmp_path):
    file = tmp_path / "mine.csv"
    write_benchmark_split(split, file, "csv")
    pd.read_csv(file).to_csv(
        file, index=False
    )  # fold is 3.0 now, because excluded images have none
    assert ",3.0," in file.read_text()
    assert read_benchmark_split(file, manifest).fingerprint == split.fingerprint


def _edit(split, tmp_path, change):
    """Write an export, change its table, and return the file."""
    file = tmp_path / "mine.csv"
    write_benchmark_split(split, file, "csv")
    table = pd.read_csv(file, dtype=str, keep_default_na=False)
    change(table).to_csv(file, index=False)
    return file


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.drop(columns="fold"), "one of fold and split"),
        (lambda t: t.drop(columns=["image_id", "file"]), "must have a column of images"),
        (lambda t: t.assign(fold="x"), r"row 2 .*fold must be a whole number.*'x'"),
        (lambda t: t.assign(fold="1"), "at least two folds. Received: 1"),
        (lambda t: pd.concat([t, t.iloc[:1]]), r"rows 2 and \d+ are both"),
        (lambda t: t.assign(pixel_sha256="0" * 64), "37 have other pixels"),
        (lambda t: t.assign(label="lump"), r"\d+ have another label"),
        (lambda t: t.assign(image_id=t["image_id"] + "x"), "manifest does not contain"),
        (lambda t: t.assign(split="dev"), r"row 2 .*split must be one of train, val, test"),
        (lambda t: t.assign(split="train"), "in train and in test. Received: train"),
    ],
)
def test_files_that_do_not_fit_are_refused(manifest, split, tmp_path, change, message):
    file = _edit(split, tmp_path, change)
    with pytest.raises(SplitError, match=message) as caught:
        read_benchmark_split(file, manifest)
    assert str(file) in str(caught.value)


def test_a_json_file_is_what_its_name_says_or_refused(manifest, split, tmp_path):
    file = tmp_path / "mine.json"
    write_benchmark_split(split, file, "json")
    content = json.loads(file.read_text())
    content["name"] = "busi-scenes-v1"
    file.write_text(json.dumps(content))
    with pytest.raises(SplitError, match=r"states the name busi-scenes-v1, but .* split-"):
        read_benchmark_split(file, manifest)
    content["name"] = split.name
    content["images"][0]["fold"] = (content["images"][0]["fold"] + 1) % 5
    file.write_text(json.dumps(content))
    with pytest.raises(SplitError, match="--data give split-"):
        read_benchmark_split(file, manifest)
    for text in ("{}", "[1]", "{", '{"name": 1, "fingerprint": 2, "tested_by": "fold"}'):
        file.write_text(text)
        with pytest.raises(SplitError, match="cannot be read as a split that breastus exported"):
            read_benchmark_split(file, manifest)


def test_a_split_of_ones_own_may_leave_images_out(manifest, tmp_path):
    used = manifest.iloc[1:30]
    file = tmp_path / "mine.csv"
    part = np.where(np.arange(len(used)) % 3 == 0, "test", "train")
    pd.DataFrame({"path": used["path"], "split": part}).to_csv(file, index=False)
    read = read_benchmark_split(file, manifest)
    assert len(read.images) == 27  # an excluded image and one without a label are among the 29
    assert read.parts[manifest["image_id"][1]] == "test"  # it is known that the file used it
    assert set(read.excluded["excluded"]) >= {"not in mine.csv", "no label"}


@pytest.mark.data
@pytest.mark.slow
def test_busi_gives_the_named_split(real_data):
    for folder in ("busi", "busi/Dataset_BUSI_with_GT"):
        split = make_benchmark_split(load_manifest(real_data / folder), KFOLD.data, 0)
        assert split.name == "busi-scenes-v1"
        assert (len(split.images), split.images["group_id"].nunique()) == (673, 523)
        assert split.images["file"][0] == "benign/benign (1).png"
