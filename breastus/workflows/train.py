"""One experiment from data to bundle: the way of the data, walked once.

    manifest -> splits -> training -> predictions -> metrics, figures, report -> bundle

The stages meet in the files of the run folder. A run that was killed takes up its manifest, splits
and training state again; what comes after the training is quick and is done anew.
"""

import functools
import hashlib
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import pandas as pd

from breastus.augmentation.policies import check_policy
from breastus.config.parsing import join_sources
from breastus.config.presets import default_config
from breastus.config.schema import Config
from breastus.data.manifest.build import load_manifest
from breastus.data.manifest.schema import has_phantoms, summary
from breastus.data.sources.resolve import check_sources_exist
from breastus.data.splits.make import make_splits, splits_summary
from breastus.deploy.bundle_metadata import bundle_metadata
from breastus.deploy.export import publish as publish_bundle
from breastus.deploy.export import write_bundle
from breastus.evaluation.predictions import lump_probability
from breastus.evaluation.tta import VIEWS
from breastus.labels import SPLITS
from breastus.models.registry import ResolvedWeights, resolve_weights
from breastus.models.weights.backbone_folder import (
    PRETRAINED_FILE,
    describe,
    is_pretrained,
    read_pretrained,
)
from breastus.preprocessing.transform import Transform
from breastus.reporting.model_card import model_card
from breastus.runs.environment import command_line, hardware, peak_memory_mb, versions
from breastus.runs.run import BUNDLE_FOLDER, Run, open_run
from breastus.training.hardware.memory_trace import flops
from breastus.training.hardware.profiles import resolve
from breastus.training.network import new_model
from breastus.training.pretraining_leakage import (
    check_pretraining_leakage,
    pretraining_of,
    pretraining_seen,
)
from breastus.training.shared_feature_cache import SharedFeatureCache
from breastus.training.shortcuts import shortcut_test
from breastus.training.stages import stages_of
from breastus.training.state import discard_states, has_state
from breastus.training.trainer import Trainer
from breastus.utils.files import write_json
from breastus.workflows.evaluate import evaluate_run, fit_decision


def train(
    model: str = "cnn",
    *,
    data: str | os.PathLike | Sequence[str | os.PathLike] | None = None,
    out: str | os.PathLike | None = None,
    config: Config | None = None,
    seed: int | None = None,
    publish: str | os.PathLike | None = None,
) -> Run:
    """Train a network, evaluate it on images it has not seen, and export it.

    An unfinished run with the same settings is taken up where it was left, and ends with the same
    weights as one that was never interrupted (bit for bit on a CPU).

    Args:
        model: a name of `breastus.list_models()`.
        data: a directory, a CSV file, `hub`, `phantom` or `auto`, or a list of these; None takes
            `config.data.source`.
        out: the run folder; None takes the next free one below `runs/`.
        config: all settings; None takes `breastus.default_config(model)`. What they leave to the
            machine is decided here and written into the run.
        seed: decides every random choice; None takes `config.seed`.
        publish: a folder to which the finished bundle is copied as well, such as `models/cnn`.

    Returns:
        The finished `Run`, with `.metrics`, `.history` and `.path`.

    Raises:
        BreastusError: ConfigError, ModelError, DataError or RunError, each saying the way out.
    """
    changes: dict[str, Any] = {"model": {"name": model}}
    if data is not None:
        changes["data"] = {"source": join_sources(data)}
    if seed is not None:
        changes["seed"] = seed
    return run_experiment((config or default_config(model)).replace(changes), out, publish=publish)


def run_experiment(
    config: Config,
    out: str | os.PathLike | None,
    *,
    publish: str | os.PathLike | None = None,
    shared: SharedFeatureCache | None = None,
) -> Run:
    """Do what `train` says, as one of several runs that may share features.

    Args:
        config: all settings.
        out: as for `train`.
        publish: as for `train`.
        shared: what a frozen backbone makes of the images, for runs of the same images.
    """
    # These are cheap, and say what is impossible before any image is read.
    check_policy(config.augmentation.policy)
    stages_of(config.training)
    build = functools.partial(new_model, _with_weights(config, None))
    decided = functools.partial(resolve, config, build=build)

    start = time.perf_counter()
    with open_run(out, decided(), resume=lambda begun: decided(begun=begun)) as run:
        config = run.config
        taken_up = has_state(run.path)
        if not run.begun:
            check_sources_exist(config.data.source)  # before weights are fetched
        weights = _initial_weights(run, taken_up=taken_up)
        pretraining = _pretraining(run, weights, taken_up=taken_up)
        manifest, splits, held_out_seen = _data(run, pretraining)
        print(f"{summary(manifest)}\n{splits_summary(splits, manifest)}", flush=True)
        if pretraining is not None:
            write_json(run.path / PRETRAINED_FILE, pretraining)
            pretraining = _short(pretraining, held_out_seen)
        _write_environment(run, manifest, splits, weights, pretraining)
        # Also when it is taken up, as presets bring layers of their own; its state comes on top.
        config = _with_weights(config, weights.weights)
        trainer = Trainer(run.path, config, _tables(manifest, splits), shared=shared)
        trainer.fit()
        network = trainer.best_model()
        _predict(run, trainer, network)
        decision = fit_decision(run)
        # Here, as it takes the images and the network, which `evaluate_run` does without.
        run.write_shortcuts(
            shortcut_test(network, trainer.tables["test"], config=config, decision=decision)
        )
        evaluate_run(run, decision)
        run.write_environment(
            {
                **run.environment,
                "network": {
                    "parameters": network.count_params(),
                    "gflops": round(flops(network) / 1e9, 3),
                },
                "seconds_training": float(run.history["seconds"].sum()),
                # Of a run that was taken up nobody knows how long it took before.
                "seconds_in_all": None if taken_up else round(time.perf_counter() - start, 1),
                "peak_memory_mb": round(peak_memory_mb()),
            },
        )
        write_bundle(
            run.path / BUNDLE_FOLDER,
            keras_file=run.network,
            transform=Transform.from_config(config),
            calibrator=decision.calibrator,
            views=VIEWS[config.evaluation.tta],
            info=bundle_metadata(
                config=config,
                environment=run.environment,
                decision=decision,
                metrics=run.metrics,
                validation=run.read_predictions("val"),
                trained_on=trainer.tables["train"],
                phantom=has_phantoms(manifest),
                parameters=network.count_params(),
            ),
            card=model_card,
            seen=[
                *pd.concat([trainer.tables["train"], trainer.tables["val"]])["sha256"],
                *pretraining_seen(run.path),
            ],
        )
        discard_states(run.path)
        if publish is not None:
            publish_bundle(run.bundle, Path(publish))
    return Run(run.path)


def images_of(config: Config) -> pd.DataFrame:
    """Return the manifest of the images that the settings name."""
    return load_manifest(config.data.source, settings=config.data, seed=config.seed)


def splits_of(config: Config, manifest: pd.DataFrame) -> pd.DataFrame:
    """Return the splits that the settings ask for."""
    settings = config.data
    return make_splits(
        manifest,
        scheme=settings.split,
        seed=config.seed,
        fold=settings.fold,
        folds=settings.folds,
        val_rotation=settings.val_rotation,
    )


def _data(run: Run, pretraining: dict[str, Any] | None) -> tuple[pd.DataFrame, pd.DataFrame, int]:
    """Take up the run's manifest and splits, or make them.

    Returns:
        Them, and how many images of val and test the initial weights have seen.

    Raises:
        WeightsError: when they have seen any, unless the settings allow it; nothing is written
            then, so that the folder can be used with other settings.
    """
    begun = run.begun
    manifest = run.read_manifest() if begun else images_of(run.config)
    splits = run.read_splits(manifest) if begun else splits_of(run.config, manifest)
    seen = 0
    if pretraining is not None:
        allow = run.config.model.pretraining_leakage == "allow"
        seen = check_pretraining_leakage(pretraining, manifest, splits, allow=allow)
    if not begun:
        run.write_manifest(manifest)
        run.write_splits(splits)
    return manifest, splits, seen


def _pretraining(run: Run, weights: ResolvedWeights, *, taken_up: bool) -> dict[str, Any] | None:
    """Return what is known of the initial weights, where they were pretrained with breastus."""
    if weights.weights is None or not is_pretrained(weights.weights):
        return None
    # They may have been pretrained anew since; the training state is of those it began with.
    return (pretraining_of(run.path) if taken_up else None) or read_pretrained(weights.weights)


def _short(pretraining: dict[str, Any], held_out_seen: int) -> dict[str, Any]:
    """Return what environment.json says of a pretraining; the rest stands in the run's copy."""
    names = ("on", "images", "epochs", "seed", "seconds", "data_fingerprint")
    return {
        "words": describe(pretraining),
        **{name: pretraining.get(name) for name in names},
        "weights_sha256": pretraining["weights"].get("sha256"),
        "held_out_seen": held_out_seen,
    }


def _with_weights(config: Config, weights: str | None) -> Config:
    return config.replace({"model": {"weights": weights}})


def _initial_weights(run: Run, *, taken_up: bool) -> ResolvedWeights:
    """Return which weights the network starts with, or did when the run began.

    Raises:
        ModelError: when weights that were asked for cannot be loaded.
    """
    config = run.config
    if taken_up:
        return ResolvedWeights(**run.environment["weights"])
    settings = config.model
    weights = resolve_weights(
        settings.name, image_size=settings.image_size, weights=settings.weights
    )
    if settings.weights not in (None, "auto"):
        new_model(config)  # says what is wrong with them before any image is read
    return weights


def _tables(manifest: pd.DataFrame, splits: pd.DataFrame) -> dict[str, pd.DataFrame]:
    rows = splits.merge(manifest, on="image_id", how="left", validate="one_to_one")
    return {name: rows[rows["split"] == name].reset_index(drop=True) for name in SPLITS}


def _predict(run: Run, trainer: Trainer, network: keras.Model) -> None:
    """Write the network's own probabilities for val and test; what is made of them comes later."""
    for split in ("val", "test"):
        table = trainer.tables[split][["image_id", "split", "group_id", "finding", "label"]].copy()
        table["probability_uncalibrated"] = lump_probability(trainer.predict(network, split))
        table = table.assign(
            probability=table["probability_uncalibrated"], predicted=table["label"]
        )
        run.write_predictions(split, table)


def _write_environment(
    run: Run,
    manifest: pd.DataFrame,
    splits: pd.DataFrame,
    weights: ResolvedWeights,
    pretraining: dict[str, Any] | None,
) -> None:
    run.write_environment(
        {
            "command": command_line(),
            "seed": run.config.seed,
            "data_fingerprint": data_fingerprint(manifest, splits),
            "versions": versions(),
            "hardware": hardware(),
            "weights": weights._asdict(),
            "pretraining": pretraining,
        },
    )


def data_fingerprint(manifest: pd.DataFrame, splits: pd.DataFrame) -> str:
    """Return a SHA-256 over which image content, with which label, is in which split."""
    rows = splits.merge(manifest, on="image_id", how="left")
    lines = sorted(" ".join(row) for row in rows[["sha256", "label", "split"]].to_numpy())
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
