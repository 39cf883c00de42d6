"""Cross-validate a network: folds and repeats in, pooled out-of-fold predictions and a report out.

    result = cross_validate("compact", data="path/to/BUSI", folds=5, repeats=3)

Each repeat draws folds and weights again. Calibration and threshold of a fold are fitted on its own
validation part. With several validation rotations, several of the other folds become the validation
part, one after the other (`repeat-0-fold-0-rotation-1/` ...). The test part is then predicted by
the mean of their networks, with a decision fitted on all their validation parts. Scores pool all
folds of a repeat and are averaged over repeats; intervals resample the same groups in each.
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

from breastus.config.parsing import FOLDS
from breastus.config.presets import default_config
from breastus.config.schema import Config, EvaluationConfig
from breastus.data.manifest.schema import MANIFEST_FILE, has_phantoms, summary
from breastus.errors import ConfigError, RunError
from breastus.evaluation.decision.conformal import PrecomputedSets, coverage_report
from breastus.evaluation.decision.decision import Decision
from breastus.evaluation.intervals.recipe import recipe_metrics
from breastus.evaluation.metrics.subgroups import subgroups
from breastus.evaluation.options import EvaluationOptions
from breastus.evaluation.predictions import (
    finding_confusion,
    thresholds_of,
    truth_and_probability,
)
from breastus.reporting.report import write_report
from breastus.runs.config_diff import PRECISION, SOURCE, absolute_source, config_diff
from breastus.runs.cross_validation import SETTINGS_FILE, CrossValidation
from breastus.runs.run import Run
from breastus.training.feature_cache import SharedFeatureCache
from breastus.workflows.evaluate import fit_decision
from breastus.workflows.model_artifact import model_facts
from breastus.workflows.pooled_decision import fit_pooled_decision, mean_predictions
from breastus.workflows.prepare import Places, prepare_manifest, with_settings
from breastus.workflows.subgroup_attributes import subgroup_attributes
from breastus.workflows.train import train

REPEATS = 3
_HELD = ("holds_no_lump", "holds_lump")  # columns of conformal sets, which are not written
_WAY_OUT = "Choose another --out, or delete it."


def cross_validate(
    model: str = "cnn",
    *,
    data: Places | None = None,
    out: str | os.PathLike | None = None,
    config: Config | None = None,
    folds: int = FOLDS,
    repeats: int = REPEATS,
    val_rotations: int = 1,
    **settings: Any,
) -> CrossValidation:
    """Train and test a network on every fold, several times, and evaluate the pooled predictions.

    Finished folds are kept, so that the same call continues where it was interrupted.

    Args:
        model: a name of `breastus.list_models()`.
        data: see `breastus.train`.
        out: the folder; None takes `runs/<model>-cv`.
        config: all settings; None takes `breastus.default_config(model)`.
        folds: number of folds, at least 3; each time one is test and one validation.
        repeats: number of times the folds are drawn, at least 1.
        val_rotations: number of networks for each fold, 1 to `folds - 1`, each with another
            validation part.
        **settings: single settings by name, such as `epochs=2`; `seed` is the seed of the
            first repeat, and later repeats take the next ones.

    Raises:
        BreastusError: see `breastus.train`; a RunError if `out` holds a cross-validation of other
            data or settings. Settings of the hardware, such as `training.profile`, may differ.
    """
    if repeats < 1:
        raise ConfigError(f"repeats must be at least 1. Received: {repeats}")
    config = with_settings(config or default_config(model), data, settings)
    # Checks the number of folds, which the number of rotations depends on.
    split = {"split": "kfold", "folds": folds, "fold": 0, "val_rotation": 0}
    config = config.replace({"model": {"name": model}, "data": split})
    if not 1 <= val_rotations < folds:
        raise ConfigError(
            f"val_rotations must be from 1 to {folds - 1}, the folds that are not test. "
            f"Received: {val_rotations}"
        )
    result = CrossValidation(Path(out) if out is not None else Path("runs", f"{model}-cv"))
    print(summary(_manifest(result, config)), flush=True)
    source = str((result.path / MANIFEST_FILE).absolute())
    shared = SharedFeatureCache(result.path)
    for repeat, fold, rotation in np.ndindex(repeats, folds, val_rotations):
        changes = {
            "data": {"source": source, "fold": fold, "val_rotation": rotation},
            "seed": config.seed + repeat,
        }
        progress = f"{repeat + 1}/{repeats}, {fold + 1}/{folds}"
        progress += f", {rotation + 1}/{val_rotations}" if val_rotations > 1 else ""
        path = result.fold(repeat, fold, rotation)
        _train_fold(path, config.replace(changes), progress, shared)
    return evaluate_folds(result.path)


def evaluate_folds(folder: Path) -> CrossValidation:
    """Pool the predictions of a cross-validation, evaluate them, and write the report."""
    result = CrossValidation(folder)
    tables = _pooled(result)
    sets = PrecomputedSets(
        tables[0][list(_HELD)].to_numpy(), result.runs[0].config.evaluation.coverage
    )
    tables = [table.drop(columns=list(_HELD)) for table in tables]
    manifest = result.read_manifest()
    result.write_predictions(tables)
    result.write_metrics(_metrics(result, tables, sets, manifest))
    first = result.runs[0]
    write_report(
        result,
        model=model_facts(first, manifest),
        metrics=result.metrics,
        predictions=tables,
        manifest=manifest,
        config=first.config.to_dict(),
        environment=first.environment,
        folds=[(run.path.name, run.metrics) for run in result.runs],
    )
    return CrossValidation(folder)


def _metrics(
    result: CrossValidation,
    tables: Sequence[pd.DataFrame],
    sets: PrecomputedSets,
    manifest: pd.DataFrame,
) -> dict[str, Any]:
    """Return the content of metrics.json; `sets` are of the first repeat."""
    config = result.runs[0].config
    settings, first = config.evaluation, tables[0]
    options = {"threshold": thresholds_of(first), "confidence": settings.confidence}
    intervals = {
        "resamples": settings.resamples,
        "confidence": settings.confidence,
        "prevalence": settings.prevalence,
    }
    means = recipe_metrics(
        tables, options=EvaluationOptions.from_settings(settings, seed=config.seed)
    )
    phantom = has_phantoms(manifest)
    matrices = [finding_confusion(table, thresholds_of(table)) for table in tables]
    if matrices[0] is not None:
        means["finding_confusion_matrix"] = np.mean(matrices, axis=0).tolist()
    return {
        "model": config.model.name,
        "folds": config.data.folds,
        "repeats": len(tables),
        "val_rotations": len(result.folds[0]),
        **intervals,
        **means,
        **_time_taken(result.runs),
        "referral": coverage_report(
            *truth_and_probability(first), first["group_id"].tolist(), sets, **options
        ),
        "subgroups": subgroups(
            first,
            subgroup_attributes(manifest, first["image_id"]),
            **options,
            whole=means if len(tables) == 1 else None,
        ),
        "simulated": {"training": phantom, "test": phantom},
    }


def _time_taken(runs: Sequence[Run]) -> dict[str, float | str]:
    """Return `minutes` of all folds, and what they include (`minutes_scope`).

    The wall time of a resumed fold is unknown; then the minutes cover the epochs.
    """
    in_all = [run.environment.get("seconds_total") for run in runs]
    if None not in in_all:
        return {"minutes": sum(in_all) / 60, "minutes_scope": "from images to report"}
    epochs = sum(run.environment["seconds_training"] for run in runs)
    return {"minutes": epochs / 60, "minutes_scope": "of training"}


def _manifest(result: CrossValidation, config: Config) -> pd.DataFrame:
    """Return the images of a cross-validation, which are read and written if they are missing."""
    if result.has(MANIFEST_FILE):
        _check_settings(result, config)
        return result.read_manifest()
    folder = result.path
    names = {entry.name for entry in folder.iterdir()} if folder.is_dir() else set()
    if any(not name.startswith(".") for name in names - {SETTINGS_FILE}):
        raise RunError(f"{folder} exists and is not a cross-validation. Choose another --out.")
    manifest = prepare_manifest(config)
    # Written before the images, which are then never used with other settings.
    source = absolute_source(config.data.source)
    result.write_settings(config.replace({"data": {"source": source}}))
    result.write_manifest(manifest)
    return manifest


def _check_settings(result: CrossValidation, config: Config) -> None:
    """Refuse a folder that was begun with other data or settings."""
    if (begun := result.settings) is None:
        print(
            f"{result.path} was begun by an earlier version, which did not record its data: "
            "whether --data is the same was not checked.",
            flush=True,
        )
        return
    # A precision that was left to the hardware may be named now: each fold records its own.
    ignore = {PRECISION} if begun.training.precision == "auto" else ()
    if changed := config_diff(begun, config, ignore=ignore):
        raise RunError(
            f"{result.path} holds a cross-validation that was begun with other data or settings: "
            f"{'; '.join(changed)}. {_WAY_OUT}"
        )


def _train_fold(path: Path, config: Config, progress: str, shared: SharedFeatureCache) -> None:
    """Train a fold unless it is finished."""
    if (run := Run(path)).finished:
        # The folder of the images may have been moved, and a precision that the settings leave to
        # the hardware is recorded in the run alone.
        ignore = {SOURCE, PRECISION} if config.training.precision == "auto" else {SOURCE}
        if changed := config_diff(run.config, config, ignore=ignore):
            raise RunError(
                f"{path} was trained with other settings: {'; '.join(changed)}. {_WAY_OUT}"
            )
        run.check_transform()  # the folds are pooled
        return
    print(f"\n== {progress}: {path}", flush=True)
    train(config.model.name, config=config, out=path, shared=shared)
    keras.utils.clear_session()  # otherwise the graph of every run stays in memory
    gc.collect()


def _pooled(result: CrossValidation) -> list[pd.DataFrame]:
    """Return a table of out-of-fold predictions for each repeat, in the order of image ids."""
    if not result.runs:
        raise RunError(f"{result.path} holds no runs of a cross-validation.")
    folds, rotations = result.runs[0].config.data.folds, len(result.folds[0])
    tables = []
    for seed, repeat in itertools.groupby(result.folds, key=lambda runs: runs[0].config.seed):
        own = list(repeat)
        data = [run.config.data for runs in own for run in runs]
        if [(one.fold, one.val_rotation) for one in data] != list(np.ndindex(folds, rotations)):
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


def fold_predictions(
    runs: Sequence[Run], settings: EvaluationConfig
) -> tuple[pd.DataFrame, Decision]:
    """Return the predictions for the test part of a fold, by the mean of its networks.

    The decision, which is returned too, is fitted on the validation parts of the runs.
    """
    if len(runs) == 1:  # equal to the run's own predictions to the last bit
        test = runs[0].read_predictions("test")
        decision = fit_decision(runs[0], settings)
    else:
        test = mean_predictions(runs, "test")
        decision = fit_pooled_decision(runs, settings)
    return decision.apply(test), decision


def _with_sets(runs: Sequence[Run]) -> pd.DataFrame:
    """Return the predictions of a fold, and which labels their conformal sets hold."""
    table, decision = fold_predictions(runs, runs[0].config.evaluation)
    held = decision.conformal.sets(table["probability"].to_numpy())
    return table.assign(**dict(zip(_HELD, held.T, strict=True)))
