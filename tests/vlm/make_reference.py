"""Write `reference.npz`: what `transformers` computes with the weights of `tiny_llava`.

    python tests/vlm/make_reference.py      # needs torch and transformers 5

The tests compare with these arrays, so that they need neither.
"""

import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from transformers import (
    CLIPVisionConfig,
    LlamaTokenizer,
    LlavaConfig,
    LlavaForConditionalGeneration,
    MistralConfig,
)
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

HERE = Path(__file__).parent
FILE = HERE / "reference.npz"
sys.path.insert(0, str(HERE.parent / "helpers"))

import tiny_llava  # noqa: E402

QUESTION = "\nIs a lump visible in this breast ultrasound image? Answer Yes or No. [/INST]"
LONG = "\n" + "a woman of 48 years with a palpable lump in the left breast. " * 40 + " [/INST]"
NEW_TOKENS = 24
LAST = 6  # positions of which the logits are kept


def main() -> None:
    np.savez_compressed(FILE, **compute())
    print(f"{FILE}: {FILE.stat().st_size} bytes")


def compute() -> dict[str, np.ndarray]:
    """Return the arrays of the file."""
    model, config = reference_model()
    found = {"image": image(), "tall_image": image(tall=True)}
    for name in ("image", "tall_image"):
        found[f"{name}_pixels"] = pixels(found[name])
    seen = torch.from_numpy(found["image_pixels"][None])
    with torch.no_grad():
        tower = model.model.vision_tower(seen, output_hidden_states=True)
        found["features"] = tower.hidden_states[-2][0, 1:].numpy()
        found["tower_output"] = tower.pooler_output[0].numpy()
        features = tower.hidden_states[-2][:, 1:]
        found["projected"] = model.model.multi_modal_projector(features)[0].numpy()
        for legacy in (True, False):
            for name, question in (("short", QUESTION), ("long", LONG)):
                ids = token_ids(question, legacy=legacy)
                found[f"{name}_ids_{'legacy' if legacy else 'new'}"] = np.array(ids)
                if not legacy:
                    continue
                expanded = expand(ids, (config.vision_config.image_size // 14) ** 2)
                assert len(expanded) > (512 if name == "long" else 20)
                inputs = torch.tensor([expanded])
                logits = model(
                    input_ids=inputs, pixel_values=seen, attention_mask=torch.ones_like(inputs)
                ).logits[0, -LAST:]
                found[f"{name}_logits"] = logits.numpy()
                # The original layout has no rows for the added tokens.
                added = list(range(tiny_llava.TOKENS, tiny_llava.PADDED_TOKENS))
                for layout, never in (("converted", None), ("original", added)):
                    tokens = model.generate(
                        input_ids=inputs,
                        pixel_values=seen,
                        attention_mask=torch.ones_like(inputs),
                        max_new_tokens=NEW_TOKENS,
                        do_sample=False,
                        pad_token_id=2,
                        suppress_tokens=never,
                    )[0, inputs.shape[1] :]
                    found[f"{name}_tokens_{layout}"] = tokens.numpy()
    check_converted_layout(model)
    return found


def reference_model() -> tuple[LlavaForConditionalGeneration, LlavaConfig]:
    """Return transformers' LLaVA with the weights of the tests, in float32."""
    language = {**tiny_llava.LANGUAGE, "vocab_size": tiny_llava.PADDED_TOKENS}
    rope = {"rope_type": "default", "rope_theta": language.pop("rope_theta")}
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(**tiny_llava.VISION),
        text_config=MistralConfig(**language, rope_parameters=rope),
        image_token_index=tiny_llava.IMAGE_TOKEN,
    )
    config._attn_implementation = "eager"
    model = LlavaForConditionalGeneration(config).float().eval()
    tensors = {
        transformers_name(name): torch.from_numpy(tensor.astype(np.float32))
        for name, tensor in tiny_llava.make_tensors(tiny_llava.PADDED_TOKENS).items()
    }
    buffers = [name for name in model.state_dict() if name.endswith("position_ids")]
    result = model.load_state_dict(tensors, strict=False)
    assert set(result.missing_keys) <= set(buffers), result.missing_keys
    assert not result.unexpected_keys, result.unexpected_keys
    return model, config


def transformers_name(name: str) -> str:
    """Return the name of a tensor in memory, from its name in the original layout."""
    name = tiny_llava.converted_name(name)
    for before, after in (
        ("language_model.lm_head.", "lm_head."),
        ("language_model.model.", "model.language_model."),
        ("vision_tower.vision_model.", "model.vision_tower."),
        ("multi_modal_projector.", "model.multi_modal_projector."),
    ):
        if name.startswith(before):
            return after + name.removeprefix(before)
    raise AssertionError(name)


def check_converted_layout(model) -> None:
    """Compare the names that `tiny_llava.write_converted` writes with transformers' own."""
    from safetensors import safe_open

    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        with safe_open(Path(folder) / "model.safetensors", framework="np") as file:
            theirs = set(file.keys())
    assert theirs == {tiny_llava.converted_name(n, newer=True) for n in tiny_llava.make_tensors()}


def image(*, tall: bool = False) -> np.ndarray:
    """Return an image that is not square, uint8 [H, W, 3], with an odd margin on the short side."""
    y, x = np.mgrid[:97, :60] if tall else np.mgrid[:60, :97]
    waves = 127 + 60 * np.sin(x / 5) + 50 * np.cos(y / 7 + x / 11)
    return np.stack([waves, waves * 0.8, 255 - waves], -1).clip(0, 255).astype(np.uint8)


def pixels(array: np.ndarray) -> np.ndarray:
    """Return what LLaVA's own steps give: its `expand2square`, then the processor of CLIP."""
    size = tiny_llava.VISION["image_size"]
    processor = CLIPImageProcessorPil(
        size={"shortest_edge": size}, crop_size={"height": size, "width": size}
    )
    picture = Image.fromarray(array)
    side = max(picture.size)
    square = Image.new("RGB", (side, side), tuple(int(m * 255) for m in processor.image_mean))
    square.paste(picture, tuple((side - length) // 2 for length in picture.size))
    found = processor.preprocess(square, return_tensors="np")["pixel_values"]
    return np.asarray(found[0], np.float32)


def token_ids(question: str, *, legacy: bool) -> list[int]:
    """Return the token ids of a prompt with one token for the image."""
    with tempfile.TemporaryDirectory() as folder:
        tiny_llava.write_converted(Path(folder), legacy=legacy)
        tokenizer = LlamaTokenizer.from_pretrained(folder, legacy=legacy)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<image>"]})
    return tokenizer(f"[INST] <image>{question}")["input_ids"]  # with the start token


def expand(ids: list[int], patches: int) -> list[int]:
    """Repeat the token of the image once a patch."""
    place = ids.index(tiny_llava.IMAGE_TOKEN)
    return ids[:place] + [tiny_llava.IMAGE_TOKEN] * patches + ids[place + 1 :]


if __name__ == "__main__":
    main()
