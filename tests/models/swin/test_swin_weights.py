"""Weights of others arrive whole, in their places, or not at all."""

import json
import warnings

import h5py
import keras
import numpy as np
import pytest
from hub_server import HubServer
from swin_files import MICRO, TINY, as_classifier, swin_tensors, write_swin

from breastus.errors import ModelError, WeightsError
from breastus.models.registry import build_model
from breastus.models.swin.weights import load_swin_weights

PATCHES = "embeddings.patch_embeddings.projection"
LAST = "encoder.layers.2.blocks.1.output.dense.bias"


@pytest.fixture(scope="module")
def tensors():
    return swin_tensors(**MICRO)


def micro(folder, seed=1):
    """A swin_micro with the folder's weights."""
    keras.utils.set_random_seed(seed)
    model = build_model("swin_micro", image_size=112)
    load_swin_weights(model, str(folder), **MICRO)
    return model


def feature_map(model, images):
    """The last map, [B, h, w, C]."""
    features = keras.Model(model.input, model.get_layer("feature_map").output)
    return keras.ops.convert_to_numpy(features(images))


def noise(size, count=1):
    rng = np.random.default_rng(1)
    return rng.normal(size=(count, size, size, 3)).astype("float32")


def hub_backbone(folder):
    from keras_hub.models import SwinTransformerBackbone

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return SwinTransformerBackbone.from_preset(str(folder))


@pytest.mark.slow
def test_a_hugging_face_folder_equals_kerashubs_reading_of_it(tmp_path):
    folder = write_swin(tmp_path / "tiny", swin_tensors(**TINY), **TINY, size=224)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # nothing of KerasHub's about masks reaches the user
        model = build_model("swin", weights=str(folder))
    image = noise(224)
    expected = keras.ops.convert_to_numpy(hub_backbone(folder)(image)).reshape(1, 7, 7, 768)
    np.testing.assert_allclose(feature_map(model, image), expected, atol=1e-4)
    assert np.abs(expected).max() > 1


def test_every_format_of_the_same_weights_gives_the_same(tensors, tmp_path):
    plain = write_swin(tmp_path / "plain", tensors, **MICRO, size=112)
    classifier = write_swin(tmp_path / "head", as_classifier(tensors), **MICRO, size=112)
    backbone = hub_backbone(plain)
    backbone.save_to_preset(str(tmp_path / "preset"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        models = [micro(f, seed) for seed, f in enumerate((plain, classifier, tmp_path / "preset"))]
    image = noise(112)
    expected = keras.ops.convert_to_numpy(backbone(image)).reshape(1, 7, 7, 128)
    for model in models:
        np.testing.assert_allclose(feature_map(model, image), expected, atol=1e-4)
        # The head is ours and new, whatever the checkpoint has.
        assert model.get_layer("probabilities").kernel.shape == (128, 2)


def test_half_precision_files_are_read(tensors, tmp_path):
    half = {name: tensor.astype("float16") for name, tensor in tensors.items()}
    model = micro(write_swin(tmp_path, half, **MICRO, size=112))
    kernel = model.get_layer("stage_2_block_1_mlp").narrow.bias
    assert kernel.dtype == "float32"
    np.testing.assert_array_equal(kernel.numpy(), half[LAST].astype("float32"))


def _without(tensors, name):
    return {key: tensor for key, tensor in tensors.items() if key != name}


@pytest.mark.parametrize(
    "name",
    [
        f"{PATCHES}.weight",
        LAST,
        "layernorm.weight",
        "encoder.layers.1.blocks.0.attention.self.key.bias",
        "encoder.layers.0.blocks.1.attention.self.relative_position_bias_table",
        "encoder.layers.0.downsample.norm.bias",
    ],
)
@pytest.mark.parametrize("wrap", [dict, pytest.param(as_classifier, marks=pytest.mark.slow)])
def test_a_missing_tensor_is_named(tensors, tmp_path, name, wrap):
    prefix = "" if wrap is dict else "swin."
    folder = write_swin(tmp_path, _without(wrap(tensors), prefix + name), **MICRO, size=112)
    with pytest.raises(WeightsError, match=rf"model\.safetensors is not whole: {name} is missing"):
        micro(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"encoder.layers.2.blocks.2.output.dense.bias": np.zeros(3)}, "more than a Swin of this"),
        ({"decoder.0.weight": np.zeros(3)}, r"more than a Swin of this size: decoder\.0\.weight"),
        ({"embeddings.position_embeddings": np.zeros(3)}, "embeddings.position_embeddings"),
        ({LAST: np.zeros(127)}, r"output\.dense\.bias becomes \(127,\), where .* needs \(128,\)"),
        ({f"{PATCHES}.weight": np.zeros((32, 1, 4, 4))}, r"becomes \(4, 4, 1, 32\)"),
        (
            {"encoder.layers.0.blocks.0.attention.self.key.weight": np.zeros((8, 32))},
            r"key.weight \(8, 32\)",
        ),
        ({LAST: np.full(128, np.nan)}, "output.dense.bias is not finite"),
    ],
)
def test_a_tensor_that_does_not_belong_is_named(tensors, tmp_path, change, message):
    change = {name: tensor.astype("float32") for name, tensor in change.items()}
    folder = write_swin(tmp_path, {**tensors, **change}, **MICRO, size=112)
    with pytest.raises(WeightsError, match=message):
        micro(folder)


def test_refused_weights_leave_the_network_as_it_was(tensors, tmp_path):
    model = build_model("swin_micro", image_size=112)
    before = model.get_weights()
    folder = write_swin(tmp_path, {**tensors, LAST: np.zeros(3, "float32")}, **MICRO, size=112)
    with pytest.raises(WeightsError, match="do not fit"):
        load_swin_weights(model, str(folder), **MICRO)
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_type": "vit"}, "are of a vit, not a swin"),
        ({"model_type": "swinv2"}, "are of a swinv2, not a swin"),
        ({"embed_dim": 96}, "embed_dim must be 32.* Received: 96"),
        ({"depths": [2, 2, 6, 2]}, "depths must be"),
        ({"num_heads": [4, 4, 8]}, "num_heads must be"),
        ({"window_size": 12}, "window_size must be 7. Windows of 7 need a multiple of 224 pixels"),
        ({"patch_size": 2}, "patch_size must be 4"),
        ({"qkv_bias": False}, "qkv_bias must be True"),
        ({"use_absolute_embeddings": True}, "use_absolute_embeddings must be False"),
        ({"hidden_act": "relu"}, "hidden_act must be gelu"),
        ({"layer_norm_eps": 1e-6}, "layer_norm_eps must be 1e-05"),
    ],
)
def test_another_network_is_refused(tensors, tmp_path, changes, message):
    folder = write_swin(tmp_path, tensors, **MICRO, size=112, changes=changes)
    with pytest.raises(WeightsError, match=message):
        micro(folder)


def test_a_config_may_leave_defaults_out(tensors, tmp_path):
    folder = write_swin(tmp_path, tensors, **MICRO, size=112)
    expected = micro(folder).get_weights()
    config = json.loads((folder / "config.json").read_text())
    for key in ("patch_size", "mlp_ratio", "qkv_bias", "num_channels", "layer_norm_eps"):
        del config[key]
    (folder / "config.json").write_text(json.dumps(config))
    for ours, theirs in zip(micro(folder).get_weights(), expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    del config["window_size"]  # it decides which image sizes can be
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(WeightsError, match=r"window_size must be 7.* Received: nothing"):
        micro(folder)


def _truncate(path, share):
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: _truncate(f / "model.safetensors", 0.7), r"model\.safetensors is damaged"),
        (lambda f: _truncate(f / "model.safetensors", 0.0), r"model\.safetensors is damaged"),
        (lambda f: (f / "model.safetensors").unlink(), r"have no model\.safetensors"),
        (lambda f: (f / "config.json").unlink(), r"have no config\.json"),
        (lambda f: _truncate(f / "config.json", 0.5), r"config\.json cannot be read"),
        (lambda f: (f / "config.json").write_text("[]"), "not the config of a network"),
    ],
)
def test_damaged_files_are_named_with_the_way_out(tensors, tmp_path, damage, message):
    folder = write_swin(tmp_path, tensors, **MICRO, size=112)
    damage(folder)
    with pytest.raises(WeightsError, match=rf"{message}.*weights=None"):
        micro(folder)


@pytest.fixture
def preset(tensors, tmp_path):
    """A KerasHub preset of a swin_micro."""
    hub_backbone(write_swin(tmp_path / "hf", tensors, **MICRO, size=112)).save_to_preset(
        str(tmp_path / "preset")
    )
    return tmp_path / "preset"


@pytest.mark.slow
def test_a_preset_that_is_not_whole_is_refused(preset):
    path = preset / "model.weights.h5"
    whole, names = path.read_bytes(), []
    with h5py.File(path) as file:
        file.visit(names.append)
    # One array, and a group of layers, about which Keras only warns.
    one = next(name for name in names if name.endswith("vars/0") and "norm" in name)
    several = next(name for name in names if name.endswith("stage_1/blocks"))
    for name in (one, several):
        path.write_bytes(whole)
        with h5py.File(path, "r+") as file:
            del file[name]
        with pytest.raises(WeightsError, match=r"could not be loaded|not whole"):
            micro(preset)
    _truncate(path, 0.6)
    with pytest.raises(WeightsError, match="could not be loaded"):
        micro(preset)


@pytest.mark.slow
def test_a_preset_of_another_network_is_refused(preset):
    config = json.loads((preset / "config.json").read_text())
    config["registered_name"] = "keras_hub>VGGBackbone"
    (preset / "config.json").write_text(json.dumps(config))
    with pytest.raises(WeightsError, match="could not be loaded"):
        micro(preset)


@pytest.fixture
def hub(tensors, tmp_path, monkeypatch):
    """A hub on this machine that holds the weights as someone/swin."""
    folder = write_swin(tmp_path / "files", tensors, **MICRO, size=112)
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    server = HubServer("someone/swin", files, kind="models")
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    yield server
    server.close()


def test_a_handle_of_the_hub(hub, tensors):
    for reachable in (True, False):  # and later from what was fetched
        model = micro("hf://someone/swin")
        np.testing.assert_array_equal(
            model.get_layer("stage_2_block_1_mlp").narrow.bias.numpy(), tensors[LAST]
        )
        if reachable:
            hub.close()


def test_a_download_that_breaks_off_goes_on_and_a_damaged_one_comes_again(hub, tensors):
    hub.damage["model.safetensors"] = 2
    with pytest.raises(WeightsError, match=r"model\.safetensors.* checksum"):
        micro("hf://someone/swin")
    hub.damage["model.safetensors"] = 1
    hub.cut.add("model.safetensors")
    model = micro("hf://someone/swin")
    np.testing.assert_array_equal(
        model.get_layer("stage_2_block_1_mlp").narrow.bias.numpy(), tensors[LAST]
    )


def test_a_hub_that_has_not_got_it_or_is_out_of_reach(hub):
    with pytest.raises(WeightsError, match=r"hf://someone/else.* config\.json"):
        micro("hf://someone/else")
    del hub.files["model.safetensors"]
    with pytest.raises(WeightsError, match=r"hf://someone/swin.* model\.safetensors"):
        micro("hf://someone/swin")
    hub.close()
    with pytest.raises(WeightsError, match="check the network or HF_ENDPOINT"):
        micro("hf://nobody/swin")


@pytest.mark.slow
def test_names_that_are_nothing():
    with pytest.raises(ModelError, match="Received: 'nowhere', which does not exist"):
        build_model("swin", weights="nowhere")
    with pytest.raises(WeightsError, match="for an image_size of 224; for others"):
        build_model("swin_small", image_size=384, weights="imagenet")
    with pytest.raises(WeightsError, match="for an image_size of 224 and 384"):
        build_model("swin_base", image_size=448, weights="imagenet")
