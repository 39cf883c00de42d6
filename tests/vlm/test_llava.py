"""LLaVA-Med equals `transformers`: pixels, token ids, vision tower, projector, logits, tokens.

`make_reference.py` computed the reference arrays in float32 from the same weights.
"""

import numpy as np
import pytest
import tiny_llava

from breastus.errors import ConfigError, HardwareError, WeightsError
from breastus.vlm.checkpoint import Checkpoint
from breastus.vlm.llava import LlavaMed, load_tower, patch_features
from breastus.vlm.pixels import tower_pixels
from breastus.vlm.tokenizer import Tokenizer

QUESTION = "Is a lump visible in this breast ultrasound image? Answer Yes or No."
LONG = "a woman of 48 years with a palpable lump in the left breast. " * 40
QUESTIONS = {"short": QUESTION, "long": LONG}
NEW_TOKENS = 24


@pytest.mark.parametrize("name", ["image", "tall_image"])
def test_pixels_are_equal(reference, name):
    pixels = tower_pixels(reference[name], 56)
    np.testing.assert_allclose(pixels.transpose(2, 0, 1), reference[f"{name}_pixels"], atol=1e-6)


@pytest.mark.parametrize("legacy", [True, False])
@pytest.mark.parametrize("name", QUESTIONS)
def test_token_ids_are_equal(reference, name, legacy):
    tokenizer = Tokenizer(tiny_llava.TOKENIZER, legacy=legacy)
    before, after = tokenizer.encode_prompt("[INST] ", f"\n{QUESTIONS[name]} [/INST]")
    expected = reference[f"{name}_ids_{'legacy' if legacy else 'new'}"].tolist()
    assert [*before, tiny_llava.IMAGE_TOKEN, *after] == expected


def test_only_legacy_tokenizers_put_a_space_after_the_image():
    first = {
        legacy: Tokenizer(tiny_llava.TOKENIZER, legacy=legacy).encode_prompt("", "\nIs")[1][0]
        for legacy in (True, False)
    }
    assert first[True] != first[False]


def test_the_converted_layout_says_which_tokenizer_it_has(tmp_path):
    from breastus.vlm.llava_config import LlavaConfig

    for legacy in (True, False):
        folder = tiny_llava.write_converted(tmp_path / str(legacy), legacy=legacy)
        assert LlavaConfig.of(Checkpoint(folder)).legacy is legacy


def test_vision_tower_and_projector_are_equal(model, reference):
    features = model.features(reference["image"])
    np.testing.assert_allclose(features, reference["features"], atol=1e-5)
    tokens = model.image_tokens(reference["image"])
    np.testing.assert_allclose(tokens, reference["projected"], atol=1e-5)


def test_a_tower_that_does_not_exist_is_refused(original, tmp_path):
    with pytest.raises(WeightsError, match="--tower checkpoint"):
        load_tower(Checkpoint(original), tower=str(tmp_path / "nothing"))


def test_the_tower_can_be_loaded_alone(original, reference):
    tower = load_tower(Checkpoint(original), precision="float32")
    features = patch_features(tower, reference["image"])
    np.testing.assert_allclose(features, reference["features"], atol=1e-5)


@pytest.mark.parametrize("name", QUESTIONS)
def test_logits_and_greedy_tokens_are_equal(model, reference, name):
    look = model.look(reference["image"])
    # Windows of 512 tokens, KerasHub's default, show in longer prompts only.
    assert (model.count_tokens(QUESTIONS[name]) > 512) == (name == "long")
    expected = reference[f"{name}_logits"][-1][: tiny_llava.TOKENS]
    np.testing.assert_allclose(look.next_logits(QUESTIONS[name]), expected, atol=1e-4)
    tokens = look.generate_tokens(QUESTIONS[name], NEW_TOKENS)
    assert tokens == reference[f"{name}_tokens_original"].tolist()


@pytest.mark.parametrize("newer", [False, True])
def test_the_converted_layout_is_equal(tmp_path, reference, newer):
    folder = tiny_llava.write_converted(tmp_path, legacy=True, newer=newer)
    model = LlavaMed(Checkpoint(folder), precision="float32")
    look = model.look(reference["image"])
    expected = reference["short_logits"][-1]
    np.testing.assert_allclose(look.next_logits(QUESTION), expected, atol=1e-4)
    expected = reference["short_tokens_converted"].tolist()
    assert look.generate_tokens(QUESTION, NEW_TOKENS) == expected


def test_a_window_of_the_checkpoint_is_used(tmp_path, reference):
    folder = tiny_llava.write_original(tmp_path, window=512)
    model = LlavaMed(Checkpoint(folder), precision="float32")
    logits = model.look(reference["image"]).next_logits(LONG)
    assert np.abs(logits - reference["long_logits"][-1][: tiny_llava.TOKENS]).max() > 0.01


def test_likelihoods_are_those_of_the_logits(model, reference):
    look = model.look(reference["image"])
    logits = look.next_logits(QUESTION).astype(float)
    logs = logits - np.logaddexp.reduce(logits)
    found = look.log_likelihoods(QUESTION, ["Yes", "No"])
    # " Yes" is one token; "Yes" takes two, "Y" and "es".
    tokenizer = model.tokenizer
    for answer, got in zip(("Yes", "No"), found, strict=True):
        (single,) = tokenizer.encode(answer, space=True)
        first, second = tokenizer.encode(answer, space=False)
        after = model._extend(look._after(QUESTION), model._embed([first])).logits.astype(float)
        pair = logs[first] + after[second] - np.logaddexp.reduce(after)
        assert got == pytest.approx(np.logaddexp(logs[single], pair), abs=1e-6)


def test_a_prompt_beyond_the_context_is_refused(model, reference):
    with pytest.raises(ConfigError, match="must fit into 1024 tokens"):
        model.look(reference["image"]).generate(LONG * 2, 1)


@pytest.mark.slow
def test_int8_is_close_and_takes_a_byte_a_weight(original, model, reference):
    small = LlavaMed(Checkpoint(original), precision="float32", quantize="int8")
    kernel = small.language.transformer_layers[0]._feedforward_gate_dense._kernel
    assert kernel.dtype == "int8"
    logits = small.look(reference["image"]).next_logits(QUESTION)
    expected = reference["short_logits"][-1][: tiny_llava.TOKENS]
    assert np.corrcoef(logits, expected)[0, 1] > 0.98
    assert not np.allclose(logits, expected, atol=1e-4)


def test_another_vision_tower_can_be_loaded(original, tmp_path, model, reference):
    from keras_hub.models import CLIPBackbone, CLIPTextEncoder, CLIPVisionEncoder

    sizes = {"num_layers": 3, "num_heads": 2, "intermediate_dim": 96}
    text = CLIPTextEncoder(50, 64, 64, num_layers=1, num_heads=1, intermediate_dim=32)
    vision = CLIPVisionEncoder(14, 128, **sizes, image_shape=(56, 56, 3))
    CLIPBackbone(vision, text, projection_dim=64).save_to_preset(str(tmp_path / "clip"))
    other = LlavaMed(Checkpoint(original), precision="float32", tower=str(tmp_path / "clip"))
    for ours, theirs in zip(other.tower.weights, vision.weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert not np.allclose(other.features(reference["image"]), reference["features"], atol=0.1)


def test_weights_that_are_not_finite_are_refused(tmp_path):
    from safetensors.numpy import load_file, save_file

    folder = tiny_llava.write_original(tmp_path)
    shard = folder / "model-00002-of-00002.safetensors"
    tensors = load_file(shard)
    name = "model.mm_projector.0.bias"
    tensors[name] = np.full_like(tensors[name], np.nan)
    save_file(tensors, shard)
    with pytest.raises(WeightsError, match=r"mm_projector\.0\.bias .* is not finite"):
        LlavaMed(Checkpoint(folder), precision="float32")


def test_a_model_that_does_not_fit_is_not_loaded(original, monkeypatch):
    from breastus.training.hardware.devices import Machine
    from breastus.vlm import memory

    monkeypatch.setattr(memory, "this_machine", lambda: Machine(2, 10_000, False))
    with pytest.raises(HardwareError, match="needs"):
        LlavaMed(Checkpoint(original))
