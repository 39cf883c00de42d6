"""Pretrain a backbone on phantoms or on images without their labels: a folder of weights out.

    folder = pretrain("compact", on="images", data="path/to/BUSI", seed=0)
    config = default_config("compact").replace({"model": {"weights": str(folder)}})
    train("compact", data="path/to/BUSI", seed=0, config=config)

phantoms   supervised, on simulated images that are never repeated: lump or not, and where
images     self-supervised: hidden patches are reconstructed, labels are not read

Only the training part of a data set is used. The checksums of the images are written beside the
weights, and a training with one of them in val or test is refused.
"""

import functools
import os
import time
from itertools import count
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd

from breastus.auditing.leakage import HELD_OUT
from breastus.augmentation.policies import check_policy
from breastus.config.parsing import join_sources, split_sources
from breastus.config.presets import pretraining_config
from breastus.config.schema import Config
from breastus.data.manifest.build import load_manifest
from breastus.data.manifest.schema import has_phantoms, included
from breastus.data.pipeline.image_cache import reraise_image_errors
from breastus.errors import ConfigError, DataError, RunError, TrainingError
from breastus.models.registry import check_model
from breastus.models.weights.backbone_folder import (
    check_scaling,
    describe,
    is_pretrained,
    read_pretrained,
    write_pretrained,
)
from breastus.phantoms.simulation import VERSION
from breastus.preprocessing.transform import Transform
from breastus.runs.environment import command_line, hardware, versions
from breastus.training.callbacks.epoch_end import (
    HistoryLogger,
    LazyCallbackList,
    ProgressBar,
    TerminateOnNonFinite,
)
from breastus.training.hardware.fallback import train_with_fallback
from breastus.training.hardware.profiles import resolve
from breastus.training.network import Execution, execution_of, new_model
from breastus.training.pretraining.tasks import Masking, Task, masked_task, phantom_task
from breastus.training.pretraining_leakage import check_pretraining_leakage
from breastus.training.trainer import enough_memory
from breastus.workflows.prepare import (
    Places,
    data_fingerprint,
    prepare_manifest,
    prepare_splits,
)

PHANTOMS_PER_EPOCH = 400


def pretrain(
    model: str,
    *,
    on: str,
    data: Places | None = None,
    unlabelled: Places | None = None,
    out: str | os.PathLike | None = None,
    config: Config | None = None,
    seed: int | None = None,
    epochs: int | None = None,
    phantoms: int = PHANTOMS_PER_EPOCH,
    patch: int | None = None,
    mask_ratio: float = 0.6,
    fill: str | None = None,
) -> Path:
    """Pretrain the backbone of a network, and write its weights.

    On a CPU, the same arguments give the same weights. A pretraining cannot be resumed: if it is
    interrupted, nothing is written.

    Args:
        model: a name of `breastus.list_models()`.
        on: "phantoms" (supervised) or "images" (masked image modelling).
        data: data set that the network is trained on afterwards, as for `breastus.train` (only on
            images); its training part and its images without a label are used. None takes
            `config.data.source`.
        unlabelled: further data sets (only on images), used without the near-duplicates of
            held-out images of `data` and the images of their patients.
        out: the folder of weights; None takes the next free one in `runs/pretrained/`.
        config: all settings; None takes `breastus.pretraining_config(model, on)`. Data, split,
            preprocessing and image size should be the same in the training that follows.
        seed: seed of every random choice, such as the split; None takes `config.seed`.
        epochs: number of epochs; None takes `config.training.epochs`.
        phantoms: number of phantoms an epoch, at least 2 (only on phantoms).
        patch: side of the hidden patches in pixels (only on images); None takes 32, for `cnn` 16.
        mask_ratio: fraction of the patches that is hidden (only on images).
        fill: replacement of hidden patches (only on images): "token" (learned), "mean" (of the
            visible pixels) or "zero"; None takes a token for Swins and zeros for others.

    Returns:
        The folder, for `model.weights`.

    Raises:
        BreastusError: ConfigError for impossible settings, ModelError for a network without a last
            feature map, DataError without images, WeightsError if it starts from weights that have
            seen held-out images, RunError if `out` exists or training fails.
    """
    check_model(model)
    default = pretraining_config(model, on)
    config = config or default
    if on == "phantoms":
        if data is not None or unlabelled is not None:
            raise ConfigError(
                "Phantoms are simulated: --data and --unlabelled go with --on images."
            )
        if phantoms < 2:
            raise ConfigError(f"phantoms must be at least 2. Received: {phantoms}")
    changes: dict[str, Any] = {"model": {"name": model}, "training": {"devices": 1}}
    if data is not None:
        changes["data"] = {"source": join_sources(data)}
    if seed is not None:
        changes["seed"] = seed
    if epochs is not None:
        warmup = min(config.training.warmup_epochs, epochs / 4)
        changes["training"] |= {"epochs": epochs, "warmup_epochs": warmup}
    config = config.replace(changes)
    check_policy(config.augmentation.policy)
    masking = Masking.of(model, patch=patch, ratio=mask_ratio, fill=fill)
    if on == "images":
        masking.check(config.model.image_size)
    folder = _free_folder(out, f"{model}-{on}")
    plain = config.replace({"model": {"weights": None}})
    config = resolve(config, build=functools.partial(new_model, plain))
    weights = config.model.weights
    earlier = read_pretrained(weights) if is_pretrained(weights) else None
    check_scaling(config.preprocessing.scaling, weights, earlier)

    start, transform = time.perf_counter(), Transform.from_config(config)
    if on == "images":
        table, found = _images(config, unlabelled, earlier)
    else:
        found = {
            "simulated": True,
            "data_fingerprint": f"phantoms of version {VERSION}, seed {config.seed}",
            "seen": [],
        }

    def learn(execution: Execution) -> tuple[keras.Model, Task, list[dict[str, float]]]:
        # Seeds the initial weights and the generator of dropout.
        keras.utils.set_random_seed(config.seed)
        settings = config.replace({"training": execution.settings()})
        network = new_model(settings, precision=execution.precision)
        if on == "images":
            task = masked_task(network, settings, transform, table, masking=masking)
        else:
            task = phantom_task(network, settings, transform, count=phantoms)
        return network, task, _fit(task, network, config.training.epochs)

    with enough_memory():
        network, task, history = train_with_fallback(learn, execution_of(config), config)
    if on == "phantoms":
        found["images"] = task.facts["phantoms_per_epoch"] * config.training.epochs
    seen = set(found.pop("seen")) | set(earlier["seen"] if earlier else ())
    facts = {
        "network": model,
        "image_size": config.model.image_size,
        "on": on,
        "task": task.facts,
        "epochs": config.training.epochs,
        "seed": config.seed,
        **found,
        "initial_weights": describe(earlier) if earlier else weights or "random weights",
        "settings": _settings(config),
        "command": command_line(),
        "versions": versions(),
        "hardware": hardware(),
        "seconds": round(time.perf_counter() - start, 1),
        "history": history,
        "seen": sorted(seen),
    }
    return write_pretrained(folder, network, facts)


def images_to_learn_from(
    config: Config, unlabelled: Places | None = None
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Return the images that a self-supervised pretraining may see, with manifest and splits.

    These are the training part of the data set, its images without a label, and further ones;
    never one of val or test, nor another of the same patient or scene. Where no image has a label,
    the splits are empty.
    """
    manifest = prepare_manifest(config)
    if included(manifest).empty:  # nothing can be held out, and nothing tested
        splits = pd.DataFrame({"image_id": [], "split": [], "fold": []}, dtype=object)
    else:
        splits = prepare_splits(config, manifest)
    split_of = manifest["image_id"].map(splits.set_index("image_id")["split"])
    held_out = set(manifest.loc[split_of.isin(HELD_OUT), "sha256"])
    train = set(manifest.loc[split_of == "train", "sha256"])
    known = set(manifest["sha256"])

    everything = manifest
    if unlabelled is not None:
        # Read again with the others, to find near-duplicates and patients across data sets.
        places = [*split_sources(config.data.source), *split_sources(unlabelled)]
        everything = load_manifest(places, settings=config.data, seed=config.seed)
    sha256 = everything["sha256"]
    groups = set(everything.loc[sha256.isin(held_out), "group_id"])
    usable = (
        (everything["excluded"] == "")
        & (sha256.isin(train) | (everything["label"] == "") | ~sha256.isin(known))
        & ~sha256.isin(held_out)
        & ~everything["group_id"].isin(groups)
    )
    rows = everything[usable].reset_index(drop=True)
    if rows.empty:
        raise DataError(
            f"{config.data.source} holds no image to pretrain on: none is in the training part of "
            "its split, and none is without a label. Name another data set with --data."
        )
    # The same check that refuses weights before a training.
    check_pretraining_leakage(
        {"seen": rows["sha256"], "seed": config.seed}, manifest, splits, allow=False
    )
    return rows, manifest, splits


def _fit(task: Task, network: keras.Model, epochs: int) -> list[dict[str, float]]:
    """Fit a task and return its history, one row an epoch."""
    history = HistoryLogger()
    callbacks = [TerminateOnNonFinite(), history, ProgressBar(epochs, task.steps)]
    with reraise_image_errors():
        task.model.fit(
            task.batches,
            steps_per_epoch=task.steps,
            epochs=epochs,
            callbacks=LazyCallbackList(
                callbacks, add_history=True, model=task.model, epochs=epochs, steps=task.steps
            ),
            shuffle=False,  # the dataset comes in the order of its epoch
            verbose=0,
        )
        task.finish()
    # The last loss was computed before the last step.
    if not all(np.isfinite(weight).all() for weight in network.get_weights()):
        raise TrainingError(
            "The weights are not finite after the last step. Try a smaller learning rate "
            "(--set training.learning_rate=...)."
        )
    return history.rows


def _images(
    config: Config, unlabelled: Places | None, earlier: dict[str, Any] | None
) -> tuple[pd.DataFrame, dict[str, Any]]:
    rows, manifest, splits = images_to_learn_from(config, unlabelled)
    if earlier is not None:
        check_pretraining_leakage(
            earlier, manifest, splits, allow=config.model.pretraining_leakage == "allow"
        )
    sources = rows["source"].value_counts().to_dict()
    held_out = int(splits["split"].isin(HELD_OUT).sum())
    print(
        f"{len(rows)} images to learn from, without their labels ("
        f"{', '.join(f'{n} of {name}' for name, n in sources.items())}); "
        f"{held_out} of val and test are not looked at",
        flush=True,
    )
    return rows, {
        "images": len(rows),
        "simulated": has_phantoms(rows),
        "sources": sources,
        "held_out": held_out,
        # A run with the same images, labels and split has the same fingerprint.
        "data_fingerprint": data_fingerprint(manifest, splits),
        "seen": rows["sha256"].tolist(),
    }


def _free_folder(out: str | os.PathLike | None, name: str) -> Path:
    if out is None:
        names = (name if n == 1 else f"{name}-{n}" for n in count(1))
        folders = (Path("runs", "pretrained", name) for name in names)
        return next(folder for folder in folders if not folder.exists())
    if Path(out).exists():
        raise RunError(f"{out} exists. Choose another --out, or delete it.")
    return Path(out)


def _settings(config: Config) -> dict[str, Any]:
    """Return the settings without paths of this machine."""
    settings = config.to_dict()
    names = ("preprocessing", "augmentation", "training")
    data = {key: value for key, value in settings["data"].items() if key != "source"}
    return {"data": data, **{name: settings[name] for name in names}}
