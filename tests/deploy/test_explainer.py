"""Similar training images of a prediction: with pictures in a run, without any in a bundle."""

import shutil

import numpy as np
import pytest

from breastus.data.images import ImageFile, read_image, to_png
from breastus.deploy.bundle import Bundle
from breastus.deploy.explainer import Explainer
from breastus.workflows.check import check


@pytest.fixture(scope="module")
def training(tiny_run):
    images = tiny_run.read_images()
    return images[images["split"] == "train"].set_index("image_id")


@pytest.fixture(scope="module")
def in_run(tiny_run):
    return Explainer(Bundle.load(tiny_run.bundle))


@pytest.fixture(scope="module")
def alone(tiny_run, tmp_path_factory):
    """The bundle, copied to where no run is."""
    folder = tmp_path_factory.mktemp("models") / "cnn"
    return Explainer(Bundle.load(shutil.copytree(tiny_run.bundle, folder)))


def test_they_are_training_images_of_other_scenes(training, in_run, alone):
    own = training.iloc[3]
    for explainer in (in_run, alone):
        found = explainer.similar_images(ImageFile.read(own["path"]))
        assert len(found) == 3
        assert all(one.label == training.loc[one.image_id, "label"] for one in found)
        groups = training.loc[[one.image_id for one in found], "group_id"]
        assert groups.is_unique
        assert own["group_id"] not in set(groups)
        distances = [one.distance for one in found]
        assert distances == sorted(distances)


def test_a_near_duplicate_is_known_by_its_pixels(training, in_run):
    own = training.iloc[5]
    pixels = read_image(own["path"])
    # Another file, other features: cut, darker and mirrored.
    changed = np.ascontiguousarray(pixels[12:-12, 12:-12][:, ::-1]) // 2
    found = in_run.similar_images(ImageFile.read(to_png(changed)))
    groups = training.loc[[one.image_id for one in found], "group_id"]
    assert own["group_id"] not in set(groups)


def test_only_a_run_knows_their_files(training, in_run, alone, tiny_run, tmp_path, write_image):
    file = ImageFile.read(write_image(tmp_path / "new.png", 99))
    for one in in_run.similar_images(file):
        assert one.path == training.loc[one.image_id, "path"]
    assert not any(one.path for one in alone.similar_images(file))
    page = check(tiny_run.bundle, tmp_path / "new.png", out=tmp_path / "run.html").page.read_text()
    assert page.count('alt="training image, ') == 3
    bundle = alone._bundle.path
    page = check(bundle, tmp_path / "new.png", out=tmp_path / "bundle.html").page.read_text()
    assert "Most similar training images" in page
    assert "training image, " not in page
    for path in bundle.rglob("*"):
        assert path.suffix not in (".png", ".jpg", ".pkl")


def test_a_bundle_of_an_earlier_version_knows_none(alone, tmp_path, write_image):
    folder = shutil.copytree(alone._bundle.path, tmp_path / "old")
    (folder / "training_features.npz").unlink()
    metadata = Bundle.load(alone._bundle.path).metadata
    old = Explainer(Bundle(folder, metadata))
    assert old.similar_images(ImageFile.read(write_image(tmp_path / "new.png", 99))) == []
