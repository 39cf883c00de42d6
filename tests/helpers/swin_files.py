"""Writes checkpoints of a Swin as `transformers` saves them, without needing it."""

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

MICRO = {"channels": 32, "depths": (2, 2, 2), "heads": (2, 4, 8), "window": 7}
TINY = {"channels": 96, "depths": (2, 2, 6, 2), "heads": (3, 6, 12, 24), "window": 7}


def swin_tensors(*, channels, depths, heads, window, seed=0) -> dict[str, np.ndarray]:
    """Return the tensors of a SwinModel, with values large enough that each of them shows."""
    rng = np.random.default_rng(seed)
    tensors = {}

    def add(name, *shape, mean=0.0):
        scale = min(0.5, shape[-1] ** -0.5) if len(shape) > 1 else 0.3
        tensors[name] = (mean + rng.normal(scale=scale, size=shape)).astype("float32")

    def dense(name, inputs, outputs, bias=True):
        add(f"{name}.weight", outputs, inputs)
        if bias:
            add(f"{name}.bias", outputs)

    def norm(name, width):
        add(f"{name}.weight", width, mean=1.0)
        add(f"{name}.bias", width)

    add("embeddings.patch_embeddings.projection.weight", channels, 3, 4, 4)
    add("embeddings.patch_embeddings.projection.bias", channels)
    norm("embeddings.norm", channels)
    width = channels
    for stage, (depth, count) in enumerate(zip(depths, heads, strict=True)):
        for number in range(depth):
            block = f"encoder.layers.{stage}.blocks.{number}"
            norm(f"{block}.layernorm_before", width)
            add(
                f"{block}.attention.self.relative_position_bias_table",
                (2 * window - 1) ** 2,
                count,
            )
            for which in ("query", "key", "value"):
                dense(f"{block}.attention.self.{which}", width, width)
            dense(f"{block}.attention.output.dense", width, width)
            norm(f"{block}.layernorm_after", width)
            dense(f"{block}.intermediate.dense", width, 4 * width)
            dense(f"{block}.output.dense", 4 * width, width)
        if stage < len(depths) - 1:
            norm(f"encoder.layers.{stage}.downsample.norm", 4 * width)
            dense(f"encoder.layers.{stage}.downsample.reduction", 4 * width, 2 * width, bias=False)
            width *= 2
    norm("layernorm", width)
    return tensors


def write_swin(folder: Path, tensors, *, channels, depths, heads, window, size, changes=()) -> Path:
    """Write `config.json` and `model.safetensors`; `changes` go into the config."""
    config = {
        "architectures": ["SwinModel"],
        "model_type": "swin",
        "image_size": size,
        "patch_size": 4,
        "num_channels": 3,
        "embed_dim": channels,
        "depths": list(depths),
        "num_heads": list(heads),
        "window_size": window,
        "mlp_ratio": 4.0,
        "qkv_bias": True,
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
        "drop_path_rate": 0.1,
        "hidden_act": "gelu",
        "use_absolute_embeddings": False,
        "layer_norm_eps": 1e-05,
        **dict(changes),
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def as_classifier(tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the tensors as SwinForImageClassification has them, with older versions' buffers."""
    named = {f"swin.{name}": tensor for name, tensor in tensors.items()}
    width = len(tensors["layernorm.weight"])
    for name in [name for name in named if name.endswith("bias_table")]:
        index = name.removesuffix("bias_table") + "index"
        named[index] = np.zeros((49, 49), np.int64)
    named["classifier.weight"] = np.ones((5, width), "float32")
    named["classifier.bias"] = np.ones(5, "float32")
    return named
