"""Whatever trains in float16 has loss scaling, and nothing else has."""

import keras
import numpy as np
import pytest
from fitting import assert_equal, fit
from keras.optimizers import LossScaleOptimizer

from breastus.preprocessing.transform import Transform
from breastus.training.network import new_model
from breastus.training.pretraining.tasks import Masking, masked_task, phantom_task

# What each way of training sets; together they make every model that is ever compiled.
WAYS = {
    "plain": {},
    "masks": {"mask_weight": 1.0},
    "cached features": {"epochs": 2, "head_epochs": 2, "cached_views": 1},
    "cached features and masks": {
        "epochs": 2,
        "head_epochs": 2,
        "cached_views": 1,
        "mask_weight": 1.0,
    },
    "parts of a batch": {"accumulation_steps": 2, "mask_weight": 1.0},
    "moving average": {"ema": 0.9, "mask_weight": 1.0},
    "head first": {"epochs": 2, "head_epochs": 1, "mask_weight": 1.0},
    "rates by layer": {"layer_decay": 0.8, "decay_all": False, "mask_weight": 1.0},
}
QUICK = {"plain", "masks", "cached features and masks"}


class Begun(BaseException):
    """Ends a training before its first step."""


class Optimizers(keras.callbacks.Callback):
    """Collects the optimizer of each stage; the last stage ends at once."""

    def __init__(self, stages=1):
        super().__init__()
        self.stages, self.found = stages, []

    def on_train_begin(self, logs=None):
        self.found.append(self.model.optimizer)
        if len(self.found) == self.stages:
            raise Begun


@pytest.fixture(scope="module")
def config(tiny_config):
    return tiny_config.replace({"model": {"name": "compact", "image_size": 32}})


def optimizer_of(config, tables, folder, training, precision="mixed_float16"):
    probe = Optimizers()
    config = config.replace({"training": {"precision": precision, **training}})
    with pytest.raises(Begun):
        fit(folder / "run", config, tables, callbacks=[probe])
    return probe.found[-1]


@pytest.mark.parametrize(
    "way",
    [pytest.param(way, marks=() if way in QUICK else pytest.mark.slow) for way in WAYS],
)
def test_every_training_in_float16_scales_its_loss(config, tables, tmp_path, way):
    optimizer = optimizer_of(config, tables, tmp_path, WAYS[way])
    assert type(optimizer) is LossScaleOptimizer
    inner = optimizer.inner_optimizer
    assert not isinstance(inner, LossScaleOptimizer)
    assert inner.gradient_accumulation_steps == WAYS[way].get("accumulation_steps")
    assert (inner.factors is not None) == ("layer_decay" in WAYS[way])


@pytest.mark.slow
@pytest.mark.parametrize("way", ["plain", "masks", "cached features"])
@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16"])
def test_no_other_training_does(config, tables, tmp_path, way, precision):
    optimizer = optimizer_of(config, tables, tmp_path, WAYS[way], precision)
    assert not isinstance(optimizer, LossScaleOptimizer)


@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
@pytest.mark.parametrize("mask_weight", [0.0, 1.0])
def test_pretraining_on_phantoms(config, precision, mask_weight):
    config = config.replace({"training": {"precision": precision, "mask_weight": mask_weight}})
    network = new_model(config, precision=precision)
    task = phantom_task(network, config, Transform.from_config(config), count=8)
    scaled = isinstance(task.model.optimizer, LossScaleOptimizer)
    assert scaled == (precision == "mixed_float16")


@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
def test_pretraining_on_hidden_patches(config, tables, precision):
    config = config.replace({"training": {"precision": precision}})
    network = new_model(config, precision=precision)
    task = masked_task(
        network,
        config,
        Transform.from_config(config),
        tables["train"],
        masking=Masking(patch=8),
    )
    scaled = isinstance(task.model.optimizer, LossScaleOptimizer)
    assert scaled == (precision == "mixed_float16")


@pytest.mark.slow
def test_float16_with_masks_trains_and_resumes_alike(config, tables, tmp_path, interrupted):
    training = {"epochs": 3, "head_epochs": 1, "accumulation_steps": 2, "ema": 0.9}
    training |= {"mask_weight": 1.0, "precision": "mixed_float16"}
    config = config.replace({"training": training})
    whole = fit(tmp_path / "whole", config, tables)
    assert np.isfinite(whole["history"]).all()
    assert_equal(interrupted(tmp_path / "run", config, tables, epoch=2, step=1), whole)
