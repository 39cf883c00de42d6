"""Remedies reach the loss; half precision ends as a float32 model that equals its bundle."""

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from fitting import fit, read_history

from breastus.data.images import read_image, to_png
from breastus.workflows.train import train

pytestmark = pytest.mark.filterwarnings("ignore:.*(Undefined|interval):UserWarning")


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
def test_half_precision_is_exported_as_float32(tiny_config, tmp_path, precision):
    run = train(
        "cnn",
        config=tiny_config.replace({"training": {"precision": precision}}),
        out=tmp_path / "run",
    )
    assert keras.config.dtype_policy().name == "float32"
    model = keras.models.load_model(run.path / "best.keras", safe_mode=True)
    assert {layer.compute_dtype for layer in model.layers} == {"float32"}
    assert np.isfinite(run.history["loss"]).all()

    served = tf.saved_model.load(str(run.bundle / "saved_model"))
    table = pd.read_csv(run.path / "predictions_test.csv").set_index("image_id")
    paths = pd.read_csv(run.path / "manifest.csv").set_index("image_id")["path"]
    encoded = [to_png(read_image(paths[image_id])) for image_id in table.index]
    found = served.signatures["predict_bytes"](tf.constant(encoded))["lump"]
    np.testing.assert_allclose(found, table["probability"], atol=1e-4)


@pytest.mark.slow
def test_remedies_reach_the_loss(tiny_config, uneven_tables, tmp_path):
    base = tiny_config.replace(
        {"training": {"epochs": 1, "learning_rate": 1e-9}, "augmentation": {"policy": "none"}}
    )

    def first_loss(**changes):
        out = tmp_path / "-".join(map(str, changes.values()))
        fit(out, base.replace({"training": changes}), uneven_tables)
        return read_history(out)[0]["loss"]

    # The weights hardly move, so the losses differ by their formulas alone.
    plain = first_loss(focal_gamma=0.0)
    assert first_loss(focal_gamma=2.0) < 0.8 * plain
    assert first_loss(label_smoothing=0.5) != plain
    assert first_loss(class_weights="balanced") != plain
