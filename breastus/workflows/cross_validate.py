"""Cross-validate a network: folds and repeats in, pooled out-of-fold predictions and a report out.

    result = cross_validate("compact", data="path/to/BUSI", folds=5, repeats=3)

    runs/compact-cv/
      settings.yaml                what was asked for; with other data or settings it is refused
      manifest.csv                 the images, prepared once
      repeat-0-fold-0/ ...         a run folder each; one that was killed is taken up
      predictions_oof.csv          every image once a repeat, by a network that never saw its group
      metrics.json, report.html, figures/

Each repeat draws folds and weights anew. Calibration and threshold of a fold are fitted on its own
validation part. With several rotations, other folds than the next one are the validation part in
turn (`repeat-0-fold-0-rotation-1/` ...): the test part is judged by the mean of all rotations'
networks, with what all their validation predictions decide. So every image but the tested ones has
its share in the weights and in the decision.

Networks upon one frozen backbone whose features are kept share these.

Scores are of all folds of a repeat pooled, averaged over repeats; intervals draw whole groups,
which come up in every repeat.
"""

import gc
import itertools
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd

from breastus.config.parsing import FOLDS, join_sources
from breastus.config.presets import default_config
from breastus.config.schema import Config, EvaluationConfig
from breastus.data.manifest.build import load_manifest
from breastus.data.manifest.schema import (
    MANIFEST_FILE,
    has_phantoms,
    read_manifest,
    summary,
    write_manifest,
)
from breastus.errors import ConfigError, RunError
from breastus.evaluation.decision.conformal import PrecomputedSets, coverage_report
from breastus.evaluation.decision.decision import Decision
from breastus.evaluation.intervals.repeated_metrics import mean_metrics
from breastus.evaluation.metrics.subgroups import subgroups
from breastus.evaluation.options import EvaluationOptions
from breastus.evaluation.predictions import thresholds_of, truth_and_probability
from breastus.reporting.report import write_report
from breastus.runs.config_diff import PRECISION, SOURCE, absolute_source, changed_settings
from breastus.runs.cross_validation import SETTINGS_FILE, CrossValidation
from breastus.runs.run import Run
from breastus.training.shared_feature_cache import SharedFeatureCache
from breastus.utils.files import write_text
from breastus.workflows.evaluate import attributes, model_facts, validation_decision
from breastus.workflows.pooled_decision import fit_pooled_decision, mean_predictions
from breastus.workflows.train import run_experiment

REPEATS = 3
_HELD = ("holds_no_lump", "holds_lump")  # columns of conformal sets, which are not written
_WAY_OUT = "Choose another --out, or delete it."


def cross_validate(
    model: str = "cnn",
    *,
    data: str | os.PathLike | Sequence[str | os.PathLike] | None = None,
    out: str | os.PathLike | None = None,
    config: Config | None = None,
    folds: int = FOLDS,
    repeats: int = REPEATS,
    val_rotations: int = 1,
    seed: int | None = None,
) -> CrossValidation:
    """Train and test a network on every fold, several times, and judge the pooled predictions.

    Folds that are finished are kept, so that the same call goes on where it was interrupted.

    Args:
        model: a name of `breastus.list_models()`.
        data: as for `breastus.train`.
        out: its folder; None takes `runs/<model>-cv`.
        config: all settings; None takes `breastus.default_config(model)`.
        folds: at least 3; one is test and one validation each time.
        repeats: how often folds are drawn anew, at least 1.
        val_rotations: number of networks for each fold, 1 to `folds - 1`, each with another
            validation part.
        seed: of the first repeat; the others take the next ones. None takes `config.seed`.

    Raises:
        BreastusError: as `breastus.train`; a RunError when `out` holds a cross-validation of other
            data or settings. Those that are a machine's, such as `training.profile`, may differ.
    """
    if repeats < 1:
        raise ConfigError(f"repeats must be at least 1. Received: {repeats}")
    config = (config or default_config(model)).replace({"model": {"name": model}})
    if data is not None:
        config = config.replace({"data": {"source": join_sources(data)}})
    first = config.seed if seed is None else seed
    folder = Path("runs", f"{model}-cv") if out is None else Path(out)
    # Before the rotations, which could not be right with too few folds.
    config = config.replace(
        {"data": {"split": "kfold", "folds": folds, "fold": 0, "val_rotation": 0}}
    )
    if not 1 <= val_rotations < folds:
        raise ConfigError(
            f"val_rotations must be from 1 to {folds - 1}, the folds that are not test. "
            f"Received: {val_rotations}"
        )

    manifest = _manifest(folder, config.replace({"seed": first}))
    print(summary(manifest), flush=True)
    source = {"source": str((folder / MANIFEST_FILE).absolute())}
    shared = SharedFeatureCache(folder)
    for repeat, fold, rotation in np.ndindex(repeats, folds, val_rotations):
        path = CrossValidation(folder).fold(repeat, fold, rotation)
        changes = {
            "data": {**source, "fold": fold, "val_rotation": rotation},
            "seed": first + repeat,
        }
        where = f"{repeat + 1}/{repeats}, {fold + 1}/{folds}"
        where += f", {rotation + 1}/{val_rotations}" if val_rotations > 1 else ""
        _train(path, config.replace(changes), where, shared)
    return evaluate_folds(folder)


def evaluate_folds(folder: Path) -> CrossValidation:
    """Pool the predictions of a cross-validation's runs, evaluate them, and write the report.

    Raises:
        RunError: when there are no finished runs, or a repeat lacks a fold or a rotation.
    """
    result = CrossValidation(folder)
    runs = result.runs
    tables = _pooled(result)
    sets = [table[list(_HELD)].to_numpy() for table in tables]
    tables = [table.drop(columns=list(_HELD)) for table in tables]
    result.write_predictions(tables)
    config = runs[0].config
    settings = config.evaluation
    metrics = {
        "model": config.model.name,
        "folds": config.data.folds,
        "repeats": len(tables),
        "val_rotations": len(result.folds[0]),
        "confidence": settings.confidence,
        "resamples": settings.resamples,
        "prevalence": settings.prevalence,
        **mean_metrics(
            tables,
            options=EvaluationOptions.from_settings(settings, seed=config.seed),
        ),
        **_time_taken(runs),
    }
    manifest = result.read_manifest()
    metrics |= _parts_of_first(
        tables[0],
        PrecomputedSets(sets[0], settings.coverage),
        manifest,
        settings,
        whole=metrics if len(tables) == 1 else None,
    )
    phantom = has_phantoms(manifest)
    metrics["simulated"] = {"training": phantom, "test": phantom}
    result.write_metrics(metrics)
    write_report(
        result,
        model=model_facts(runs[0], manifest),
        metrics=metrics,
        predictions=tables,
        manifest=manifest,
        config=config.to_dict(),
        environment=runs[0].environment,
        folds=[(run.path.name, run.metrics) for run in runs],
    )
    return CrossValidation(folder)


def _parts_of_first(
    table: pd.DataFrame,
    sets: PrecomputedSets,
    manifest: pd.DataFrame,
    settings: EvaluationConfig,
    *,
    whole: dict[str, Any] | None,
) -> dict[str, Any]:
    """Return `referral` and `subgroups` of the first repeat; `whole` as of `subgroups`."""
    groups = table["group_id"].tolist()
    confidence = settings.confidence
    return {
        "referral": coverage_report(
            *truth_and_probability(table),
            groups,
            sets,
            threshold=thresholds_of(table),
            confidence=confidence,
        ),
        "subgroups": subgroups(
            table,
            attributes(manifest, table["image_id"]),
            threshold=thresholds_of(table),
            confidence=confidence,
            whole=whole,
        ),
    }


def _time_taken(runs: Sequence[Run]) -> dict[str, float | str]:
    """Return `minutes` of all folds, and what they were `minutes_of`.

    Of a fold that was cut off and taken up nobody knows how long it took in all.
    """
    in_all = [run.environment.get("seconds_in_all") for run in runs]
    if None not in in_all:
        return {"minutes": sum(in_all) / 60, "minutes_of": "from images to report"}
    epochs = sum(run.environment["seconds_training"] for run in runs)
    return {"minutes": epochs / 60, "minutes_of": "of training"}


def _manifest(folder: Path, config: Config) -> pd.DataFrame:
    """Return the images of a folder, which are read and written there unless they are there."""
    file, settings = folder / MANIFEST_FILE, folder / SETTINGS_FILE
    if file.is_file():
        _check_asked(folder, config)
        return read_manifest(file)
    names = {entry.name for entry in folder.iterdir()} if folder.is_dir() else set()
    if any(not name.startswith(".") for name in names - {SETTINGS_FILE}):
        raise RunError(f"{folder} exists and is no cross-validation. Choose another --out.")
    manifest = load_manifest(config.data.source, settings=config.data, seed=config.seed)
    # Before the images, so that nobody takes these for those of other settings.
    source = absolute_source(config.data.source)
    write_text(settings, config.replace({"data": {"source": source}}).to_yaml())
    write_manifest(manifest, file)
    return manifest


def _check_asked(folder: Path, config: Config) -> None:
    """Refuse a folder that was begun with other data or settings."""
    file = folder / SETTINGS_FILE
    if not file.is_file():
        print(
            f"{folder} was begun by an earlier version, which did not write down of which data it "
            "is: whether --data is the same was not checked.",
            flush=True,
        )
        return
    begun = Config.from_yaml(file)
    # What was left to the machine then may be named now: each fold says which it is of.
    but = {PRECISION} if begun.training.precision == "auto" else ()
    if changed := changed_settings(begun, config, but=but):
        raise RunError(
            f"{folder} holds a cross-validation that was begun with other data or settings: "
            f"{'; '.join(changed)}. {_WAY_OUT}"
        )


def _train(path: Path, config: Config, where: str, shared: SharedFeatureCache) -> None:
    if (run := Run(path)).finished:
        # The images are those of the folder, which may have been moved. And what the machine
        # decides stands in the run, not in what was asked for.
        but = {SOURCE, PRECISION} if config.training.precision == "auto" else {SOURCE}
        if changed := changed_settings(run.config, config, but=but):
            raise RunError(
                f"{path} was trained with other settings: {'; '.join(changed)}. {_WAY_OUT}"
            )
        return
    print(f"\n== {where}: {path}", flush=True)
    run_experiment(config, path, shared=shared)
    keras.utils.clear_session()  # or each run leaves its graph behind
    gc.collect()


def _pooled(result: CrossValidation) -> list[pd.DataFrame]:
    """Return one table of out-of-fold predictions a repeat, in the order of image ids."""
    if not result.runs:
        raise RunError(f"{result.path} holds no runs of a cross-validation.")
    folds, rotations = result.runs[0].config.data.folds, len(result.folds[0])
    tables = []
    for seed, repeat in itertools.groupby(result.folds, key=lambda runs: runs[0].config.seed):
        own = list(repeat)
        there = [
            (run.config.data.fold, run.config.data.val_rotation) for runs in own for run in runs
        ]
        if there != list(np.ndindex(folds, rotations)):
            raise RunError(
                f"{result.path}: the repeat of seed {seed} lacks a fold or a rotation. Run the "
                "same command again to finish it."
            )
        parts = [
            _with_sets(runs).assign(repeat=len(tables), fold=runs[0].config.data.fold)
            for runs in own
        ]
        tables.append(pd.concat(parts).sort_values("image_id").reset_index(drop=True))
    return tables


def fold_predictions(runs: Sequence[Run], settings: EvaluationConfig) -> pd.DataFrame:
    """Return what the networks of a fold say of its test part together, as a predictions table.

    Args:
        runs: the fold's runs.
        settings: of the decision, which is fitted on their validation parts.
    """
    return _decided(runs, settings)[0]


def _decided(runs: Sequence[Run], settings: EvaluationConfig) -> tuple[pd.DataFrame, Decision]:
    if len(runs) == 1:  # to the last bit what the run says itself
        test = runs[0].read_predictions("test")
        decision = validation_decision(runs[0], settings)
    else:
        test = mean_predictions(runs, "test")
        decision = fit_pooled_decision(runs, settings)
    return decision.apply(test), decision


def _with_sets(runs: Sequence[Run]) -> pd.DataFrame:
    """Return what a fold says of its test part, and what its conformal sets of these hold."""
    table, decision = _decided(runs, runs[0].config.evaluation)
    held = decision.conformal.sets(table["probability"].to_numpy())
    return table.assign(**dict(zip(_HELD, held.T, strict=True)))
