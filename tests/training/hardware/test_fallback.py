"""Memory that is exhausted halves the part, and what XLA cannot compile runs without it."""

import functools
import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from fitting import fit, read_history

from breastus.errors import HardwareError, RunError
from breastus.models import registry
from breastus.models.registry import register_model
from breastus.runs.run import Run
from breastus.training.hardware.fallback import train_with_fallback
from breastus.training.network import Execution
from breastus.workflows.train import train

pytestmark = pytest.mark.filterwarnings("ignore::breastus.errors.BreastusWarning")


@keras.saving.register_keras_serializable("tests")
class Narrow(keras.layers.Layer):
    """Lets at most `most` images pass in training, as memory would; XLA cannot compile it."""

    most = 8

    def call(self, images, training=False):
        def check(size):
            if training and size > self.most:
                raise MemoryError(f"OOM when allocating tensor of {size} images")
            return np.float32(1.0)

        one = tf.numpy_function(check, [tf.shape(images)[0]], tf.float32)
        return images * tf.ensure_shape(one, [])


@keras.saving.register_keras_serializable("tests")
class CompiledInTrainingOnly(keras.layers.Layer):
    """What XLA cannot compile comes in validation alone."""

    def call(self, images, training=False):
        return images if training else Narrow()(images)


@pytest.fixture(autouse=True)
def networks(monkeypatch):
    """Two small networks with these layers: `narrow` and `compiled`."""
    registry.list_models()
    monkeypatch.setattr(registry, "_BUILDERS", dict(registry._BUILDERS))
    for name, layer in (("narrow", Narrow), ("compiled", CompiledInTrainingOnly)):
        register_model(name)(functools.partial(small, layer))


def small(layer, *, num_classes, image_size):
    inputs = keras.Input((image_size, image_size, 3))
    x = keras.layers.GlobalAveragePooling2D(name="features")(layer()(inputs))
    x = keras.layers.Dropout(0.0, name="dropout")(x)
    x = keras.layers.Dense(num_classes, "softmax", name="probabilities", dtype="float32")(x)
    return keras.Model(inputs, x)


@pytest.fixture
def config(tiny_config):
    training = {"precision": "float32", "optimizer": "sgd", "epochs": 2, "batch_size": 8}
    changes = {
        "model": {"name": "narrow"},
        "training": training,
        "augmentation": {"policy": "none"},
    }
    return tiny_config.replace(changes)


@pytest.mark.parametrize("head_epochs", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_a_training_that_does_not_fit_continues_in_parts(
    config, tables, tmp_path, monkeypatch, capsys, head_epochs
):
    config = config.replace({"training": {"head_epochs": head_epochs}})
    whole = fit(tmp_path / "whole", config, tables)
    monkeypatch.setattr(Narrow, "most", 3)
    tried = []
    parts = fit(tmp_path / "parts", config, tables, remember=tried.append)
    assert [execution.accumulation_steps for execution in tried] == [2, 4]
    assert "batches of 8 images are now cut into 4 parts" in capsys.readouterr().err
    for name in whole:
        if name.startswith(("model/", "best.keras/")):
            np.testing.assert_allclose(parts[name], whole[name], atol=1e-5, err_msg=name)


def test_memory_that_shrinks_between_epochs_costs_no_epoch(config, tables, tmp_path, monkeypatch):
    whole = fit(tmp_path / "whole", config, tables)

    class Shrink(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            monkeypatch.setattr(Narrow, "most", 4 if epoch else 8)

    monkeypatch.setattr(Narrow, "most", 8)
    shrunk = fit(tmp_path / "shrunk", config, tables, callbacks=[Shrink()])
    rows = read_history(tmp_path / "shrunk")
    assert [row["epoch"] for row in rows] == [1, 2]
    # The state of whole batches was restored for parts: moments, count of updates, best weights.
    np.testing.assert_allclose(shrunk["history"][0], whole["history"][0], rtol=1e-6)
    for name in whole:
        if name.startswith("model/"):
            np.testing.assert_allclose(shrunk[name], whole[name], atol=1e-5, err_msg=name)


@pytest.mark.slow
def test_the_run_remembers_and_a_resumed_one_starts_there(config, tmp_path, monkeypatch):
    monkeypatch.setattr(Narrow, "most", 4)

    class Stop(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 1:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train("narrow", config=config, out=tmp_path / "run", callbacks=[Stop()])
    path = tmp_path / "run" / "environment.json"
    assert json.loads(path.read_text())["execution"] == {"accumulation_steps": 2, "xla": "off"}
    seen = []
    steps = keras.callbacks.LambdaCallback(on_train_batch_end=lambda step, logs: seen.append(step))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Narrow, "most", 8)  # so that nothing else would cut the batches
        train("narrow", config=config, out=tmp_path / "run", callbacks=[steps])
    assert len(seen) == 2 * 3  # 24 images in batches of 8, each in two parts
    assert Run(tmp_path / "run").environment["execution"]["accumulation_steps"] == 2


def test_one_image_that_does_not_fit_is_an_error_in_words(config, tables, tmp_path, monkeypatch):
    monkeypatch.setattr(Narrow, "most", 0)
    message = r"narrow at 32 x 32 pixels does not fit .* not even one image.*model\.image_size"
    with pytest.raises(HardwareError, match=message):
        fit(tmp_path / "run", config, tables)


def test_what_xla_cannot_compile_is_trained_without_it(config, tables, tmp_path, capsys):
    plain = fit(tmp_path / "plain", config, tables)
    tried = []
    config = config.replace({"training": {"xla": "on"}})
    found = fit(tmp_path / "xla", config, tables, remember=tried.append)
    assert [execution.jit_compile for execution in tried] == [False]
    assert "continues without XLA" in capsys.readouterr().err
    np.testing.assert_array_equal(found["model/0000"], plain["model/0000"])


def test_validation_does_without_xla_and_the_time_to_compile_is_said(
    config, tables, tmp_path, capsys
):
    tried = []
    config = config.replace({"model": {"name": "compiled"}, "training": {"xla": "on"}})
    fit(tmp_path / "run", config, tables, remember=tried.append)
    assert tried == []
    assert capsys.readouterr().err.count("XLA compiled the first step in") == 1


def fails(error):
    def train(execution):
        raise error

    return train


def test_other_failures_are_not_tried_again(tiny_config):
    full = tf.errors.ResourceExhaustedError(None, None, "No space left on device")
    for error in (full, tf.errors.InvalidArgumentError(None, None, "shapes differ")):
        with pytest.raises(type(error)):
            train_with_fallback(fails(error), Execution(), tiny_config)


@pytest.mark.parametrize(
    ("message", "changes", "devices", "expected"),
    [
        ("CUDNN_STATUS_ALLOC_FAILED", {}, 2, r"one of the 2 devices .*training\.devices=1"),
        (
            "Deterministic GPU implementation of x not available",
            {"deterministic": True},
            1,
            r"no deterministic form .*training\.deterministic=false",
        ),
    ],
)
def test_what_nothing_simpler_cures_has_a_way_out(tiny_config, message, changes, devices, expected):
    config = tiny_config.replace({"training": changes})
    error = tf.errors.InternalError(None, None, message)
    with pytest.raises(HardwareError, match=expected):
        train_with_fallback(fails(error), Execution(), config, devices=devices)


def test_a_full_disk_is_said_as_one(config, tables, tmp_path, monkeypatch):
    full = tf.errors.ResourceExhaustedError(None, None, "No space left on device")
    monkeypatch.setattr("breastus.training.trainer.Trainer._fit", lambda *_: fails(full)(None))
    with pytest.raises(RunError, match="disk space is exhausted"):
        fit(tmp_path / "run", config, tables)
