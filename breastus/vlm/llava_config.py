"""What a LLaVA-Med checkpoint says about itself, in the original layout or in llava-hf's.

Both layouts lead to one `LlavaConfig`, which knows the names and shapes of all tensors. Anything
that this implementation does not compute, such as another projector, is refused here.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from breastus.errors import WeightsError
from breastus.vlm.checkpoint import Checkpoint

CONTEXT = 2048  # tokens that LLaVA-Med was trained with, image included
# Original checkpoints do not state the number of heads of their tower. In CLIP's ViT-B and ViT-L,
# on which LLaVA builds, a head has 64 dimensions (Radford et al., ICML 2021, table 20).
_TOWER_HEAD = 64
# Our names of parts to the prefixes of each layout.
_ORIGINAL = {
    "vision.": "model.vision_tower.vision_tower.vision_model.",
    "projector.1.": "model.mm_projector.0.",
    "projector.2.": "model.mm_projector.2.",
    "head.": "lm_head.",
    "language.": "model.",
}
_CONVERTED = {
    "vision.": "vision_tower.vision_model.",
    "projector.1.": "multi_modal_projector.linear_1.",
    "projector.2.": "multi_modal_projector.linear_2.",
    "head.": "language_model.lm_head.",
    "language.": "language_model.model.",
}
# As `transformers` writes it since version 5.
_CONVERTED_NEWER = {**_CONVERTED, "vision.": "vision_tower."}
# Mistral's own defaults in `transformers`, which its config.json may leave out.
_MISTRAL = {
    "vocab_size": 32000,
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "head_dim": None,
    "max_position_embeddings": 131072,
    "rms_norm_eps": 1e-6,
    "rope_theta": 10000.0,
    "sliding_window": 4096,
    "hidden_act": "silu",
    "tie_word_embeddings": False,
}


@dataclass(frozen=True)
class TowerConfig:
    """Sizes of a CLIP vision tower; `image_size` and `patch_size` in pixels."""

    width: int
    mlp: int
    layers: int
    heads: int
    image_size: int
    patch_size: int

    @property
    def patches(self) -> int:
        """Number of patches of an image."""
        return (self.image_size // self.patch_size) ** 2


@dataclass(frozen=True)
class LanguageConfig:
    """Sizes of a Mistral language model.

    `window` is the number of tokens that attention reaches back, or None without a limit; `rope`
    the largest wavelength of the rotary embedding.
    """

    tokens: int
    width: int
    mlp: int
    layers: int
    heads: int
    key_heads: int
    head_width: int
    rope: float
    epsilon: float
    window: int | None


@dataclass(frozen=True)
class LlavaConfig:
    """A LLaVA-Med checkpoint.

    Attributes:
        tower, language: sizes of the two networks.
        feature_layer: layer of the tower whose output is used, counted from the end: -2.
        context: number of tokens of prompt and answer, the image's included.
        legacy: see `Tokenizer`.
        layout: our prefixes of tensor names to the prefixes in the files.
    """

    tower: TowerConfig
    language: LanguageConfig
    feature_layer: int
    context: int
    legacy: bool
    layout: Mapping[str, str]

    @classmethod
    def of(cls, checkpoint: Checkpoint) -> "LlavaConfig":
        """Read config.json, and of original checkpoints the shapes of the vision tower.

        Raises:
            WeightsError: if the checkpoint is of another architecture.
        """
        kind = checkpoint.config.get("model_type")
        if kind == "llava_mistral":
            return cls._of_original(checkpoint)
        if kind == "llava":
            return cls._of_converted(checkpoint)
        raise _other(checkpoint, "model_type", "llava_mistral or llava", kind)

    @classmethod
    def _of_original(cls, checkpoint: Checkpoint) -> "LlavaConfig":
        config = checkpoint.config
        _require(
            checkpoint,
            config,
            {
                "mm_projector_type": "mlp2x_gelu",
                "mm_vision_select_feature": "patch",
                "mm_use_im_start_end": False,
                "mm_use_im_patch_token": False,
            },
        )
        return cls(
            _tower_of_shapes(checkpoint),
            _language(checkpoint, config),
            int(config.get("mm_vision_select_layer", -2)),
            _context(config.get("tokenizer_model_max_length"), config),
            # The original code encodes the text around the image piece by piece.
            True,
            _ORIGINAL,
        )

    @classmethod
    def _of_converted(cls, checkpoint: Checkpoint) -> "LlavaConfig":
        config, tokenizer = checkpoint.config, checkpoint.tokenizer_config
        text, tower = (dict(config.get(name) or {}) for name in ("text_config", "vision_config"))
        _require(checkpoint, text, {"model_type": "mistral"}, "text_config.")
        expected = {
            "model_type": "clip_vision_model",
            "hidden_act": "quick_gelu",
            "layer_norm_eps": 1e-5,
        }
        _require(checkpoint, tower, expected, "vision_config.")
        expected = {
            "projector_hidden_act": "gelu",
            "vision_feature_select_strategy": "default",
            "multimodal_projector_bias": True,
        }
        _require(checkpoint, config, expected)
        # The defaults of `LlavaConfig` in `transformers`: CLIP's ViT-L/14 at 336 pixels.
        sizes = {
            "hidden_size": 1024,
            "intermediate_size": 4096,
            "num_hidden_layers": 24,
            "num_attention_heads": 16,
            "image_size": 336,
            "patch_size": 14,
        }
        newer = f"{_CONVERTED_NEWER['vision.']}embeddings.class_embedding" in checkpoint.tensors
        return cls(
            TowerConfig(*(int(tower.get(name, default)) for name, default in sizes.items())),
            _language(checkpoint, text),
            int(config.get("vision_feature_layer", -2)),
            _context(tokenizer.get("model_max_length"), text),
            bool(tokenizer.get("legacy", True)),
            _CONVERTED_NEWER if newer else _CONVERTED,
        )

    def file_name(self, name: str) -> str:
        """Return the name in the files of a tensor by our name."""
        prefix = next(prefix for prefix in self.layout if name.startswith(prefix))
        return self.layout[prefix] + name.removeprefix(prefix)

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shape of every tensor of the checkpoint, by its name in the files."""
        return {self.file_name(name): shape for name, shape in self._shapes()}

    def _shapes(self) -> Iterator[tuple[str, tuple[int, ...]]]:
        tower, language = self.tower, self.language
        # === Vision tower ===
        patch = tower.patch_size
        yield "vision.embeddings.class_embedding", (tower.width,)
        yield "vision.embeddings.patch_embedding.weight", (tower.width, 3, patch, patch)
        yield "vision.embeddings.position_embedding.weight", (tower.patches + 1, tower.width)
        # "layrnorm" is how `transformers` spells it.
        for norm in ("vision.pre_layrnorm", "vision.post_layernorm"):
            yield from _linear(norm, tower.width)
        for number in range(tower.layers):
            layer = f"vision.encoder.layers.{number}"
            for which in ("q_proj", "k_proj", "v_proj", "out_proj"):
                yield from _linear(f"{layer}.self_attn.{which}", tower.width, tower.width)
            yield from _linear(f"{layer}.mlp.fc1", tower.mlp, tower.width)
            yield from _linear(f"{layer}.mlp.fc2", tower.width, tower.mlp)
            for norm in ("layer_norm1", "layer_norm2"):
                yield from _linear(f"{layer}.{norm}", tower.width)
        # === Projector ===
        yield from _linear("projector.1", language.width, tower.width)
        yield from _linear("projector.2", language.width, language.width)
        # === Language model ===
        width, queries = language.width, language.heads * language.head_width
        keys = language.key_heads * language.head_width
        yield "language.embed_tokens.weight", (language.tokens, width)
        yield "head.weight", (language.tokens, width)
        yield "language.norm.weight", (width,)
        for number in range(language.layers):
            layer = f"language.layers.{number}"
            yield f"{layer}.self_attn.q_proj.weight", (queries, width)
            yield f"{layer}.self_attn.k_proj.weight", (keys, width)
            yield f"{layer}.self_attn.v_proj.weight", (keys, width)
            yield f"{layer}.self_attn.o_proj.weight", (width, queries)
            yield f"{layer}.mlp.gate_proj.weight", (language.mlp, width)
            yield f"{layer}.mlp.up_proj.weight", (language.mlp, width)
            yield f"{layer}.mlp.down_proj.weight", (width, language.mlp)
            yield f"{layer}.input_layernorm.weight", (width,)
            yield f"{layer}.post_attention_layernorm.weight", (width,)


def _linear(name: str, *shape: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield f"{name}.weight", shape
    yield f"{name}.bias", shape[:1]


def _tower_of_shapes(checkpoint: Checkpoint) -> TowerConfig:
    """Return the sizes of an original checkpoint's vision tower, which only its shapes tell."""
    prefix = _ORIGINAL["vision."]

    def shape(name: str, dimensions: int) -> tuple[int, ...]:
        one = checkpoint.tensors.get(prefix + name)
        if one is None or len(one.shape) != dimensions:
            raise WeightsError(
                f"The checkpoint {checkpoint.folder} must hold {prefix + name} with {dimensions} "
                f"dimensions. Received: {'nothing' if one is None else list(one.shape)}"
            )
        return one.shape

    width, _, patch, _ = shape("embeddings.patch_embedding.weight", 4)
    patches = shape("embeddings.position_embedding.weight", 2)[0] - 1
    layers = f"{prefix}encoder.layers."
    numbers = {
        int(name.removeprefix(layers).partition(".")[0])
        for name in checkpoint.tensors
        if name.startswith(layers)
    }
    return TowerConfig(
        width=width,
        mlp=shape("encoder.layers.0.mlp.fc1.weight", 2)[0],
        layers=max(numbers) + 1,
        heads=max(1, width // _TOWER_HEAD),
        image_size=math.isqrt(patches) * patch,
        patch_size=patch,
    )


def _language(checkpoint: Checkpoint, config: Mapping[str, Any]) -> LanguageConfig:
    values = {**_MISTRAL, **config}
    _require(checkpoint, values, {"hidden_act": "silu", "tie_word_embeddings": False})
    # Since version 5, `transformers` writes the wavelength into a group of its own.
    rope = {"rope_theta": values["rope_theta"], **(config.get("rope_parameters") or {})}
    scaling = rope.get("rope_type", "default"), values.get("rope_scaling")
    if scaling != ("default", None):
        raise _other(checkpoint, "the scaling of the rotary embedding", "absent", scaling)
    heads = int(values["num_attention_heads"])
    return LanguageConfig(
        tokens=int(values["vocab_size"]),
        width=int(values["hidden_size"]),
        mlp=int(values["intermediate_size"]),
        layers=int(values["num_hidden_layers"]),
        heads=heads,
        key_heads=int(values["num_key_value_heads"]),
        head_width=int(values["head_dim"] or values["hidden_size"] // heads),
        rope=float(rope["rope_theta"]),
        epsilon=float(values["rms_norm_eps"]),
        window=values["sliding_window"],
    )


def _context(stated: float | None, config: Mapping[str, Any]) -> int:
    """Return the context; tokenizers without a limit state a huge number."""
    longest = config.get("max_position_embeddings", CONTEXT)
    return int(min(stated or CONTEXT, longest, CONTEXT))


def _require(
    checkpoint: Checkpoint, config: Mapping[str, Any], expected: dict[str, Any], where: str = ""
) -> None:
    """Raise WeightsError if config.json states another value; what it leaves out is as expected."""
    for name, value in expected.items():
        if (got := config.get(name, value)) != value:
            raise _other(checkpoint, where + name, value, got)


def _other(checkpoint: Checkpoint, what: str, expected: Any, got: Any) -> WeightsError:
    return WeightsError(
        f"{checkpoint.folder} is no LLaVA-Med checkpoint that breastus can compute: {what} must be "
        f"{expected}. Received: {got}"
    )
