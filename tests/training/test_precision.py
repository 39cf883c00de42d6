"""Half precision: training converges alike, overflow is no NaN, and a resumed run ends alike."""

import keras
import numpy as np
import pytest
from fitting import assert_equal, fit

from breastus.config.schema import Config
from breastus.errors import TrainingError
from breastus.training.callbacks.epoch_end import TerminateOnNonFinite
from breastus.training.callbacks.weight_averaging import WeightAverage
from breastus.training.network import compile_model, new_model

PRECISIONS = ["float32", "mixed_bfloat16", "mixed_float16"]


def compiled(precision, **training):
    keras.utils.set_random_seed(0)
    config = Config.from_dict(
        {
            "model": {"image_size": 32, "dropout": 0.0},
            "training": {"precision": precision, **training},
        }
    )
    model = new_model(config, precision=precision)
    compile_model(model, config, labels=[0, 1], steps_per_epoch=4)
    return model


def spots(count=32):
    """Noise; in every other image with a bright spot somewhere."""
    rng = np.random.default_rng(0)
    images = rng.normal(size=(count, 32, 32, 3)).astype("float32")
    for number in range(0, count, 2):
        y, x = rng.integers(4, 20, 2)
        images[number, y : y + 8, x : x + 8] += 3.0
    return images, np.eye(2, dtype="float32")[np.arange(count) % 2]


@pytest.mark.slow
@pytest.mark.gpu
def test_training_converges_alike_in_each_precision():
    x, y = spots()
    losses = {}
    for precision in PRECISIONS:
        model = compiled(precision, learning_rate=3e-3)
        model.fit(x, y, batch_size=8, epochs=6, verbose=0, shuffle=False)
        losses[precision] = model.evaluate(x, y, verbose=0)[0]
        assert model.predict(x[:2], verbose=0).dtype == np.float32
    assert max(losses.values()) < 0.1, losses
    assert max(losses.values()) - min(losses.values()) < 0.05, losses


def test_loss_scaling_is_there_and_its_overflow_is_neither_nan_nor_an_update():
    x, y = spots(16)
    model = compiled("mixed_float16", schedule="cosine", accumulation_steps=2, layer_decay=0.5)
    optimizer = model.optimizer
    assert isinstance(optimizer, keras.optimizers.LossScaleOptimizer)
    assert optimizer.inner_optimizer.gradient_accumulation_steps == 2
    assert float(optimizer.learning_rate) == pytest.approx(1e-3)
    average = WeightAverage(model, 0.9)
    before = model.get_weights()
    optimizer.dynamic_scale.assign(2.0**60)
    history = model.fit(
        x, y, batch_size=4, verbose=0, callbacks=[TerminateOnNonFiniteInTraining(), average]
    ).history
    assert np.isfinite(history["loss"]).all()
    assert float(optimizer.dynamic_scale) == 2.0**56
    assert int(optimizer.iterations) == int(average.variables[-1]) == 0
    for one, other in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(one, other)


class TerminateOnNonFiniteInTraining(TerminateOnNonFinite):
    def on_epoch_end(self, epoch, logs=None):
        """There is no validation here."""


@pytest.mark.slow
@pytest.mark.parametrize(
    "precision", ["mixed_bfloat16", pytest.param("mixed_float16", marks=pytest.mark.slow)]
)
def test_resumed_in_half_precision(tiny_config, tables, tmp_path, interrupted, precision):
    config = tiny_config.replace({"training": {"precision": precision, "epochs": 3}})
    whole = fit(tmp_path / "whole", config, tables)
    if precision == "mixed_float16":
        assert 2.0**15 in [value for name, value in whole.items() if value.size == 1]
    assert_equal(interrupted(tmp_path / "run", config, tables, epoch=2, step=1), whole)


@pytest.mark.parametrize(
    "training",
    [
        pytest.param({"accumulation_steps": 3}, marks=pytest.mark.slow),
        {"precision": "mixed_float16", "ema": 0.9},
    ],
)
def test_a_loss_that_is_nan_is_named_whatever_else_is_at_work(
    tiny_config, tables, tmp_path, monkeypatch, training
):
    class Explode(keras.losses.CategoricalCrossentropy):
        def call(self, y_true, y_pred):
            return super().call(y_true, y_pred) * float("nan")

    monkeypatch.setattr("breastus.training.network.make_loss", lambda *_, **__: Explode())
    with pytest.raises(TrainingError, match=r"loss is nan in epoch 1, at step \d"):
        fit(tmp_path / "run", tiny_config.replace({"training": training}), tables)
