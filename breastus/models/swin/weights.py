"""Pretrained weights for our Swin: from KerasHub's presets and from Hugging Face's checkpoints.

The arrays are first collected under the paths of our variables. They are assigned only when all of
them are present, have the right shape and are finite, so that a network never has half of them.
"""

import json
import re
import warnings
from pathlib import Path

import keras
import numpy as np

from breastus.errors import HubError, HubUnreachableError, WeightsError
from breastus.models.weights.kerashub import load_preset, remedies
from breastus.utils.hub import cached_folder, download

_CONFIG, _TENSORS = "config.json", "model.safetensors"
# What a checkpoint may also hold: the old head, and buffers that older versions wrote.
_NOT_NEEDED = re.compile(r"^classifier\.|relative_position_index$")
# Our layers and theirs (`transformers`, SwinModel), {0} and {1} being stage and block. The norm in
# one of our `LayerNormDense` is a layer of theirs.
_BLOCK = r"stage_(\d)_block_(\d+)_"
_LAYERS = (
    (r"patches", "embeddings.patch_embeddings.projection"),
    (r"patches_norm", "embeddings.norm"),
    (r"feature_map", "layernorm"),
    (r"merge_(\d)/norm", "encoder.layers.{0}.downsample.norm"),
    (r"merge_(\d)", "encoder.layers.{0}.downsample.reduction"),
    (_BLOCK + "mlp/widen/norm", "encoder.layers.{0}.blocks.{1}.layernorm_after"),
    (_BLOCK + "mlp/widen", "encoder.layers.{0}.blocks.{1}.intermediate.dense"),
    (_BLOCK + "mlp/narrow", "encoder.layers.{0}.blocks.{1}.output.dense"),
    (_BLOCK + "attention", "encoder.layers.{0}.blocks.{1}.attention.self"),
    (_BLOCK + "attention/qkv/norm", "encoder.layers.{0}.blocks.{1}.layernorm_before"),
    (_BLOCK + "attention/qkv", "encoder.layers.{0}.blocks.{1}.attention.self"),
    (_BLOCK + "attention/projection", "encoder.layers.{0}.blocks.{1}.attention.output.dense"),
)
_NORMED_DENSE = re.compile(r"merge_\d|.*/(qkv|widen)")
_PARTS = {"kernel": "weight", "bias": "bias", "gamma": "weight", "beta": "bias"}


def load_swin_weights(
    model: keras.Model, preset: str, *, channels: int, depths: tuple, heads: tuple, window: int
) -> None:
    """Load the weights of a checkpoint into a Swin; its head keeps its own.

    Args:
        model: the network, with the layer names of `breastus.models.swin.swin`.
        preset: name of a KerasHub preset; handle such as `hf://...` or `kaggle://...`; or a folder,
            of a KerasHub preset or as `transformers` saves `SwinModel` and
            `SwinForImageClassification`.
        channels: number of channels of the first stage.
        depths: number of blocks in each stage.
        heads: number of attention heads in each stage.
        window: side of the windows in tokens.
    """
    needed = {
        "embed_dim": channels,
        "depths": list(depths),
        "num_heads": list(heads),
        "window_size": window,
    }
    config, folder = _config(preset)
    if "model_type" in config:
        _check(preset, config, config["model_type"], needed)
        found = _from_hugging_face(model, _fetch(preset, folder, _TENSORS))
    else:
        backbone = _kerashub_backbone(preset)
        _check(preset, backbone.get_config(), "swin", needed)
        found = _from_kerashub(backbone)
    _put(model, found, preset)


def _config(preset: str) -> tuple[dict, Path | None]:
    """Return the checkpoint's config ({} if only KerasHub can read it) and its folder, if any."""
    folder = None if "://" in preset else Path(preset)
    if folder is not None and not folder.is_dir():
        return {}, None  # a preset's name, or nothing
    if folder is None and not preset.startswith("hf://"):
        return {}, None
    path = _fetch(preset, folder, _CONFIG)
    try:
        config = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise WeightsError(f"{path} cannot be read: {error}. {remedies(preset)}") from error
    if not isinstance(config, dict):
        raise WeightsError(f"{path} is not the config of a network. {remedies(preset)}")
    return config, folder


def _fetch(preset: str, folder: Path | None, name: str) -> Path:
    """Return the path of a checkpoint's file, fetched from the hub if need be."""
    if folder is None:
        repo = preset.removeprefix("hf://")
        try:
            folder = download(repo, [name], kind="model")
        except HubError as error:
            unreachable = isinstance(error, HubUnreachableError)
            folder = cached_folder(repo, [name], kind="model") if unreachable else None
            if folder is None:
                raise WeightsError(
                    f"The weights {preset} could not be loaded: {name}: {error} {remedies(preset)}"
                ) from error
    if not (folder / name).is_file():
        raise WeightsError(f"The weights {preset} have no {name}. {remedies(preset)}")
    return folder / name


def _check(preset: str, config: dict, kind: str, needed: dict) -> None:
    if kind != "swin":
        raise WeightsError(f"The weights {preset} are of a {kind}, not a swin. {remedies(preset)}")
    # Both formats' defaults, or what only one of them names; left out, it is as we have it.
    optional = {
        "patch_size": 4,
        "mlp_ratio": 4,
        "qkv_bias": True,
        "num_channels": 3,
        "hidden_act": "gelu",
        "layer_norm_eps": 1e-5,
        "use_absolute_embeddings": False,
        "patch_norm": True,
    }
    missing = object()
    for key, value in {**needed, **optional}.items():
        got = config.get(key, value if key in optional else missing)
        got = list(got) if isinstance(got, tuple) else got
        if got != value:
            size = " Windows of 7 need a multiple of 224 pixels, windows of 12 a multiple of 384."
            raise WeightsError(
                f"The weights {preset} are of another network: {key} must be {value}."
                f"{size if key == 'window_size' else ''} {remedies(preset)} "
                f"Received: {'nothing' if got is missing else got}"
            )


def _from_hugging_face(model: keras.Model, path: Path) -> dict[str, tuple[np.ndarray, str]]:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        tensors = load_file(path)
    except (SafetensorError, OSError, ValueError, TypeError, KeyError) as error:
        raise WeightsError(f"{path} is damaged: {error}. {remedies(path)}") from error
    # SwinForImageClassification keeps the SwinModel under `swin.`.
    tensors = {name.removeprefix("swin."): tensor for name, tensor in tensors.items()}

    found = {}
    for variable in _variables(model):
        names = _their_names(variable.path)
        if missing := [name for name in names if name not in tensors]:
            raise WeightsError(f"{path} is not whole: {missing[0]} is missing. {remedies(path)}")
        parts = [tensors.pop(name) for name in names]
        if len({part.shape for part in parts}) > 1:
            shapes = ", ".join(f"{n} {p.shape}" for n, p in zip(names, parts, strict=True))
            raise WeightsError(f"{path} does not fit: {shapes}. {remedies(path)}")
        ours = np.concatenate(parts)
        if variable.path.endswith("kernel"):  # PyTorch has the outputs first
            ours = ours.transpose(2, 3, 1, 0) if ours.ndim == 4 else ours.T
        found[variable.path] = (ours, names[0])
    if left := [name for name in tensors if not _NOT_NEEDED.search(name)]:
        raise WeightsError(
            f"{path} holds more than a Swin of this size: {left[0]}. {remedies(path)}"
        )
    return found


def _their_names(path: str) -> list[str]:
    """Return the tensors that make up one of our variables: one, or three for `qkv`."""
    layer, _, part = path.rpartition("/")
    if part in ("gamma", "beta") and _NORMED_DENSE.fullmatch(layer):
        layer += "/norm"
    for pattern, name in _LAYERS:
        if match := re.fullmatch(pattern, layer):
            name = name.format(*match.groups())
            break
    else:
        raise ValueError(f"no tensor is known for {path}")
    if part == "bias_table":
        return [f"{name}.relative_position_bias_table"]
    if layer.endswith("qkv"):
        return [f"{name}.{which}.{_PARTS[part]}" for which in ("query", "key", "value")]
    return [f"{name}.{_PARTS[part]}"]


def _kerashub_backbone(preset: str) -> keras.Model:
    from keras_hub.models import SwinTransformerBackbone

    with warnings.catch_warnings():
        # KerasHub names an argument of its attention `mask`, which Keras takes for its own.
        warnings.filterwarnings("ignore", message=".* was passed an input with a mask attached")
        return load_preset(SwinTransformerBackbone, preset)


def _from_kerashub(backbone: keras.Model) -> dict[str, tuple[np.ndarray, str]]:
    theirs = {
        "patches": (backbone.patch_embedding.proj,),
        "patches_norm": (backbone.patch_embedding.norm,),
        "feature_map": (backbone.norm,),
    }
    for number, stage in enumerate(backbone.stages):
        for position, block in enumerate(stage.blocks):
            name = f"stage_{number}_block_{position}"
            # Norm and dense layer are one layer of ours, and have no names in common.
            theirs[f"{name}_attention/qkv"] = block.norm1, block.attn.qkv
            theirs[f"{name}_attention/projection"] = (block.attn.proj,)
            table = block.attn.relative_position_bias_table
            theirs[f"{name}_attention/bias_table"] = table
            theirs[f"{name}_mlp/widen"] = block.norm2, block.mlp.fc1
            theirs[f"{name}_mlp/narrow"] = (block.mlp.fc2,)
        if stage.downsample is not None:
            theirs[f"merge_{number}"] = stage.downsample.norm, stage.downsample.reduction
    found = {}
    for name, source in theirs.items():
        if isinstance(source, keras.Variable):
            found[name] = (source.numpy(), source.path)
            continue
        for variable in (variable for layer in source for variable in layer.weights):
            found[f"{name}/{variable.path.split('/')[-1]}"] = (variable.numpy(), variable.path)
    return found


def _put(model: keras.Model, found: dict[str, tuple[np.ndarray, str]], preset: str) -> None:
    """Check all, then assign all."""
    variables = _variables(model)
    for variable in variables:
        if variable.path not in found:
            raise WeightsError(f"The weights {preset} lack {variable.path}. {remedies(preset)}")
        array, name = found[variable.path]
        if array.shape != tuple(variable.shape):
            raise WeightsError(
                f"The weights {preset} do not fit: {name} becomes {array.shape}, where "
                f"{variable.path} needs {tuple(variable.shape)}. {remedies(preset)}"
            )
        if not np.isfinite(array.astype("float32")).all():
            raise WeightsError(
                f"The weights {preset} are damaged: {name} is not finite. {remedies(preset)}"
            )
    if left := set(found) - {variable.path for variable in variables}:
        raise WeightsError(
            f"The weights {preset} hold more than {model.name}: {min(left)}. {remedies(preset)}"
        )
    for variable in variables:
        variable.assign(found[variable.path][0].astype("float32"))


def _variables(model: keras.Model) -> list[keras.Variable]:
    return [v for layer in model.layers if layer.name != "probabilities" for v in layer.weights]
