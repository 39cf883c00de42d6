"""Score anybody's predictions: a table and images in; numbers and one HTML page out.

    report = breastus.score("predictions.csv", data="path/to/BUSI")
    report.metrics["roc_auc"]        # value, ci_low, ci_high

Neither TensorFlow nor a network is needed.
"""

import os
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from breastus.auditing.leakage import duplicate_pairs, twins_in_training
from breastus.config.schema import Config
from breastus.data.manifest.build import build_manifest_with_pairs
from breastus.data.manifest.schema import has_phantoms
from breastus.data.splits.benchmark import (
    FOLD,
    NAMED_SPLITS,
    BenchmarkSplit,
    make_benchmark_split,
)
from breastus.data.splits.benchmark_file import read_benchmark_split
from breastus.errors import DataError, RunError
from breastus.evaluation.comparison.baselines import read_baselines
from breastus.evaluation.entry import Entry, EntryFile
from breastus.evaluation.entry_scores import score_entry
from breastus.evaluation.metrics.subgroups import subgroups
from breastus.evaluation.metrics.twins import part_scores, scores_by_twin
from breastus.evaluation.options import EvaluationOptions
from breastus.reporting.score_page import summary, write_score_page
from breastus.runs.cross_validation import PREDICTIONS_FILE, CrossValidation
from breastus.workflows.export_splits import DEFAULTS, check_groups_kept
from breastus.workflows.prepare import Places, free_name, with_settings
from breastus.workflows.subgroup_attributes import subgroup_attributes


class ScoreReport(NamedTuple):
    """Scores of an entry.

    Attributes:
        metrics: all numbers, as `breastus score --format json` prints them.
        page: the HTML page; it shows images of patients.
    """

    metrics: dict[str, Any]
    page: Path

    @property
    def summary(self) -> str:
        """The result in a few lines."""
        return summary(self.metrics)


def score(
    predictions: str | os.PathLike | pd.DataFrame,
    *,
    data: Places | None = None,
    splits: str | os.PathLike | None = None,
    out: str | os.PathLike | None = None,
    name: str | None = None,
    config: Config | None = None,
    **settings: Any,
) -> ScoreReport:
    """Score predictions of any model on a benchmark split, and compare them with baselines.

    Args:
        predictions: a CSV file, a table, or the folder of a cross-validation of breastus, of which
            the repeats that have the folds of the split are scored. Columns: `image_id` (or `path`,
            `file`, `sha256`, `pixel_sha256`) and `probability` of a lump; optional `fold`, `seed`
            or `run` (several models of one recipe), `threshold` or `predicted`, `label`,
            `split_name`. Without `threshold` and `predicted` the threshold is 0.5.
        data: images that were predicted; see `breastus.train`.
        splits: file of the split that the predictions are for, as `breastus.export_splits` writes
            it, or a CSV file with the columns `image_id` (or `path`) and `fold` or `split`. None
            takes the named split of the images, such as `busi-scenes-v1`.
        out: a new HTML file; None takes score.html, or the next free score-2.html, ...
        name: name of the entry; None takes the name of the file.
        config: all settings; None takes the defaults. `data` and `evaluation` count.
        **settings: single settings by name, such as `resamples=500`.

    Raises:
        ConfigError: if a setting is unknown, or groups are ignored.
        RunError: if `out` exists, or `predictions` is a folder without a finished
            cross-validation.
        DataError: if predictions are missing, double, no probability, for another split, for
            training images (a `fold` in which the image is not tested), or contradict labels; if
            the split cannot be read; or if the images have no named split and no
            `splits` are given.
    """
    config = with_settings(config or DEFAULTS, data, settings)
    check_groups_kept(config)
    if out is not None and Path(out).exists():
        raise RunError(f"{out} exists. Choose another --out, or delete it.")
    # Read first, so that a damaged file is reported before the images are read.
    file = EntryFile(_file_of(predictions))
    found = build_manifest_with_pairs(config.data.source, settings=config.data, seed=config.seed)
    manifest = found.manifest
    split = _split(manifest, config, splits)
    entry = file.check(manifest, split)
    pairs = duplicate_pairs(manifest, found.near_duplicate_pairs)
    scores = _scores(entry, split, config)
    metrics = {
        "entry": name or _name_of(predictions),
        "simulated": {"training": False, "test": has_phantoms(manifest)},
        "split": _facts(split, manifest),
        **_checks(entry),
        **scores,
        "twins": _twins(entry, split, manifest, pairs, config),
        "subgroups": subgroups(
            entry.tables[0],
            subgroup_attributes(manifest, split.tested["image_id"]),
            threshold=entry.tables[0]["threshold"].to_numpy(),
            confidence=config.evaluation.confidence,
            whole=scores if scores["runs"] == 1 else None,
        ),
    }
    page = Path(out) if out is not None else free_name("score")
    write_score_page(page, metrics=metrics, tables=entry.tables, manifest=manifest)
    return ScoreReport(metrics, page)


def _file_of(predictions: str | os.PathLike | pd.DataFrame) -> Path | pd.DataFrame:
    """Return the file of predictions that a path means, or the table."""
    if isinstance(predictions, pd.DataFrame) or not (path := Path(predictions)).is_dir():
        return predictions
    if not CrossValidation.is_one(path):
        raise RunError(
            f"{path} is not the folder of a cross-validation. Name one, or a file of predictions: "
            "of a single run its predictions_test.csv, with its splits.csv as --splits."
        )
    return CrossValidation(path).file(PREDICTIONS_FILE)


def _name_of(predictions: str | os.PathLike | pd.DataFrame) -> str:
    return "predictions" if isinstance(predictions, pd.DataFrame) else Path(predictions).stem


def _split(
    manifest: pd.DataFrame, config: Config, file: str | os.PathLike | None
) -> BenchmarkSplit:
    """Return the split of a file, or the named split of the images."""
    if file is not None:
        return read_benchmark_split(file, manifest)
    split = make_benchmark_split(manifest, config.data, config.seed)
    if not split.is_named:
        raise DataError(
            "These images and settings give no named split "
            f"({', '.join(NAMED_SPLITS)}). Name the file of the split that the predictions are "
            "for: --splits FILE; breastus splits export writes one. "
            f"Received: {len(split.images)} images, {split.name}"
        )
    return split


def _facts(split: BenchmarkSplit, manifest: pd.DataFrame) -> dict[str, Any]:
    return {
        "name": split.name,
        "fingerprint": split.fingerprint,
        "named": split.is_named,
        "by": split.by,
        "folds": len(split.folds),
        "images": len(split.images),
        "excluded": len(split.excluded),
        "patients_known": bool((manifest["patient_id"] != "").any()),
    }


def _checks(entry: Entry) -> dict[str, Any]:
    thresholds = pd.concat([table["threshold"] for table in entry.tables])
    return {
        "run_names": entry.runs,
        "threshold_source": entry.thresholds,
        "thresholds": [thresholds.min(), thresholds.max()],
        "folds_checked": entry.folds_checked,
        "unscored": entry.unscored.to_dict("records"),
        "other_repeats": entry.other_repeats,
    }


def _scores(entry: Entry, split: BenchmarkSplit, config: Config) -> dict[str, Any]:
    confidence = config.evaluation.confidence
    return {
        **score_entry(
            entry.tables,
            baselines=read_baselines(split),
            options=EvaluationOptions.from_settings(config.evaluation, seed=config.seed),
        ),
        "by_fold": {
            fold: part_scores([one[one[FOLD] == fold] for one in entry.tables], confidence)
            for fold in split.folds
        },
    }


def _twins(
    entry: Entry, split: BenchmarkSplit, manifest: pd.DataFrame, pairs: pd.DataFrame, config: Config
) -> dict[str, Any]:
    """Return `images`, how many test images have a twin in training, and the scores if any has."""
    members = split.parts.rename(split.by).rename_axis("image_id").reset_index()
    found = twins_in_training(members, manifest, pairs)
    twins = set(found["image_id"]) & set(split.tested["image_id"])
    if not twins:
        return {"images": 0}
    by_twin = scores_by_twin(entry.tables, twins, confidence=config.evaluation.confidence)
    return {"images": len(twins), **by_twin}
