"""What is peculiar to the network that looks cell by cell: both ways of seeing, strongest cells."""

import keras
import numpy as np
import pytest

from breastus.models.efficientnet.efficientnet_mil import TopKMean
from breastus.models.registry import build_model


@pytest.fixture(scope="module")
def network():
    keras.utils.set_random_seed(0)
    return build_model("efficientnet_mil", image_size=64)


def test_cells_are_seen_as_they_are_and_as_instance_normalisation_gives_them(network):
    seen = network.get_layer("seen_twice").output
    maps = keras.Model(network.input, [network.get_layer("map_norm").output, seen])
    images = np.random.default_rng(0).normal(size=(2, 64, 64, 3)).astype("float32")
    plain, twice = (keras.ops.convert_to_numpy(map_) for map_ in maps(images))
    mean, variance = plain.mean((1, 2), keepdims=True), plain.var((1, 2), keepdims=True)
    channels = plain.shape[-1]
    np.testing.assert_array_equal(twice[..., :channels], plain)
    np.testing.assert_allclose(
        twice[..., channels:], (plain - mean) / np.sqrt(variance + 0.1), atol=1e-4
    )


def test_what_is_done_to_a_whole_channel_is_gone_from_the_relative_map(network):
    relative = network.get_layer("relative_map")
    cells = np.random.default_rng(1).normal(scale=20.0, size=(1, 4, 4, 512)).astype("float32")
    found = [keras.ops.convert_to_numpy(relative(x)) for x in (cells, 3 * cells + 7)]
    np.testing.assert_allclose(*found, atol=0.01)


def test_top_k_mean_by_hand():
    logits = np.array([[3.0, -1.0], [5.0, 0.0]], "float32").reshape(1, 2, 2, 1)
    strongest = TopKMean((0.0, 0.5, 1.0))(logits)
    np.testing.assert_allclose(strongest, [[5.0, 4.0, 1.75]])
