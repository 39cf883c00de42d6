"""An ensemble says the mean of its members' logits, with a backbone they share or without."""

import keras
import numpy as np
import pytest

from breastus.models.backbone import split_backbone_head
from breastus.models.ensemble import ensemble
from breastus.models.load import load_network
from breastus.models.registry import build_model

SIZE = 64


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).normal(size=(3, SIZE, SIZE, 3)).astype(np.float32)


def networks(name: str, *, count: int = 3) -> list[keras.Model]:
    """Networks with random weights, in the norms' statistics too: none is all ones or zeros."""
    made = []
    for seed in range(count):
        keras.utils.set_random_seed(seed)
        model = build_model(name, image_size=SIZE)
        rng = np.random.default_rng(seed)
        for variable in model.weights:
            variable.assign(variable.numpy() + rng.uniform(-0.01, 0.01, variable.shape))
        last = model.get_layer("probabilities").kernel  # of random networks images differ little
        last.assign(5 * last)
        made.append(model)
    return made


def with_the_backbone_of_the_first(models: list[keras.Model]) -> list[keras.Model]:
    first = split_backbone_head(models[0])[0].get_weights()
    for model in models:
        split_backbone_head(model)[0].set_weights(first)
    return models


def mean_of_logits(models: list[keras.Model], images: np.ndarray) -> np.ndarray:
    logs = np.mean([np.log(np.asarray(model(images), float)) for model in models], axis=0)
    odds = np.exp(logs)
    return odds / odds.sum(axis=1, keepdims=True)


@pytest.mark.parametrize(
    ("name", "shared"),
    [
        pytest.param("compact", False, marks=pytest.mark.slow),
        ("compact", True),
        pytest.param("efficientnet_mil", False, marks=pytest.mark.slow),
        pytest.param("efficientnet_mil", True, marks=pytest.mark.slow),
    ],
)
def test_it_says_the_mean_of_logits_before_and_after_saving(name, shared, images, tmp_path):
    models = networks(name)
    if shared:
        models = with_the_backbone_of_the_first(models)
    expected = mean_of_logits(models, images)
    assert np.ptp(expected[:, 1]) > 1e-6
    whole = ensemble(models)
    np.testing.assert_allclose(whole(images), expected, atol=1e-5)
    whole.save(tmp_path / "ensemble.keras")
    np.testing.assert_allclose(
        load_network(tmp_path / "ensemble.keras")(images), expected, atol=1e-5
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", ["efficientnet_mil", "efficientnet_cells"])
def test_one_backbone_is_there_once(name):
    apart = ensemble(networks(name)).count_params()
    models = with_the_backbone_of_the_first(networks(name))
    backbone, head = split_backbone_head(models[0])
    together = ensemble(models)
    assert together.count_params() == backbone.count_params() + 3 * head.count_params()
    assert apart == 3 * (backbone.count_params() + head.count_params())
    # One weight that differs, and they are not the same backbone any more.
    models = with_the_backbone_of_the_first(networks(name))
    last = split_backbone_head(models[2])[0].weights[-1]
    changed = last.numpy()
    changed.flat[-1] += 1e-3
    last.assign(changed)
    assert ensemble(models).count_params() == apart


def test_a_network_alone_is_itself(images):
    (model,) = networks("compact", count=1)
    np.testing.assert_allclose(ensemble([model])(images), model(images), atol=1e-6)
