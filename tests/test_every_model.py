"""Each registered network goes the whole way on real images: an epoch, a bundle that equals it."""

import shutil

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from breastus.config.presets import _RECIPES, default_config
from breastus.data.images import read_image, to_png
from breastus.models.registry import list_models
from breastus.workflows.train import train


@pytest.fixture(scope="module")
def few_images(real_data, tmp_path_factory):
    """Sixteen images of BUSI with a lump and twelve without, as class folders."""
    root = tmp_path_factory.mktemp("busi")
    released = real_data / "busi" / "Dataset_BUSI_with_GT"
    for finding, label, numbers in (
        ("benign", "lump", range(1, 17)),
        ("normal", "no_lump", range(3, 27, 2)),
    ):
        (root / label).mkdir()
        for number in numbers:
            shutil.copy(released / finding / f"{finding} ({number}).png", root / label)
    return root


@pytest.mark.slow
@pytest.mark.data
@pytest.mark.filterwarnings("ignore:.*(Undefined|interval|random weights)")
@pytest.mark.parametrize("name", list_models())
def test_an_epoch_and_a_bundle_that_equals_the_network(name, few_images, tmp_path):
    config = default_config(name).replace(
        {
            "training": {"epochs": 1, "warmup_epochs": 0.0, "batch_size": 8},
            "evaluation": {"resamples": 100},
        }
    )
    run = train(name, data=few_images, config=config, out=tmp_path / "run")
    assert np.isfinite(run.history["loss"]).all()

    served = tf.saved_model.load(str(run.bundle / "saved_model"))
    table = pd.read_csv(run.path / "predictions_test.csv").set_index("image_id")
    paths = pd.read_csv(run.path / "manifest.csv").set_index("image_id")["path"]
    encoded = [to_png(read_image(paths[image_id])) for image_id in table.index]
    found = served.signatures["predict_bytes"](tf.constant(encoded))
    np.testing.assert_allclose(found["lump"], table["probability"], atol=1e-4)

    # And the Keras file in it is the same network, without anything that is trusted blindly.
    keras.models.load_model(run.bundle / "model.keras", safe_mode=True)


def test_each_network_has_settings_of_its_own():
    assert set(_RECIPES) == set(list_models())
    swin = default_config("swin")
    training = swin.training
    # The study's Table III.
    assert (training.optimizer, training.learning_rate, training.weight_decay) == (
        "adamw",
        3e-5,
        0.2,
    )
    assert (training.batch_size, training.epochs, swin.model.weights) == (16, 15, "auto")
    assert default_config("mine").model.name == "mine"
