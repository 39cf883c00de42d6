"""Train a network: data in, a finished run folder out.

    manifest -> splits -> training -> predictions -> metrics, figures, report -> bundle

The stages meet in the files of the run folder. A run that was killed continues from its manifest,
its splits and its training state; what follows the training is repeated.
"""

import functools
import math
import os
import time
from collections.abc import Sequence
from typing import Any

import keras
import pandas as pd

from breastus.auditing.leakage import duplicate_pairs, twins_in_training
from breastus.augmentation.policies import check_policy
from breastus.config.presets import default_config
from breastus.config.schema import Config, TrainingConfig
from breastus.data.manifest.build import build_manifest_with_pairs
from breastus.data.manifest.schema import has_phantoms, summary
from breastus.data.sources.resolve import check_sources_exist
from breastus.data.splits.make import splits_summary
from breastus.deploy.bundle import publish as publish_bundle
from breastus.deploy.bundle_metadata import bundle_metadata, decision_metadata
from breastus.deploy.export import write_bundle
from breastus.evaluation.decision.decision import Decision
from breastus.evaluation.predictions import prediction_columns
from breastus.explain.training_features import TrainingFeatures, network_features
from breastus.labels import SPLITS
from breastus.models.registry import ResolvedWeights, resolve_weights
from breastus.models.weights.backbone_folder import (
    PRETRAINED_FILE,
    check_scaling,
    describe,
    is_pretrained,
    read_pretrained,
)
from breastus.preprocessing.version import TRANSFORM_VERSION
from breastus.reporting.model_card import model_card
from breastus.runs.environment import command_line, hardware, peak_memory_mb, versions
from breastus.runs.run import BUNDLE_FOLDER, FEATURES_FILE, Run, open_run
from breastus.training.feature_cache import SharedFeatureCache
from breastus.training.hardware.graph_cost import flops
from breastus.training.hardware.profiles import precision_record, resolve
from breastus.training.losses import check_loss
from breastus.training.network import Execution, new_model
from breastus.training.pretraining_leakage import (
    check_pretraining_leakage,
    pretraining_of,
    pretraining_seen,
)
from breastus.training.shortcuts import shortcut_test
from breastus.training.stages import stages_of
from breastus.training.state import discard_states
from breastus.training.targets import check_target
from breastus.training.trainer import Trainer
from breastus.utils.files import write_json
from breastus.workflows.evaluate import evaluate_run, fit_decision
from breastus.workflows.prepare import (
    Places,
    data_fingerprint,
    prepare_manifest,
    prepare_splits,
    with_settings,
)


def train(
    model: str = "cnn",
    *,
    data: Places | None = None,
    out: str | os.PathLike | None = None,
    config: Config | None = None,
    publish: str | os.PathLike | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    metrics: Sequence[keras.metrics.Metric | str] = (),
    shared: SharedFeatureCache | None = None,
    **settings: Any,
) -> Run:
    """Train a network, evaluate it on images it has not seen, and export it.

    An unfinished run with the same settings continues where it stopped, and ends with the same
    weights as a run that was never interrupted (bit for bit on a CPU).

    Args:
        model: a name of `breastus.list_models()`.
        data: a directory, a CSV file, `hub`, `phantom` or `auto`, or a list of these; None takes
            `config.data.source`.
        out: the run folder; None takes the next free one in `runs/`.
        config: all settings; None takes `breastus.default_config(model)`. Settings that depend on
            the hardware are decided here and written into the run.
        publish: a folder to which the finished bundle is also copied, such as `models/cnn`. If the
            copy is interrupted, the same call makes it again.
        callbacks: Keras callbacks of your own, called after the callbacks of breastus.
        metrics: Keras metrics of your own, for history.csv and TensorBoard.
        shared: features of a frozen backbone, for several runs on the same images.
        **settings: single settings by name, such as `epochs=2`, `image_size=160` or `seed=1`.

    Returns:
        The finished `Run`, with `.metrics`, `.history` and `.path`.

    Raises:
        BreastusError: ConfigError, ModelError, DataError or RunError, each with a way out.

    Examples:
        >>> run = breastus.train("cnn", data="phantom", epochs=2)
        >>> run.metrics["test"]["roc_auc"]["value"]
        0.93
    """
    config = with_settings(config or default_config(model), data, settings)
    config = config.replace({"model": {"name": model}})
    # These checks are cheap and report what is impossible before any image is read.
    check_policy(config.augmentation.policy)
    check_loss(config.training.loss)
    stages_of(config.training)
    build = functools.partial(new_model, _with_weights(config, None))
    resolved = functools.partial(resolve, config, build=build)

    start = time.perf_counter()
    with open_run(out, resolved(), resume=lambda begun: resolved(begun=begun)) as run:
        if not run.finished:
            _train(
                run,
                config.training,
                shared=shared,
                callbacks=callbacks,
                metrics=metrics,
                start=start,
            )
        if publish is not None:
            publish_bundle(run.bundle, publish)
        discard_states(run.path)  # last: until then the same command continues
    return Run(run.path)


def _train(
    run: Run,
    asked: TrainingConfig,
    *,
    shared: SharedFeatureCache | None,
    callbacks: Sequence[keras.callbacks.Callback],
    metrics: Sequence[keras.metrics.Metric | str],
    start: float,
) -> None:
    """Train, evaluate and export a run; `asked` are its settings before they were resolved."""
    resumed = run.has_state
    weights = _prepare(run, resumed=resumed, asked=asked)
    images = run.read_images()
    tables = {split: images[images["split"] == split].reset_index(drop=True) for split in SPLITS}
    # A preset adds layers of its own, so its weights are loaded before the training state.
    config = _with_weights(run.config, weights.weights)
    trainer = Trainer(
        run.path,
        config.replace({"training": run.environment["execution"]}),
        tables,
        shared=shared,
        callbacks=callbacks,
        metrics=metrics,
        remember=functools.partial(_remember, run),
    )
    trainer.fit()
    network = trainer.best_model()
    _predict(run, trainer, network)
    decision = fit_decision(run, run.config.evaluation)
    # Here, because it needs the images and the network, which `evaluate_run` does not.
    run.write_shortcuts(
        shortcut_test(network, tables["test"], config=trainer.config, decision=decision)
    )
    evaluate_run(run, decision=decision)
    # The wall time of a resumed run is unknown.
    seconds = None if resumed else round(time.perf_counter() - start, 1)
    _complete_environment(run, network, seconds)
    _write_features(run, trainer, network)
    _export(run, network, decision, tables)


def _prepare(run: Run, *, resumed: bool, asked: TrainingConfig) -> ResolvedWeights:
    """Write manifest, splits and environment of a run; return the weights it starts from.

    Nothing is written if the weights are refused.
    """
    if not run.begun:
        check_sources_exist(run.config.data.source)  # before weights are downloaded
    weights = _initial_weights(run, resumed=resumed)
    pretraining = _pretraining(run, weights, resumed=resumed)
    check_scaling(run.config.preprocessing.scaling, weights.weights, pretraining)
    manifest, pairs = _images(run)
    splits = run.read_splits(manifest) if run.begun else prepare_splits(run.config, manifest)
    check_target(splits.merge(manifest, on="image_id", how="left"), run.config.training.target)
    facts = None
    if pretraining is not None:
        allow = run.config.model.pretraining_leakage == "allow"
        seen = check_pretraining_leakage(pretraining, manifest, splits, allow=allow)
        facts = _pretraining_summary(pretraining, held_out_images_seen=seen)
    if not run.begun:
        run.write_manifest(manifest)
        if pairs is not None:
            found = twins_in_training(splits[["image_id", "split"]], manifest, pairs)
            run.write_twins(found[found["split"] == "test"])
        run.write_splits(splits)  # last: a run that has it has begun
    print(f"{summary(manifest)}\n{splits_summary(splits, manifest)}", flush=True)
    if pretraining is not None:
        write_json(run.path / PRETRAINED_FILE, pretraining)
    # The machine that a resumed run was begun on decided, and its memory.
    before = run.environment if resumed else {}
    run.write_environment(
        {
            "command": command_line(),
            "seed": run.config.seed,
            "precision": before.get("precision") or precision_record(asked.precision, run.config),
            "execution": _execution(run.config.training, asked, before.get("execution", {})),
            "data_fingerprint": data_fingerprint(manifest, splits),
            "transform": TRANSFORM_VERSION,
            "versions": versions(),
            "hardware": hardware(),
            "weights": weights._asdict(),
            "pretraining": facts,
        }
    )
    return weights


def _execution(
    settings: TrainingConfig, asked: TrainingConfig, before: dict[str, Any]
) -> dict[str, Any]:
    """Return how a training runs; settings not asked for are as `before`, if the run is resumed."""
    return {
        name: before.get(name, getattr(settings, name))
        if getattr(asked, name) in (None, "auto")
        else getattr(settings, name)
        for name in ("accumulation_steps", "xla")
    }


def _remember(run: Run, execution: Execution) -> None:
    """Write how a training continues after memory was exhausted or XLA failed."""
    run.write_environment({**run.environment, "execution": execution.settings()})


def _images(run: Run) -> tuple[pd.DataFrame, pd.DataFrame | None]:
    """Return the manifest of a run, and all pairs of near-duplicates if its split may part them."""
    if run.begun:
        return run.read_manifest(), None
    settings = run.config.data
    if settings.groups == "keep":
        return prepare_manifest(run.config), None
    found = build_manifest_with_pairs(settings.source, settings=settings, seed=run.config.seed)
    return found.manifest, duplicate_pairs(found.manifest, found.near_duplicate_pairs)


def _initial_weights(run: Run, *, resumed: bool) -> ResolvedWeights:
    """Return the weights that the network starts with, or started with when the run began."""
    if resumed:
        return ResolvedWeights(**run.environment["weights"])
    settings = run.config.model
    weights = resolve_weights(
        settings.name, image_size=settings.image_size, weights=settings.weights
    )
    if settings.weights not in (None, "auto"):
        new_model(run.config)  # reports unusable weights before any image is read
    return weights


def _with_weights(config: Config, weights: str | None) -> Config:
    return config.replace({"model": {"weights": weights}})


def _pretraining(run: Run, weights: ResolvedWeights, *, resumed: bool) -> dict[str, Any] | None:
    """Return what is known of the initial weights if breastus pretrained them."""
    if not is_pretrained(weights.weights):
        return None
    # The folder may have been written again since the run began.
    return (pretraining_of(run.path) if resumed else None) or read_pretrained(weights.weights)


def _pretraining_summary(
    pretraining: dict[str, Any], *, held_out_images_seen: int
) -> dict[str, Any]:
    """Return what environment.json says of a pretraining; pretrained.json says more."""
    names = ("on", "images", "epochs", "seed", "seconds", "data_fingerprint")
    return {
        "description": describe(pretraining),
        **{name: pretraining.get(name) for name in names},
        "weights_sha256": pretraining["weights"].get("sha256"),
        "held_out_images_seen": held_out_images_seen,
    }


def _predict(run: Run, trainer: Trainer, network: keras.Model) -> None:
    """Write the network's probabilities for val and test, before any calibration."""
    for split in ("val", "test"):
        table = trainer.tables[split][["image_id", "split", "group_id", "finding", "label"]].copy()
        table = table.assign(**prediction_columns(trainer.predict(network, split)))
        table["probability"] = table["probability_uncalibrated"]
        run.write_predictions(split, table.assign(predicted=table["label"]))


def _complete_environment(run: Run, network: keras.Model, seconds: float | None) -> None:
    """Add what is known after the training to environment.json."""
    peak = peak_memory_mb()
    run.write_environment(
        {
            **run.environment,
            "network": {
                "parameters": network.count_params(),
                "gflops": round(flops(network) / 1e9, 3),
            },
            "seconds_training": float(run.history["seconds"].sum()),
            "seconds_total": seconds,
            "peak_memory_mb": None if math.isnan(peak) else round(peak),
        }
    )


def _write_features(run: Run, trainer: Trainer, network: keras.Model) -> None:
    """Write the features of the training images, by which a prediction finds similar ones."""
    model = network_features(network)
    raw = {split: trainer.outputs(model, split) for split in ("train", "val")}
    features = TrainingFeatures.fit(
        raw["train"], trainer.tables["train"], validation=raw["val"], seed=run.config.seed
    )
    features.save(run.path / FEATURES_FILE)


def _export(
    run: Run, network: keras.Model, decision: Decision, tables: dict[str, pd.DataFrame]
) -> None:
    """Write the bundle of a run."""
    metadata = bundle_metadata(
        config=run.config,
        environment=run.environment,
        trained_on=tables["train"],
        phantom=has_phantoms(run.read_manifest()),
        parameters=network.count_params(),
        decision=decision_metadata(
            decision, metrics=run.metrics, validation=run.read_predictions("val")
        ),
    )
    write_bundle(
        run.path / BUNDLE_FOLDER,
        network=run.network,
        config=run.config,
        calibrators=[decision.calibrator],
        metadata=metadata,
        card=model_card,
        seen=[*tables["train"]["sha256"], *tables["val"]["sha256"], *pretraining_seen(run.path)],
        features=run.training_features,
    )
