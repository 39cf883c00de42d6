"""Similar training images of a prediction: with pictures in a run, without any in a bundle."""

import json
import shutil

import numpy as np
import pytest
import tensorflow as tf

from breastus.data.images import ImageFile, read_image, to_png
from breastus.deploy.bundle import Bundle
from breastus.deploy.explainer import Explainer
from breastus.deploy.predictor import Predictor
from breastus.explain.training_features import TrainingFeatures, network_features
from breastus.models.load import load_network
from breastus.preprocessing.transform import Transform
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


def test_the_graph_gives_the_distance_from_the_training_images(tiny_run, training, in_run):
    served = tf.saved_model.load(str(tiny_run.bundle / "saved_model"))
    known = TrainingFeatures.load(tiny_run.bundle / "training_features.npz")
    model = network_features(load_network(tiny_run.network))
    transform = Transform.from_config(tiny_run.config)
    for path in training["path"][:3]:
        pixels = read_image(path)
        found = served.signatures["serving_uint8"](images=tf.constant(pixels[None]))["distance"]
        raw = model(transform.normalize(transform.crop_and_resize(pixels))[None])
        np.testing.assert_allclose(found, known.distance(np.asarray(raw)), rtol=1e-3)


def test_an_unfamiliar_image_is_referred_with_a_reason(tiny_run, training, tmp_path):
    bundle = shutil.copytree(tiny_run.bundle, tmp_path / "cnn")
    file = bundle / "bundle.json"
    metadata = json.loads(file.read_text())
    assert metadata["distance_limit"] is None  # eight validation images are too few
    image = training["path"].iloc[0]
    for limit, unfamiliar in ((1e9, False), (1e-9, True), (None, False)):
        file.write_text(json.dumps(metadata | {"distance_limit": limit}))
        prediction = Predictor(bundle)(image)
        assert ("unfamiliar" in prediction.flags) == unfamiliar
        assert not prediction.unsuitable
        if unfamiliar:
            assert prediction.referred
            assert "95 % of the validation images" in prediction.reasons["unfamiliar"]
            page = check(bundle, image, out=tmp_path / "check.html").page.read_text()
            assert "farther from the training images" in page


def test_a_bundle_of_an_earlier_version_knows_none(alone, tmp_path, write_image):
    folder = shutil.copytree(alone._bundle.path, tmp_path / "old")
    (folder / "training_features.npz").unlink()
    metadata = Bundle.load(alone._bundle.path).metadata
    old = Explainer(Bundle(folder, metadata))
    assert old.similar_images(ImageFile.read(write_image(tmp_path / "new.png", 99))) == []
