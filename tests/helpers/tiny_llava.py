"""LLaVA-Med in small: checkpoints in the two public layouts, with random weights of a fixed seed.

`tests/vlm/make_reference.py` gives the same weights to `transformers` for the reference outputs.
"""

import json
import shutil
from pathlib import Path

import ml_dtypes
import numpy as np
from safetensors.numpy import save_file

TOKENIZER = Path(__file__).parents[1] / "vlm" / "tokenizer.model"  # 480 pieces, Llama's options
TOKENS = 480
PADDED_TOKENS = 544  # the converted layout adds <image> and <pad>, and pads to a multiple of 64
IMAGE_TOKEN = 480
SPECIAL = {"add_bos_token": True, "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}

VISION = {
    "hidden_size": 128,
    "intermediate_size": 96,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "image_size": 56,
    "patch_size": 14,
    "hidden_act": "quick_gelu",
    "layer_norm_eps": 1e-5,
}
LANGUAGE = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 32768,
    "rms_norm_eps": 1e-5,
    "rope_theta": 1000000.0,
    "sliding_window": None,
    "hidden_act": "silu",
}

_VISION_PREFIX = "model.vision_tower.vision_tower.vision_model."
# In the order of the replacements.
CONVERTED = (
    (_VISION_PREFIX, "vision_tower.vision_model."),
    ("model.mm_projector.0.", "multi_modal_projector.linear_1."),
    ("model.mm_projector.2.", "multi_modal_projector.linear_2."),
    ("lm_head.", "language_model.lm_head."),
    ("model.", "language_model.model."),
)


def converted_name(name: str, *, newer: bool = False) -> str:
    """Return the name in the converted layout of a tensor of the original one.

    Since version 5, `transformers` leaves out `vision_model`, which is `newer`.
    """
    for before, after in CONVERTED:
        if name.startswith(before):
            after = after.replace("vision_model.", "") if newer else after
            return after + name.removeprefix(before)
    raise AssertionError(name)


def make_tensors(tokens: int = TOKENS) -> dict[str, np.ndarray]:
    """Return all tensors by their names in the original layout, bfloat16."""
    random = np.random.RandomState(7)  # its stream never changes between versions of NumPy
    found = {}

    def linear(name: str, outputs: int, inputs: int, *, bias: bool = False, gain: float = 1.0):
        found[f"{name}.weight"] = gain * random.standard_normal((outputs, inputs)) / inputs**0.5
        if bias:
            found[f"{name}.bias"] = 0.1 * random.standard_normal(outputs)

    def norm(name: str, size: int, *, bias: bool = False):
        found[f"{name}.weight"] = 1 + 0.2 * random.standard_normal(size)
        if bias:
            found[f"{name}.bias"] = 0.1 * random.standard_normal(size)

    width, mlp = LANGUAGE["hidden_size"], LANGUAGE["intermediate_size"]
    keys = width * LANGUAGE["num_key_value_heads"] // LANGUAGE["num_attention_heads"]
    found["model.embed_tokens.weight"] = random.standard_normal((PADDED_TOKENS, width))[:tokens]
    for number in range(LANGUAGE["num_hidden_layers"]):
        layer = f"model.layers.{number}"
        linear(f"{layer}.self_attn.q_proj", width, width, gain=2)
        linear(f"{layer}.self_attn.k_proj", keys, width, gain=2)
        linear(f"{layer}.self_attn.v_proj", keys, width)
        linear(f"{layer}.self_attn.o_proj", width, width)
        linear(f"{layer}.mlp.gate_proj", mlp, width)
        linear(f"{layer}.mlp.up_proj", mlp, width)
        linear(f"{layer}.mlp.down_proj", width, mlp)
        norm(f"{layer}.input_layernorm", width)
        norm(f"{layer}.post_attention_layernorm", width)
    norm("model.norm", width)
    head = 2 * random.standard_normal((PADDED_TOKENS, width)) / width**0.5
    found["lm_head.weight"] = head[:tokens]

    seen, inner = VISION["hidden_size"], VISION["intermediate_size"]
    patch = VISION["patch_size"]
    places = (VISION["image_size"] // patch) ** 2 + 1
    shape = (seen, 3, patch, patch)
    embeddings = f"{_VISION_PREFIX}embeddings"
    found[f"{embeddings}.class_embedding"] = random.standard_normal(seen)
    found[f"{embeddings}.patch_embedding.weight"] = random.standard_normal(shape) / patch
    found[f"{embeddings}.position_embedding.weight"] = 0.5 * random.standard_normal((places, seen))
    norm(f"{_VISION_PREFIX}pre_layrnorm", seen, bias=True)
    for number in range(VISION["num_hidden_layers"]):
        layer = f"{_VISION_PREFIX}encoder.layers.{number}"
        for which in ("k_proj", "v_proj", "q_proj", "out_proj"):
            linear(f"{layer}.self_attn.{which}", seen, seen, bias=True)
        norm(f"{layer}.layer_norm1", seen, bias=True)
        linear(f"{layer}.mlp.fc1", inner, seen, bias=True)
        linear(f"{layer}.mlp.fc2", seen, inner, bias=True)
        norm(f"{layer}.layer_norm2", seen, bias=True)
    norm(f"{_VISION_PREFIX}post_layernorm", seen, bias=True)
    linear("model.mm_projector.0", width, seen, bias=True)
    linear("model.mm_projector.2", width, width, bias=True)
    return {name: tensor.astype(ml_dtypes.bfloat16) for name, tensor in found.items()}


def write_original(folder: Path, *, context: int = 1024, window: int | None = None) -> Path:
    """Write a checkpoint in the layout of microsoft/llava-med-v1.5-mistral-7b."""
    config = {
        "architectures": ["LlavaMistralForCausalLM"],
        "model_type": "llava_mistral",
        **LANGUAGE,
        "sliding_window": window,
        "vocab_size": TOKENS,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "image_aspect_ratio": "pad",
        "mm_hidden_size": VISION["hidden_size"],
        "mm_projector_type": "mlp2x_gelu",
        "mm_use_im_patch_token": False,
        "mm_use_im_start_end": False,
        "mm_vision_select_feature": "patch",
        "mm_vision_select_layer": -2,
        "mm_vision_tower": "openai/clip-vit-large-patch14-336",
        "tie_word_embeddings": False,
        "tokenizer_model_max_length": context,
        "torch_dtype": "bfloat16",
    }
    return _write(folder, config, make_tensors(), tokenizer={**SPECIAL, "legacy": True})


def write_converted(folder: Path, *, legacy: bool = False, newer: bool = False) -> Path:
    """Write a checkpoint in the layout of llava-hf."""
    config = {
        "architectures": ["LlavaForConditionalGeneration"],
        "model_type": "llava",
        "image_token_index": IMAGE_TOKEN,
        "projector_hidden_act": "gelu",
        "vision_feature_layer": -2,
        "vision_feature_select_strategy": "default",
        "text_config": {"model_type": "mistral", **LANGUAGE, "vocab_size": PADDED_TOKENS},
        "vision_config": {"model_type": "clip_vision_model", **VISION},
        "torch_dtype": "bfloat16",
    }
    tensors = {
        converted_name(name, newer=newer): tensor
        for name, tensor in make_tensors(PADDED_TOKENS).items()
    }
    tokenizer = {**SPECIAL, "legacy": legacy, "model_max_length": 1024}
    return _write(folder, config, tensors, tokenizer=tokenizer)


def _write(folder: Path, config: dict, tensors: dict, *, tokenizer: dict) -> Path:
    """Write two shards with an index, and the other files of a checkpoint."""
    folder.mkdir(parents=True, exist_ok=True)
    names = list(tensors)
    halves = (names[: len(names) // 2], names[len(names) // 2 :])
    files = [f"model-0000{number}-of-00002.safetensors" for number in (1, 2)]
    for file, half in zip(files, halves, strict=True):
        part = {name: np.ascontiguousarray(tensors[name]) for name in half}
        save_file(part, folder / file, metadata={"format": "pt"})
    index = {
        "metadata": {"total_size": sum(tensor.nbytes for tensor in tensors.values())},
        "weight_map": {
            name: file for file, half in zip(files, halves, strict=True) for name in half
        },
    }
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "tokenizer_config.json").write_text(json.dumps(tokenizer))
    shutil.copy(TOKENIZER, folder / "tokenizer.model")
    return folder
