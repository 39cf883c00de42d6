"""Lesion maps of a run: measured, shown only if better than the centre, drawn on images."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from breastus.cli.main import main
from breastus.data.images import to_png
from breastus.data.masks import lesion_mask
from breastus.data.sources.phantom import write_phantoms
from breastus.deploy.bundle import Bundle
from breastus.errors import DataError, RunError
from breastus.evaluation.localization import localization
from breastus.runs.run import Run
from breastus.workflows.check import check
from breastus.workflows.evaluate import evaluate_run
from breastus.workflows.explain import explain_images, measure_lesion_maps

pytestmark = pytest.mark.filterwarnings("ignore")  # few groups leave much undefined


@pytest.fixture(scope="module")
def measured(tiny_run, tmp_path_factory):
    """A copy of the run, measured by the command line."""
    folder = tmp_path_factory.mktemp("explained") / "cnn"
    shutil.copytree(tiny_run.path, folder)
    assert main(["explain", str(folder)]) == 0
    return Run(folder)


@pytest.fixture(scope="module")
def better(measured, tmp_path_factory):
    """The run as if each map had pointed at its lesion, with the report and bundle of that."""
    run = Run(shutil.copytree(measured.path, tmp_path_factory.mktemp("better") / "cnn"))
    found = run.read_explanation()
    for number, image in enumerate(found["images"]):
        image |= {"hit": number > 0, "centre_hit": False}
    table = pd.DataFrame(found["images"])
    found |= localization(table, table["group_id"].tolist())
    run.write_explanation(found, run.read_lesion_maps())
    evaluate_run(run)
    return run


def test_it_measures_the_test_images_with_a_mask(measured):
    found = json.loads((measured.path / "explanation.json").read_text())
    tested = measured.read_images().query("split == 'test'")
    masked = tested[tested["mask_paths"] != ""]
    assert found["method"] == "grad_cam"
    assert found["n"] == len(masked) == len(found["images"])
    assert found["randomization"][-1]["layers"] == 4
    assert found["occlusion"]["images"] == min(8, len(masked))
    # The centre of an image knows nothing of the network: masks alone say what it finds.
    hits = []
    for row in masked.itertuples():
        mask = lesion_mask([row.mask_paths], (row.height, row.width))
        hits.append(mask[row.height // 2, row.width // 2] > 0)
    assert found["centre_pointing_game"]["value"] == pytest.approx(np.mean(hits), abs=0.15)
    assert set(measured.read_lesion_maps()) == set(tested["image_id"])
    bundle = json.loads((measured.path / "bundle" / "bundle.json").read_text())["explanation"]
    assert bundle == {name: part for name, part in found.items() if name != "images"}


def test_maps_that_are_no_better_than_the_centre_are_not_shown(measured, tmp_path, speckle):
    assert not measured.read_explanation()["better_than_centre"]
    html = (measured.path / "report.html").read_text()
    assert "Lesion maps" in html
    assert "with the lesion map" not in html
    assert "not established" in html
    image = tmp_path / "scan.png"
    image.write_bytes(to_png(speckle(80, 100)))
    page = check(measured.bundle, image, out=tmp_path / "check.html").page.read_text()
    assert "with the lesion map" not in page
    assert "not established" in page
    found = explain_images(measured, image, out=tmp_path / "maps")
    assert "not established" in found.no_lesion_map
    assert found.images[0].picture is None
    assert not (tmp_path / "maps").exists()


def test_a_network_that_was_not_measured_shows_none(tiny_run, tmp_path, write_image, capsys):
    image = write_image(tmp_path / "scan.png")
    assert main(["explain", str(tiny_run.bundle), str(image), "--out", str(tmp_path / "x")]) == 0
    assert "was not measured" in capsys.readouterr().out
    assert not (tmp_path / "x").exists()


def test_better_maps_are_shown(better, tmp_path, speckle, capsys):
    html = (better.path / "report.html").read_text()
    assert html.count("Points at the lesion, with the lesion map") == 2
    assert html.count("Points elsewhere, with the lesion map") == 1
    scan, bad = tmp_path / "scan.png", tmp_path / "bad.png"
    scan.write_bytes(to_png(speckle(80, 100)))
    bad.touch()
    page = check(better.bundle, scan, out=tmp_path / "check.html").page.read_text()
    assert "with the lesion map" in page
    out = tmp_path / "maps"
    arguments = [str(path) for path in (scan, scan, bad)]
    assert main(["explain", str(better.path), *arguments, "--out", str(out)]) == 1
    assert "bad.png is empty" in capsys.readouterr().err
    assert sorted(path.name for path in out.iterdir()) == ["scan-2.png", "scan.png"]
    with Image.open(out / "scan.png") as picture:
        pixels = np.asarray(picture)
    np.testing.assert_array_equal(pixels[:, :100], speckle(80, 100))
    beside = pixels[:, 108:208].astype(int)
    assert (np.ptp(beside, axis=-1) > 20).any()  # colours
    with pytest.raises(RunError, match="not empty"):
        explain_images(better, scan, out=out)


def test_the_bundle_keeps_what_was_measured(better):
    published = Bundle.load(better.bundle).metadata["explanation"]
    assert published["better_than_centre"]


def test_without_masks_there_is_nothing_to_measure(tiny_run, tmp_path):
    run = Run(shutil.copytree(tiny_run.path, tmp_path / "run"))
    run.write_manifest(run.read_manifest().assign(mask_paths=""))
    with pytest.raises(DataError, match="no test image of a lump with a lesion mask"):
        measure_lesion_maps(run)


def test_images_and_out_belong_together(tiny_run, capsys):
    assert main(["explain", str(tiny_run.path), "image.png"]) == 2
    assert "--out belong together" in capsys.readouterr().err


def test_another_data_set_is_measured_and_nothing_is_written(tiny_run, tmp_path, capsys):
    other = write_phantoms(tmp_path / "other", count=9, seed=3)
    masks = len(list(other.rglob("*_mask.png")))
    assert main(["explain", str(tiny_run.bundle), "--data", str(other)]) == 0
    assert f"of {masks} images with a mask" in capsys.readouterr().out
    assert not tiny_run.has("explanation.json")
