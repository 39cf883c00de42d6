"""Checkpoint folders: every tensor once and of the right shape, or an error that names it."""

import json

import ml_dtypes
import numpy as np
import pytest
import tiny_llava
from safetensors.numpy import load_file, save_file

from breastus.errors import WeightsError
from breastus.vlm.checkpoint import Checkpoint
from breastus.vlm.llava_config import LlavaConfig

SECOND = "model-00002-of-00002.safetensors"
NORM = "model.norm.weight"


@pytest.fixture
def folder(tmp_path):
    return tiny_llava.write_original(tmp_path)


def _check(folder):
    checkpoint = Checkpoint(folder)
    checkpoint.check(LlavaConfig.of(checkpoint).shapes())
    return checkpoint


def _change(folder, file, change):
    """Change the tensors of a shard, and its entries in the index."""
    tensors = load_file(folder / file)
    change(tensors)
    save_file(tensors, folder / file)
    path = folder / "model.safetensors.index.json"
    index = json.loads(path.read_text())
    others = {name: one for name, one in index["weight_map"].items() if one != file}
    index["weight_map"] = {**others, **dict.fromkeys(tensors, file)}
    path.write_text(json.dumps(index))


def _configure(folder, **values):
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def test_all_tensors_of_every_layout_are_expected(tmp_path):
    for number, write in enumerate(
        (
            tiny_llava.write_original,
            tiny_llava.write_converted,
            lambda folder: tiny_llava.write_converted(folder, newer=True),
        )
    ):
        checkpoint = _check(write(tmp_path / str(number)))
        assert len(checkpoint.tensors) == len(tiny_llava.make_tensors())
        assert {one.dtype for one in checkpoint.tensors.values()} == {"BF16"}


def test_llava_med_has_the_published_number_of_tensors(folder):
    published = {
        "vocab_size": 32000,
        "hidden_size": 4096,
        "intermediate_size": 14336,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
    }
    _configure(folder, **published)
    config = LlavaConfig.of(Checkpoint(folder))
    language = {
        n for n in config.shapes() if n.startswith(("model.layers", "model.norm", "model.e"))
    }
    assert len(language) == 290
    assert config.shapes()["model.layers.31.self_attn.k_proj.weight"] == (1024, 4096)
    # 16 tensors a layer, and 7 more: 391 of the 24 layers of ViT-L.
    vision = {name for name in config.shapes() if ".vision_tower." in name}
    assert len(vision) == 16 * config.tower.layers + 7


def test_a_missing_tensor_is_named(folder):
    _change(folder, "model-00001-of-00002.safetensors", lambda tensors: tensors.pop(NORM))
    with pytest.raises(WeightsError, match=f"lacks {NORM}"):
        _check(folder)


def test_a_spare_tensor_is_named(folder):
    spare = np.ones(3, ml_dtypes.bfloat16)
    _change(folder, SECOND, lambda tensors: tensors.update({"model.mm_projector.4.bias": spare}))
    with pytest.raises(WeightsError, match=r"model\.mm_projector\.4\.bias"):
        _check(folder)


def test_a_tensor_of_another_shape_is_named(folder):
    _configure(folder, num_key_value_heads=4)
    with pytest.raises(WeightsError, match=r"k_proj.*\[64, 64\].*Received: \[32, 64\]"):
        _check(folder)


def test_a_missing_shard_is_named(folder):
    (folder / SECOND).unlink()
    with pytest.raises(WeightsError, match=SECOND):
        _check(folder)


def test_a_truncated_shard_is_named(folder):
    content = (folder / SECOND).read_bytes()
    (folder / SECOND).write_bytes(content[: len(content) // 2])
    with pytest.raises(WeightsError, match=f"{SECOND} is damaged or truncated"):
        _check(folder)


def test_shards_and_index_must_agree(folder):
    tensors = load_file(folder / SECOND)
    name = sorted(tensors)[0]
    tensors.pop(name)
    save_file(tensors, folder / SECOND)
    with pytest.raises(WeightsError, match=f"disagree: {name} is missing from the shard"):
        _check(folder)


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"model_type": "qwen2_vl"}, "model_type"),
        ({"mm_projector_type": "linear"}, "mm_projector_type"),
        ({"hidden_act": "gelu"}, "hidden_act"),
        ({"rope_scaling": {"type": "linear", "factor": 2}}, "rotary embedding"),
    ],
)
def test_another_architecture_is_refused(folder, values, named):
    _configure(folder, **values)
    with pytest.raises(WeightsError, match=named):
        _check(folder)


def test_a_folder_without_a_checkpoint_is_refused(tmp_path):
    with pytest.raises(WeightsError, match=r"config\.json"):
        Checkpoint(tmp_path)


def test_a_missing_tokenizer_is_refused(folder):
    (folder / "tokenizer.model").unlink()
    with pytest.raises(WeightsError, match=r"has no tokenizer\.model"):
        _ = Checkpoint(folder).tokenizer_file


def test_the_wavelength_may_stand_in_a_group_of_its_own(tmp_path):
    folder = tiny_llava.write_converted(tmp_path)
    config = json.loads((folder / "config.json").read_text())
    wavelength = config["text_config"].pop("rope_theta")
    config["text_config"]["rope_parameters"] = {"rope_type": "default", "rope_theta": wavelength}
    (folder / "config.json").write_text(json.dumps(config))
    assert LlavaConfig.of(Checkpoint(folder)).language.rope == wavelength
