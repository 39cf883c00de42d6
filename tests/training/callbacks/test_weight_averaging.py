"""The average of the weights equals its formula, and is what is validated and kept."""

import keras
import numpy as np
import pytest
from fitting import assert_equal, fit

from breastus.training.callbacks.weight_averaging import WeightAverage, in_place


class Watch(keras.callbacks.Callback):
    """Remembers the weights after each update."""

    def __init__(self, parts):
        super().__init__()
        self.parts, self.seen = parts, []

    def on_train_batch_end(self, batch, logs=None):
        if (batch + 1) % self.parts == 0:
            self.seen.append(self.model.get_weights())


@pytest.mark.parametrize("parts", [1, 2])
def test_it_equals_its_formula_with_batch_norm(parts):
    keras.utils.set_random_seed(0)
    layers = keras.layers
    model = keras.Sequential(
        [keras.Input((3,)), layers.Dense(4), layers.BatchNormalization(), layers.Dense(1)]
    )
    optimizer = keras.optimizers.SGD(0.1, gradient_accumulation_steps=parts if parts > 1 else None)
    model.compile(optimizer=optimizer, loss="mse")
    expected = model.get_weights()
    average, watch = WeightAverage(model, decay=0.4), Watch(parts)
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(40, 3)), rng.normal(size=(40, 1))
    history = model.fit(
        x, y, batch_size=4, epochs=2, verbose=0, callbacks=[average, watch], validation_data=(x, y)
    ).history
    for t, weights in enumerate(watch.seen, start=1):
        d = min(0.4, (1 + t) / (10 + t))
        expected = [d * a + (1 - d) * w for a, w in zip(expected, weights, strict=True)]
    assert len(watch.seen) == 20 // parts == int(average.variables[-1])
    for found, wanted in zip(average.variables, expected, strict=False):
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-6)

    raw = model.get_weights()
    with average.in_place():
        assert model.evaluate(x, y, verbose=0) == pytest.approx(history["val_loss"][-1], rel=1e-5)
    for found, wanted in zip(model.get_weights(), raw, strict=True):
        np.testing.assert_array_equal(found, wanted)
    assert model.evaluate(x, y, verbose=0) != pytest.approx(history["val_loss"][-1], rel=1e-5)


def test_values_come_back_unrounded_and_after_an_error():
    variable = keras.Variable(np.array([0.1, 1e8], "float32"))

    def fail():
        with in_place([variable.value], [np.array([1e-9, 3.0])]):
            assert variable.numpy()[1] == 3.0
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    np.testing.assert_array_equal(variable, np.array([0.1, 1e8], "float32"))


@pytest.mark.slow
def test_the_best_network_is_the_average_and_a_resumed_run_ends_alike(
    tiny_config, tables, tmp_path, interrupted
):
    config = tiny_config.replace({"training": {"ema": 0.9, "epochs": 3, "accumulation_steps": 2}})
    whole = fit(tmp_path / "whole", config, tables)
    kept = [whole[f"best.keras/{i}"] for i in range(8)]
    averages = [whole[f"average/{i:04d}"] for i in range(8)]
    raw = [whole[f"model/{i:04d}"] for i in range(8)]
    if not any(name.startswith("best/") for name in whole):  # the last epoch is the best
        for one, average in zip(kept, averages, strict=True):
            np.testing.assert_array_equal(one, average)
    assert not np.array_equal(averages[0], raw[0])
    assert whole["average/0008"] == 9  # updates: 20 images in batches of 8, three epochs
    assert_equal(interrupted(tmp_path / "run", config, tables, epoch=2, step=1), whole)
