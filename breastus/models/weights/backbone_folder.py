"""Backbones pretrained with breastus: a folder with weights and a description of their training.

    compact-images/
      backbone.weights.h5   all layers up to `features`, as Keras saves weights
      pretrained.json       network, image size, on what and how, seed, checksums, images seen

    write_pretrained(folder, model, facts)                 # written aside, then renamed
    load_pretrained(model, folder, network="compact")      # the head keeps its weights

Both files are data: nothing in them is run when they are read. Of the images that weights have
seen, `seen` lists the SHA-256 of each file, and nothing else.
"""

import hashlib
import json
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np

from breastus.errors import ModelError, WeightsError
from breastus.utils.files import sha256_of, write_folder_aside, write_json

FORMAT = 1
PRETRAINED_FILE = "pretrained.json"
WEIGHTS_FILE = "backbone.weights.h5"
_NEEDED = {"network": str, "image_size": int, "on": str, "weights": dict, "seen": list}


def is_pretrained(weights: str | os.PathLike | None) -> bool:
    """Whether a name of weights is a folder that `write_pretrained` wrote, damaged or not."""
    return weights is not None and any(
        os.path.isfile(Path(weights, name)) for name in (PRETRAINED_FILE, WEIGHTS_FILE)
    )


def backbone_of(model: keras.Model) -> keras.Model:
    """Return the part of a network up to the layer `features`; its layers are shared."""
    if "features" not in {layer.name for layer in model.layers}:
        raise ModelError(
            f"Pretraining needs a network with a layer named features, after which the head "
            f"begins; {model.name} has none."
        )
    return keras.Model(model.inputs, model.get_layer("features").output, name=model.name)


def write_pretrained(
    folder: str | os.PathLike, model: keras.Model, facts: Mapping[str, Any]
) -> Path:
    """Write the backbone of a network and its description; an interrupted call leaves nothing.

    Args:
        folder: replaced if it exists.
        model: the network; its head is not written.
        facts: content of pretrained.json: at least `network`, `image_size` (pixels), `on`
            ("phantoms" or "images") and `seen` (SHA-256 of each file the pretraining used).
    """
    backbone = backbone_of(model)
    with write_folder_aside(folder) as aside:
        backbone.save_weights(aside / WEIGHTS_FILE)
        weights = {
            "file": WEIGHTS_FILE,
            "sha256": sha256_of(aside / WEIGHTS_FILE),
            "values_sha256": _values_sha256(backbone),
            "parameters": backbone.count_params(),
        }
        write_json(aside / PRETRAINED_FILE, {"format": FORMAT, **facts, "weights": weights})
    return Path(folder)


def read_pretrained(folder: str | os.PathLike) -> dict[str, Any]:
    """Return the content of pretrained.json."""
    path = Path(folder) / PRETRAINED_FILE
    if not path.is_file():
        raise WeightsError(f"{path} is missing: the weights are not whole. {_way_out()}")
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise WeightsError(f"{path} cannot be read: {error}. {_way_out()}") from error
    found = facts.get("format") if isinstance(facts, dict) else None
    if found != FORMAT:
        raise WeightsError(f"{path}: format must be {FORMAT}. {_way_out()} Received: {found!r}")
    for name, kind in _NEEDED.items():
        if not isinstance(facts.get(name), kind):
            raise WeightsError(
                f"{path}: {name} must be of type {kind.__name__}. {_way_out()} "
                f"Received: {facts.get(name)!r}"
            )
    return facts


def load_pretrained(model: keras.Model, folder: str | os.PathLike, *, network: str) -> None:
    """Load pretrained weights into the backbone of a network; its head keeps its own.

    A WeightsError is raised if the folder is not whole, or is of another network or of sizes that
    do not fit. The network is not to be used then.
    """
    facts = read_pretrained(folder)
    path = Path(folder) / WEIGHTS_FILE
    if facts["network"] != network:
        raise WeightsError(
            f"{path}: the weights must be of {network}. {_way_out(network)} "
            f"Received: weights of {facts['network']}"
        )
    if not path.is_file():
        raise WeightsError(f"{path} is missing: the weights are not whole. {_way_out(network)}")
    expected, found = facts["weights"].get("sha256"), sha256_of(path)
    if found != expected:
        raise WeightsError(
            f"{path} is damaged: its SHA-256 must be {expected}, as in {PRETRAINED_FILE}. "
            f"{_way_out(network)} Received: {found}"
        )
    backbone = backbone_of(model)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # that values stay new is seen below
            backbone.load_weights(path)
        fits = _values_sha256(backbone) == facts["weights"].get("values_sha256")
        reason = "they arrive with other values"
    # Shapes that differ, as a Swin's with other windows; or another Keras' way of writing.
    except (ValueError, KeyError, OSError) as error:
        fits, reason = False, str(error).splitlines()[0]
    if not fits:
        raise WeightsError(
            f"{path} does not fit this {network}: the weights were made at an "
            f"image_size of {facts['image_size']} pixels. Take that size, or pretrain at this one. "
            f"({reason})"
        )


def check_scaling(scaling: str, weights: str | None, facts: Mapping[str, Any] | None) -> None:
    """Raise a WeightsError if initial weights were made for images of another scaling.

    Args:
        scaling: the setting `preprocessing.scaling` of the training.
        weights: resolved initial weights; random ones, None, fit every scaling.
        facts: content of pretrained.json, or None for weights that are not breastus's own.
    """
    if weights is None:
        return
    settings = (facts or {}).get("settings") or {}
    expected = settings.get("preprocessing", {}).get("scaling", "zscore")
    if scaling != expected:
        raise WeightsError(
            f"The initial weights are for images with preprocessing.scaling={expected}. Set that, "
            "or start from random weights (--set model.weights=null). "
            f"Received: preprocessing.scaling={scaling}"
        )


def describe(facts: Mapping[str, Any]) -> str:
    """Describe a pretraining, such as `weights pretrained on 10,000 phantoms (...)`."""
    what = "phantoms" if facts["on"] == "phantoms" or facts.get("simulated") else "images"
    labels = "" if facts["on"] == "phantoms" else " without their labels"
    before = str(facts.get("initial_weights", ""))
    started = f", starting from {before}" if before.startswith("weights pretrained") else ""
    return (
        f"weights pretrained on {facts.get('images') or 0:,} {what}{labels} "
        f"({facts.get('epochs')} epochs, seed {facts.get('seed')}){started}"
    )


def _way_out(network: str = "NETWORK") -> str:
    return f"Pretrain it again: breastus pretrain {network}, or copy the folder as a whole."


def _values_sha256(model: keras.Model) -> str:
    digest = hashlib.sha256()
    for weight in model.get_weights():
        digest.update(np.ascontiguousarray(weight, np.float32).tobytes())
    return digest.hexdigest()
