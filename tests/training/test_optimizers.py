"""Learning rates follow their curves, and decay stays off what it should stay off."""

import keras
import numpy as np
import pytest

from breastus.config.schema import TrainingConfig
from breastus.training.optimizers import Schedule, make_optimizer


def rates(kind, steps=100, warmup=0, peak=2.0):
    schedule = Schedule(kind, peak, steps, warmup)
    return np.array([float(schedule(step)) for step in range(steps)])


def test_constant_after_a_linear_rise():
    found = rates("constant", warmup=10)
    np.testing.assert_allclose(found[:10], np.linspace(0.2, 2.0, 10), rtol=1e-6)
    np.testing.assert_allclose(found[10:], 2.0)


def test_cosine_falls_to_nothing():
    found = rates("cosine", warmup=20)
    expected = 1 + np.cos(np.pi * np.arange(80) / 80)
    np.testing.assert_allclose(found[20:], expected, atol=1e-6)


def test_one_cycle_is_pytorchs():
    # torch.optim.lr_scheduler.OneCycleLR(max_lr=2.0, total_steps=101, final_div_factor=4e3):
    # starts at max/25, peaks after 30 % of the steps, ends at max/1e5.
    found = rates("one_cycle", steps=101)
    assert found[0] == pytest.approx(2 / 25)
    assert found.argmax() == 30
    assert found[30] == pytest.approx(2.0, rel=1e-3)
    assert found[-1] < 0.002
    assert (np.diff(found[:30]) > 0).all()
    assert (np.diff(found[31:]) < 0).all()


@pytest.mark.parametrize("kind", ["constant", "cosine", "one_cycle"])
def test_schedules_are_written_and_read(kind):
    schedule = Schedule(kind, 0.1, 50, 5)
    again = keras.optimizers.schedules.deserialize(keras.optimizers.schedules.serialize(schedule))
    assert float(again(17)) == float(schedule(17))


@pytest.mark.parametrize("name", ["adamw", "adam", "sgd"])
def test_the_optimizer_is_what_was_asked_for(name):
    settings = TrainingConfig(optimizer=name, clip_norm=1.0, momentum=0.8)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    optimizer = make_optimizer(model, settings, steps_per_epoch=10, accumulation_steps=4)
    assert type(optimizer).__name__.lower() == name
    assert optimizer.global_clipnorm == 1.0
    assert optimizer.gradient_accumulation_steps == 4
    assert float(optimizer.learning_rate) == pytest.approx(1e-3)
    if name == "sgd":
        assert optimizer.momentum == 0.8


@pytest.mark.parametrize("decay_all", [True, False])
def test_decay_skips_norms_and_biases_when_asked(decay_all):
    model = keras.Sequential(
        [keras.Input((4,)), keras.layers.Dense(3), keras.layers.BatchNormalization()]
    )
    for variable in model.trainable_variables:
        variable.assign(np.ones(variable.shape))
    settings = TrainingConfig(weight_decay=0.5, decay_all=decay_all)
    optimizer = make_optimizer(model, settings, steps_per_epoch=1)
    optimizer.build(model.trainable_variables)
    gradients = [np.zeros(v.shape, "float32") for v in model.trainable_variables]
    optimizer.apply(gradients, model.trainable_variables)
    for variable in model.trainable_variables:
        moved = not np.array_equal(variable.numpy(), np.ones(variable.shape))
        assert moved == (decay_all or len(variable.shape) == 2)
