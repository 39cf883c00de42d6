"""What is peculiar to the network of linear cells: two scales, one linear layer."""

import keras
import numpy as np
import pytest

from breastus.errors import ModelError
from breastus.models.backbone import split_backbone_head
from breastus.models.efficientnet.efficientnet_cells import CellLogits
from breastus.models.registry import build_model


@pytest.fixture(scope="module")
def network():
    keras.utils.set_random_seed(0)
    return build_model("efficientnet_cells", image_size=128)


@pytest.mark.slow  # two passes of the backbone are traced
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


@pytest.mark.slow
def test_the_head_is_a_linear_layer_and_two_numbers(network):
    _, head = split_backbone_head(network)
    assert sum(np.prod(weight.shape) for weight in head.trainable_weights) == 2 * 1024 + 1 + 4 + 2
    assert network.get_layer("features").output.shape == (None, 2)


def test_logits_are_linear_in_features_as_they_are_and_relative_to_their_image():
    rng = np.random.default_rng(1)
    x = rng.normal(2, 3, (2, 4, 4, 5)).astype("float32")
    layer = CellLogits()
    layer.build(x.shape)
    absolute, relative = rng.normal(size=(2, 5))
    layer.set_weights([absolute, relative, np.array([0.5])])
    own = (x - x.mean((1, 2), keepdims=True)) / np.sqrt(x.var((1, 2), keepdims=True) + 0.1)
    expected = -2 + (x @ absolute + own @ relative + 0.5) / 16
    np.testing.assert_allclose(layer(x)[..., 0], expected, atol=1e-5)


@pytest.mark.parametrize("size", [64, 160])
def test_sizes_that_cannot_be_halved_are_refused(size):
    with pytest.raises(ModelError, match="multiple of 64, at least 128"):
        build_model("efficientnet_cells", image_size=size)
