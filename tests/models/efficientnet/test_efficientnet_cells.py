"""What is peculiar to the network of linear cells: two scales, one linear layer."""

import keras
import numpy as np
import pytest

from breastus.errors import ModelError
from breastus.models.backbone import split_backbone_head
from breastus.models.registry import build_model

pytestmark = pytest.mark.slow  # two passes of the backbone are traced


@pytest.fixture(scope="module")
def network():
    keras.utils.set_random_seed(0)
    return build_model("efficientnet_cells", image_size=128)


def test_the_second_half_of_the_features_is_of_the_image_at_half_its_size(network):
    backbone, _ = split_backbone_head(network)
    images = np.random.default_rng(0).normal(size=(2, 128, 128, 3)).astype("float32")
    found = keras.ops.convert_to_numpy(backbone(images))
    assert found.shape == (2, 8, 8, 1024)
    half = images.reshape(2, 64, 2, 64, 2, 3).mean((2, 4))
    _, middle, coarse = network.get_layer("lite0")(half)
    expected = np.concatenate([middle, np.repeat(np.repeat(coarse, 2, 1), 2, 2)], axis=-1)
    np.testing.assert_allclose(
        found[..., 512 + 80 :], np.repeat(np.repeat(expected, 2, 1), 2, 2), atol=1e-4
    )


def test_the_head_is_a_linear_layer_and_two_numbers(network):
    _, head = split_backbone_head(network)
    assert sum(np.prod(weight.shape) for weight in head.trainable_weights) == 2 * 1024 + 1 + 4 + 2
    assert network.get_layer("features").output.shape == (None, 2)
    # A logit changes by as much as its own cell, whatever the others are.
    layers = (network.get_layer(name).output for name in ("feature_map", "lesion_logits"))
    logits = keras.Model(*layers)
    cells = np.random.default_rng(1).normal(size=(1, 8, 8, 1024)).astype("float32")
    network.get_layer("lesion_logits").kernel.assign(np.ones((1, 1, 2048, 1)))
    network.get_layer("relative_map").epsilon = 1e9  # without the image's own statistics
    moved = cells.copy()
    moved[0, 2, 3] += 1.0
    change = keras.ops.convert_to_numpy(logits(moved) - logits(cells))[0, ..., 0]
    assert change[2, 3] == pytest.approx(1024, rel=0.01)
    change[2, 3] = 0
    np.testing.assert_allclose(change, 0, atol=1)


@pytest.mark.parametrize("size", [64, 160])
def test_sizes_that_cannot_be_halved_are_refused(size):
    with pytest.raises(ModelError, match="multiple of 64, at least 128"):
        build_model("efficientnet_cells", image_size=size)
