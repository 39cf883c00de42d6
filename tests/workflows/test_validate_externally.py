"""External images that a run was trained on under another name are excluded and counted."""

import io
import shutil

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from breastus.cli.main import main
from breastus.data.images import read_image
from breastus.data.manifest.schema import read_manifest
from breastus.errors import DataError
from breastus.reporting.texts import external_summary
from breastus.runs.run import Run
from breastus.training.external_leakage import find_external_leakage
from breastus.workflows.validate_externally import evaluate_external

pytestmark = pytest.mark.filterwarnings("ignore")  # few groups leave much undefined


def parts_of(run):
    """Return the manifest rows of a run with their split."""
    manifest = read_manifest(run.path / "manifest.csv")
    splits = pd.read_csv(run.path / "splits.csv")[["image_id", "split"]]
    return manifest.merge(splits, on="image_id")


def saved_anew(source, path, *, crop=0.0, quality=80):
    """Write an image again as a JPEG, scaled a little and cut on the left; return the path."""
    pixels = read_image(source)[:, int(crop * 100) :]
    height, width = pixels.shape[:2]
    image = Image.fromarray(np.ascontiguousarray(pixels)).resize((width - 9, height - 7))
    data = io.BytesIO()
    image.save(data, "JPEG", quality=quality)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data.getvalue())
    return path


@pytest.fixture
def elsewhere(tiny_run, class_folders):
    """Folders of 12 new images, 3 copies of training and validation images, and one of a test."""
    root = class_folders(no_lump=6, lump=6)
    rows = parts_of(tiny_run)
    for split, count in (("train", 2), ("val", 1), ("test", 1)):
        for number, row in enumerate(rows[rows["split"] == split].head(count).itertuples()):
            saved_anew(row.path, root / row.label / f"{split} {number}.jpg", crop=0.03 * number)
    return root


def test_copies_that_were_saved_anew_are_no_test(tiny_run, elsewhere, tmp_path):
    found = evaluate_external(tiny_run, elsewhere, out=tmp_path / "out")
    manifest = read_manifest(tmp_path / "out" / "manifest.csv")
    tested = set(pd.read_csv(tmp_path / "out" / "predictions.csv")["image_id"])
    left = manifest[~manifest["image_id"].isin(tested)]
    assert sorted(path.rsplit("/", 1)[1] for path in left["path"]) == [
        *("train 0.jpg", "train 1.jpg", "val 0.jpg"),
    ]
    assert left["excluded"].str.match("duplicate: near-duplicate of phantom/.*, which took").all()
    assert found.metrics["test"]["n"] == 13
    assert found.metrics["excluded_training_images"] == 0
    seen = (parts_of(tiny_run)["split"] != "test").sum()
    assert found.metrics["near_duplicates"] == {"excluded": 3, "compared": seen, "missing": 0}
    text = "3 further images were excluded as near-duplicates"
    assert text in external_summary(found)[0]
    assert text in (tmp_path / "out" / "report.html").read_text()
    assert "Only identical" not in external_summary(found)[0]


def test_a_folder_that_holds_something_else_is_left_alone(
    tiny_run, class_folders, tmp_path, monkeypatch
):
    images, out = class_folders(no_lump=4, lump=4), tmp_path / "out"
    out.mkdir()
    first = evaluate_external(tiny_run, images, out=out)  # an empty folder is free
    before = first.file("metrics.json").read_bytes()
    again = evaluate_external(tiny_run, images, out=out)
    assert again.file("metrics.json").read_bytes() == before
    arguments = ["evaluate", str(tiny_run.path), "--data", str(images), "--out"]
    thesis = tmp_path / "thesis"
    thesis.mkdir()
    (thesis / "metrics.json").write_text("{}")
    assert main([*arguments, str(thesis)]) == 1
    assert main([*arguments, str(thesis / "metrics.json")]) == 1
    assert (thesis / "metrics.json").read_text() == "{}"
    next(images.rglob("*.png")).unlink()  # other images
    assert main([*arguments, str(out)]) == 1
    assert again.file("metrics.json").read_bytes() == before


def test_a_run_that_other_devices_trained_is_evaluated_here(tiny_run, class_folders, tmp_path):
    run = Run(shutil.copytree(tiny_run.path, tmp_path / "cnn"))
    training = {"profile": "t4", "precision": "mixed_float16", "devices": 2}
    (run.path / "config.yaml").write_text(run.config.replace({"training": training}).to_yaml())
    images = class_folders(no_lump=4, lump=4)
    arguments = ["evaluate", str(run.path), "--data", str(images), "--out", str(tmp_path / "out")]
    assert main([*arguments, "--robustness", "--severities", "1", "--corruptions", "blur"]) == 0
    assert (tmp_path / "out" / "robustness.json").exists()


def test_other_images_of_a_patient_that_was_seen_are_no_test(tiny_run, class_folders, tmp_path):
    """One is a near-duplicate, one the same file; of each there is another image of the patient."""
    rows = parts_of(tiny_run)
    train = rows[rows["split"] == "train"]["path"].tolist()
    root = class_folders(no_lump=4, lump=4)
    copy = saved_anew(train[0], root / "copy.jpg")
    paths = [*sorted(root.rglob("*/*.png")), copy, train[1]]
    lines = [f"{path},{path.parent.name},p{number % 8}" for number, path in enumerate(paths[:8])]
    lines += [f"{copy},lump,p0", f"{train[1]},lump,p1"]
    (tmp_path / "mine.csv").write_text("\n".join(["path,label,patient_id", *lines]))
    found = evaluate_external(tiny_run, tmp_path / "mine.csv", out=tmp_path / "out")
    assert found.metrics["excluded_training_images"] == 1
    assert found.metrics["near_duplicates"]["excluded"] == 3
    assert found.metrics["test"]["n"] == 6


def test_files_that_are_gone_are_said(tiny_run, elsewhere, tmp_path, capsys):
    run = Run(shutil.copytree(tiny_run.path, tmp_path / "cnn"))
    manifest = pd.read_csv(run.path / "manifest.csv", dtype=str, keep_default_na=False)
    seen = parts_of(run).query("split != 'test'")["image_id"]
    some = manifest["image_id"].isin(seen.iloc[4:])
    moved = manifest.assign(path=manifest["path"].mask(some, "/nowhere/image.png"))
    moved.to_csv(run.path / "manifest.csv", index=False)
    found = evaluate_external(run, elsewhere, out=tmp_path / "some")
    counts = found.metrics["near_duplicates"]
    assert (counts["compared"], counts["missing"]) == (4, len(seen) - 4)
    assert (
        f"The files of {len(seen) - 4} of {len(seen)} training images are"
        in external_summary(found)[0]
    )

    moved.assign(path="/nowhere/image.png").to_csv(run.path / "manifest.csv", index=False)
    arguments = ["evaluate", str(run.path), "--data", str(elsewhere), "--out"]
    assert main([*arguments, str(tmp_path / "none")]) == 0
    text = "Only identical files were searched for, no near-duplicates: the files of the"
    assert text in capsys.readouterr().out
    assert text in (tmp_path / "none" / "report.html").read_text()
    tested = pd.read_csv(tmp_path / "none" / "predictions.csv")
    assert len(tested) == 16


def test_class_names_of_another_hospital(tiny_run, class_folders, tmp_path, capsys):
    root = class_folders(no_lump=6, lump=6)
    (root / "lump").rename(root / "krebs")
    (root / "no_lump").rename(root / "gesund")
    names = ["krebs=lump", "gesund=no_lump"]
    arguments = ["evaluate", str(tiny_run.path), "--data", str(root), "--out", str(tmp_path / "o")]
    assert main(arguments) == 1
    assert "--labels gesund=no_lump krebs=lump" in capsys.readouterr().err
    assert main([*arguments, "--labels", *names]) == 0
    assert len(pd.read_csv(tmp_path / "o" / "predictions.csv")) == 12
    page = str(tmp_path / "check.html")
    arguments = ["check", str(tiny_run.path), "--data", str(root), "--out", page, "--count", "2"]
    assert main([*arguments, "--labels", *names]) == 0


def test_nothing_but_copies_leaves_nothing_to_test_on(tiny_run, tmp_path):
    for number, row in enumerate(parts_of(tiny_run).query("split == 'train'").itertuples()):
        saved_anew(row.path, tmp_path / "images" / row.label / f"{number}.jpg")
    with pytest.raises(DataError, match="0 took part in training, 24 resemble"):
        evaluate_external(tiny_run, tmp_path / "images", out=tmp_path / "out")


def test_a_file_that_was_replaced_is_not_compared(tmp_path, write_image):
    path = write_image(tmp_path / "a.png", 1)
    new = pd.DataFrame({"image_id": ["new"], "path": [str(path)], "sha256": ["x"]})
    seen = pd.DataFrame({"image_id": ["old"], "path": [str(path)], "sha256": ["another"]})
    assert find_external_leakage(new, seen, threshold=0.76) == ({}, 0, 1)
