"""Folders of pretrained weights: they arrive whole in the backbone, or not at all."""

import json
import shutil

import keras
import numpy as np
import pytest

from breastus.errors import ModelError, WeightsError
from breastus.models.registry import build_model
from breastus.models.weights.backbone_folder import (
    PRETRAINED_FILE,
    WEIGHTS_FILE,
    backbone_of,
    read_pretrained,
    write_pretrained,
)

FACTS = {"network": "cnn", "image_size": 32, "on": "phantoms", "epochs": 1, "seed": 0, "seen": []}


@pytest.fixture(scope="module")
def source():
    keras.utils.set_random_seed(7)
    return build_model("cnn", image_size=32)


@pytest.fixture
def folder(source, tmp_path):
    return write_pretrained(tmp_path / "weights", source, FACTS)


def test_the_backbone_arrives_and_the_head_is_new(source, folder):
    keras.utils.set_random_seed(1)
    fresh = build_model("cnn", image_size=32)
    keras.utils.set_random_seed(1)
    model = build_model("cnn", image_size=32, weights=folder)
    assert [path.name for path in sorted(folder.iterdir())] == [WEIGHTS_FILE, PRETRAINED_FILE]
    both = backbone_of(source).get_weights(), backbone_of(model).get_weights()
    for theirs, ours in zip(*both, strict=True):
        np.testing.assert_array_equal(theirs, ours)
    head = [m.get_layer("probabilities").get_weights()[0] for m in (model, fresh, source)]
    np.testing.assert_array_equal(head[0], head[1])  # what it would have been without
    assert not np.array_equal(head[0], head[2])
    # A network of convolutions takes them at any size.
    build_model("cnn", image_size=48, weights=str(folder))


def rewritten(folder, **changes):
    path = folder / PRETRAINED_FILE
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def flipped(folder):
    data = bytearray((folder / WEIGHTS_FILE).read_bytes())
    data[len(data) // 2] ^= 1
    (folder / WEIGHTS_FILE).write_bytes(data)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: (f / PRETRAINED_FILE).unlink(), r"pretrained\.json is missing.*not whole"),
        (lambda f: (f / WEIGHTS_FILE).unlink(), r"backbone\.weights\.h5 is missing"),
        (lambda f: (f / PRETRAINED_FILE).write_text("{"), r"pretrained\.json cannot be read"),
        (lambda f: (f / PRETRAINED_FILE).write_text("[]"), "format must be 1.*Received: None"),
        (lambda f: rewritten(f, format=2), "format must be 1.*Received: 2"),
        (lambda f: rewritten(f, seen=None), "seen must be of type list.*Received: None"),
        (flipped, "is damaged: its SHA-256 must be .*breastus pretrain cnn"),
        (lambda f: (f / WEIGHTS_FILE).write_bytes(b""), "is damaged"),
        (
            lambda f: rewritten(f, network="compact"),
            "the weights must be of cnn.*Received: weights of compact",
        ),
    ],
)
def test_what_is_not_whole_or_of_another_network_is_refused(folder, damage, message):
    damage(folder)
    with pytest.raises(WeightsError, match=message):
        build_model("cnn", image_size=32, weights=folder)


def test_another_networks_weights_are_refused(folder):
    with pytest.raises(WeightsError, match="must be of compact"):
        build_model("compact", image_size=32, weights=folder)


def test_weights_of_other_shapes_are_refused(folder, tmp_path):
    """As those of a Swin whose windows have another size, told by its image size."""
    other = keras.Sequential(
        [keras.Input((32, 32, 3)), keras.layers.Flatten(name="features")], name="cnn"
    )
    write_pretrained(tmp_path / "other", other, {**FACTS, "image_size": 64})
    with pytest.raises(WeightsError, match=r"does not fit .*cnn.* image_size of 64 pixels"):
        build_model("cnn", image_size=32, weights=tmp_path / "other")


def test_a_name_that_is_no_folder_of_weights_says_what_is(tmp_path):
    for weights in ("nowhere", str(tmp_path)):
        with pytest.raises(WeightsError, match=r"folder made by .breastus pretrain cnn."):
            build_model("cnn", image_size=32, weights=weights)


def test_a_copied_folder_is_as_good(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "copy")
    assert read_pretrained(tmp_path / "copy")["weights"]["parameters"] == 93248


def test_a_network_without_features_cannot_be_written(tmp_path):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    with pytest.raises(ModelError, match="needs a network with a layer named features"):
        write_pretrained(tmp_path / "weights", model, FACTS)
    assert not (tmp_path / "weights").exists()
