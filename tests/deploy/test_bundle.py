"""A bundle is one folder that TensorFlow alone serves, and that equals what was trained."""

import io
import json
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from breastus.data.annotations.drawing import draw_annotations
from breastus.data.images import ImageFile, read_image, to_png
from breastus.deploy.bundle import checksums, publish, write_files
from breastus.deploy.serving import ServingModule
from breastus.evaluation.calibration.temperature import apply_temperature
from breastus.phantoms.simulation import simulate_phantom
from breastus.preprocessing.transform import Transform
from breastus.reporting.model_card import model_card
from breastus.reporting.texts import counts


@pytest.fixture(scope="module")
def scans():
    return [np.repeat(simulate_phantom(9, i).image[..., None], 3, axis=-1) for i in range(4)]


@pytest.fixture(scope="module")
def served(tiny_run):
    return tf.saved_model.load(str(tiny_run.bundle / "saved_model"))


def files(scans, form):
    encoded = []
    for scan in scans:
        buffer = io.BytesIO()
        Image.fromarray(scan).save(buffer, form)
        encoded.append(buffer.getvalue())
    return encoded


def test_what_is_in_it(tiny_run):
    names = {path.name for path in tiny_run.bundle.iterdir()}
    assert {"saved_model", "bundle.json", "model.keras", "MODEL_CARD.md"} <= names
    info = json.loads((tiny_run.bundle / "bundle.json").read_text())
    assert info["labels"] == ["no_lump", "lump"]
    assert 0 < info["threshold"] < 1
    assert 0.05 <= info["temperature"] <= 20
    assert info["input_size"] == 32
    assert info["preprocessing"]["annotations"] == "keep"
    assert info["trained_on"]["phantom"] is True
    assert info["trained_on"]["images"] == 24
    assert set(info["metrics"]["test"]["roc_auc"]) == {"value", "ci_low", "ci_high"}
    found = checksums(tiny_run.bundle)
    assert found == info["files"]
    card = (tiny_run.bundle / "MODEL_CARD.md").read_text()
    assert "never seen a patient" in card
    assert "not a medical device" in card
    assert counts(info["metrics"]) in card


def test_tensorflow_alone_serves_it(tiny_run, scans, tmp_path):
    """In a process that cannot import breastus, nor Keras."""
    image = tmp_path / "scan.png"
    image.write_bytes(to_png(scans[0]))
    code = f"""
import sys
sys.modules["breastus"] = sys.modules["keras"] = None
import tensorflow as tf
served = tf.saved_model.load({str(tiny_run.bundle / "saved_model")!r})
data = tf.io.read_file({str(image)!r})
out = served.signatures["predict_bytes"](tf.stack([data, data]))
assert out["probabilities"].dtype == out["lump"].dtype == tf.float32
assert out["probabilities"].shape == (2, 2), out
print(float(out["lump"][0]))
pixels = tf.cast(tf.io.decode_png(data, 3), tf.float32)[None]
print(float(served.signatures["serving_default"](pixels)["lump"][0]))
"""
    done = subprocess.run(
        [sys.executable, "-I", "-c", code], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    from_bytes, from_pixels = map(float, done.stdout.split())
    assert from_bytes == pytest.approx(from_pixels, abs=1e-6)


@pytest.mark.parametrize("form", ["PNG", "JPEG"])
def test_bytes_pixels_and_the_training_pipeline_agree(tiny_run, served, scans, form):
    encoded = files(scans, form)
    from_bytes = served.signatures["predict_bytes"](tf.constant(encoded))["probabilities"]

    transform = Transform.from_config(tiny_run.config)
    pixels = tf.stack([transform.decode(data) for data in encoded])
    inputs = transform.normalize(tf.cast(pixels, tf.float32))
    network = keras.models.load_model(tiny_run.bundle / "model.keras", safe_mode=True)
    temperature = json.loads((tiny_run.bundle / "bundle.json").read_text())["temperature"]
    expected = apply_temperature(network.predict(inputs, verbose=0), temperature)
    np.testing.assert_allclose(from_bytes, expected, atol=1e-6)

    for row, data in enumerate(encoded):
        pixels = tf.constant(ImageFile.read(data).pixels[None])
        for name, batch in (
            ("serving_default", tf.cast(pixels, tf.float32)),
            ("serving_uint8", pixels),
        ):
            found = served.signatures[name](images=batch)["probabilities"]
            np.testing.assert_allclose(found[0], expected[row], atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("marks", ["remove", "only"])
def test_marks_are_treated_in_the_exported_graph_as_in_training(scans, tmp_path, marks):
    mean = keras.Sequential([keras.Input((32, 32, 3)), keras.layers.GlobalAveragePooling2D()])
    sides = keras.layers.Dense(2, activation="softmax", kernel_initializer="ones")
    network = keras.Sequential([mean, sides])
    sides.set_weights([np.array([[1.0, -1], [0, 0], [0, 0]]), np.zeros(2)])
    transform = Transform(image_size=32, annotations=marks)
    ServingModule(network, transform).save(tmp_path / "served")
    signatures = tf.saved_model.load(str(tmp_path / "served")).signatures

    marked = draw_annotations(scans[0] // 3 * 2, 0)
    trained_on = transform.normalize(transform.decode(to_png(marked))[None])
    expected = network(trained_on).numpy()
    kept = Transform(image_size=32).bytes_to_input(tf.constant([to_png(marked)]))
    assert np.abs(network(kept).numpy() - expected).max() > 1e-3
    pixels = tf.constant(marked[None])
    for name, batch in (
        ("predict_bytes", {"encoded": tf.constant([to_png(marked)])}),
        ("serving_uint8", {"images": pixels}),
        ("serving_default", {"images": tf.cast(pixels, tf.float32)}),
    ):
        np.testing.assert_allclose(signatures[name](**batch)["probabilities"], expected, atol=1e-6)


def test_the_predictions_of_the_run_are_those_of_the_bundle(tiny_run, served):
    import pandas as pd

    table = pd.read_csv(tiny_run.path / "predictions_test.csv").set_index("image_id")
    paths = pd.read_csv(tiny_run.path / "manifest.csv").set_index("image_id")["path"]
    encoded = [to_png(read_image(paths[image_id])) for image_id in table.index]
    found = served.signatures["predict_bytes"](tf.constant(encoded))["lump"]
    np.testing.assert_allclose(found, table["probability"], atol=1e-5)


def test_a_batch_of_any_size_and_images_of_any_shape(served):
    for shape in ((1, 5, 9), (3, 700, 33), (2, 1, 1)):
        batch = np.random.default_rng(0).integers(0, 255, (*shape, 3)).astype("float32")
        out = served.signatures["serving_default"](images=batch)
        assert out["probabilities"].shape == (shape[0], 2)
        assert np.isfinite(out["probabilities"]).all()


def test_publishing_replaces_what_stood_there(tiny_run, tmp_path):
    out = tmp_path / "models" / "cnn"
    out.mkdir(parents=True)
    (out / "old").touch()
    publish(tiny_run.bundle, out)
    assert checksums(out) == checksums(tiny_run.bundle)
    assert [path.name for path in out.parent.iterdir()] == ["cnn"]


def test_how_graphs_of_another_bundle_compare_is_not_recorded(tmp_path):
    write_files(tmp_path, {"labels": [], "runtimes": {"onnx": {}}}, card="", seen=[])
    assert "runtimes" not in json.loads((tmp_path / "bundle.json").read_text())


def test_the_card_of_a_leaking_split_says_so(tiny_run):
    info = json.loads((tiny_run.bundle / "bundle.json").read_text())
    assert "The split leaks" not in model_card(info)
    info["trained_on"]["groups_ignored"] = True
    assert "The split leaks" in model_card(info)
