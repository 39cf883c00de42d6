"""Judge a model on images from elsewhere: a run or bundle and a data set in, a report out.

    elsewhere = evaluate_external("runs/compact", data="path/to/BUS-UCLM")
    elsewhere.metrics["test"]["roc_auc"]

    runs/compact/external/bus_uclm/
      manifest.csv, predictions.csv, metrics.json, report.html, figures/
      recalibration.json, robustness.json, where they were asked for

Calibration, threshold and referral are those the run came with: what happens to them at another
hospital is the question. Images that took part in training are left out, with their near-duplicates
and whatever else is of their patients and scenes; so is what the data set's own curation leaves
out. With `recalibrate`, what some labelled images would mend is tried beside that, and judged on
the others.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from breastus.config.parsing import join_sources, split_sources
from breastus.data.manifest.build import load_manifest
from breastus.data.manifest.schema import has_phantoms, included
from breastus.data.sources.registry import is_layout
from breastus.deploy.export import SEEN_DIGITS
from breastus.errors import DataError
from breastus.evaluation.calibration.prevalence import prevalence_estimate
from breastus.evaluation.calibration.recalibration_study import check_image_count, sample_images
from breastus.evaluation.evaluate_predictions import evaluate_predictions
from breastus.evaluation.predictions import lump_probability
from breastus.evaluation.robustness.corruptions import SEVERITIES
from breastus.evaluation.robustness.evaluate import cells
from breastus.labels import LABELS, LUMP
from breastus.reporting import texts
from breastus.reporting.facts import ExternalFacts
from breastus.reporting.report import write_report
from breastus.runs.external import ExternalEvaluation
from breastus.runs.run import Run
from breastus.training.external_leakage import find_external_leakage
from breastus.training.trainer import Trainer
from breastus.workflows.evaluate import attributes
from breastus.workflows.evaluate_robustness import measure_robustness
from breastus.workflows.model_artifact import ModelArtifact
from breastus.workflows.recalibrate import measure_recalibration


@dataclass(frozen=True)
class External:
    """A run judged on images from elsewhere.

    Attributes:
        path: the folder of the report.
        metrics: content of its metrics.json: as from `evaluate_predictions` for "test" alone, with
            `left_out` (number of images that took part in training), `near_duplicates` (`left_out`:
            images that resemble one of these or share its patient or scene, `compared` and
            `missing`: training images that could and could not be compared with) and
            `prevalence_estimate`.
        lead: sentences of the report: the model's scores on its own test images, and the effects
            of recalibration and of degraded images.
        left_out: sentences of the report: which images were excluded, and how they were found.
    """

    path: Path
    metrics: dict[str, Any]
    lead: tuple[str, ...] = ()
    left_out: str = ""


def evaluate_external(
    model: Run | str | os.PathLike,
    data: str | os.PathLike | Sequence[str | os.PathLike],
    *,
    out: str | os.PathLike | None = None,
    recalibrate: int | None = None,
    seed: int | None = None,
    robustness: bool = False,
    severities: Sequence[int] = SEVERITIES,
    corruptions: Sequence[str] | None = None,
) -> External:
    """Predict a data set with a model's network and judge it as its own test images were.

    What an earlier call recalibrated or measured stays in the report while the predictions are the
    same.

    Args:
        model: a finished run, a bundle, or a cross-validation's folder for the bundle in it.
        data: as for `breastus.train`.
        out: a folder; None takes `external/<sources>` in the run, and beside a bundle
            `<bundle>-external/<sources>`.
        recalibrate: recalibrate on so many labelled images, at least, drawn by whole groups, and
            judge on the others before and after; None does not. The scores of the whole stay those
            of the model as it came.
        seed: of that draw; None takes the model's.
        robustness: make the images worse as well, as `evaluate_robustness` does.
        severities: of it.
        corruptions: of it.

    Raises:
        ConfigError: when an option is out of range.
        RunError: when the run is not finished.
        BundleError: when the bundle is damaged, or has been recalibrated.
        DataError: when no image with a label is left, or `recalibrate` does not fit what there is.

    Warns:
        UndefinedMetricWarning: for what one class or few groups leave undefined.
    """
    # What is wrong with them is said before any image is read.
    cells(corruptions, severities)
    if recalibrate is not None:
        check_image_count(recalibrate)
    model = ModelArtifact.load(model)
    config, decision = model.config, model.decision
    manifest = load_manifest(join_sources(data), settings=config.data, seed=config.seed)
    manifest, seen = _without_seen(manifest, model)
    manifest, twins = _without_twins(manifest, model)
    rows = included(manifest).reset_index(drop=True)
    if rows.empty:
        raise DataError(
            f"No image of {join_sources(data)} is left to test on: {seen} took part in training, "
            f"{twins['left_out']} are near-duplicates of such, the others are left out or have no "
            "label. Name another data set."
        )
    if recalibrate is not None:
        seed = config.seed if seed is None else seed
        # Also before it takes time: what does not fit is known from labels and groups.
        sample_images(_truth(rows), rows["group_id"].to_numpy(), recalibrate, seed=seed)
    folder = ExternalEvaluation(Path(out) if out is not None else _folder(model, rows, data))
    table = rows[["image_id", "group_id", "finding", "label"]].assign(split="test")
    network = model.network()
    predicted = Trainer(model.path, config, {"test": rows}).predict(network, "test")
    table["probability_uncalibrated"] = lump_probability(predicted)
    table = decision.apply(table)
    if recalibrate is not None:
        measure_recalibration(
            folder,
            model=model,
            table=table,
            manifest=manifest,
            images=recalibrate,
            seed=seed,
        )
    if robustness:
        measure_robustness(
            folder,
            config=config,
            network=network,
            decision=decision,
            table=table,
            manifest=manifest,
            severities=severities,
            corruptions=corruptions,
        )
    metrics = evaluate_predictions(
        {"test": table},
        decision,
        attributes=attributes(manifest, table["image_id"]),
        model="",  # the published study has no such images
        color=config.preprocessing.color,
        settings=config.evaluation,
        seed=config.seed,
    )
    metrics["simulated"] = {"training": model.facts.phantom, "test": has_phantoms(manifest)}
    metrics["left_out"] = seen
    metrics["near_duplicates"] = twins
    metrics["prevalence_estimate"] = prevalence_estimate(
        table,
        training_prevalence=model.prevalence,
        settings=config.evaluation,
        seed=config.seed,
    )
    folder.write_manifest(manifest)
    folder.write_predictions(table)
    folder.write_metrics(metrics)
    measured = {
        "robustness": folder.read_robustness(table),
        "recalibration": folder.read_recalibration(table),
    }
    external = ExternalFacts(
        sources=tuple(sorted(set(rows["source"]))),
        home=model.home,
        seen=seen,
        related=twins["left_out"],
        compared=twins["compared"],
        missing=twins["missing"],
        own_test=int(rows["sha256"].isin(model.tested_on).sum()),
        from_bundle=model.seen_images.empty,
        pretrained=model.pretrained,
    )
    write_report(
        folder,
        model=model.facts,
        metrics=metrics,
        predictions=table,
        manifest=manifest,
        config=config.to_dict(),
        environment=model.environment,
        external=external,
        **measured,
    )
    lead = texts.summaries(external, **measured)
    return External(folder.path, metrics, tuple(lead), " ".join(texts.exclusions(external)))


def _without_seen(manifest: pd.DataFrame, model: ModelArtifact) -> tuple[pd.DataFrame, int]:
    """Exclude images that the model trained or was chosen by; return how many there were."""
    return _excluding(manifest, _is_seen(manifest, model), "duplicate: took part in training")


def _without_twins(
    manifest: pd.DataFrame, model: ModelArtifact
) -> tuple[pd.DataFrame, dict[str, int]]:
    """Exclude near-duplicates of images that the model has seen, and their patients and scenes.

    Returns:
        The manifest, and what metrics.json says of it.
    """
    threshold = model.config.data.duplicate_threshold
    found = find_external_leakage(included(manifest), model.seen_images, threshold=threshold)
    twins = [found.duplicate_of.get(name, "") for name in manifest["image_id"]]
    twin = pd.Series(twins, dtype=object)
    twin.index = manifest.index
    known = (twin != "") | _is_seen(manifest, model)
    reasons = "duplicate: near-duplicate of " + twin + ", which took part in training"
    manifest, alike = _excluding(manifest, twin != "", reasons)
    # Of a patient or scene that was seen no image is from elsewhere.
    of_group = manifest["group_id"].isin(set(manifest.loc[known, "group_id"]) - {""})
    reason = "duplicate: of one group with an image that took part in training"
    manifest, related = _excluding(manifest, of_group, reason)
    counts = {"left_out": alike + related, "compared": found.compared, "missing": found.missing}
    return manifest, counts


def _is_seen(manifest: pd.DataFrame, model: ModelArtifact) -> pd.Series:
    return manifest["sha256"].str[:SEEN_DIGITS].isin(model.seen) & (manifest["sha256"] != "")


def _excluding(
    manifest: pd.DataFrame, which: pd.Series, reason: str | pd.Series
) -> tuple[pd.DataFrame, int]:
    """Give images that nothing else excludes a reason; return how many there were."""
    fresh = which & (manifest["excluded"] == "")
    return manifest.assign(excluded=manifest["excluded"].mask(fresh, reason)), int(fresh.sum())


def _folder(model: ModelArtifact, rows: pd.DataFrame, data) -> Path:
    sources = sorted(set(rows["source"]))
    # What is no known data set has the name of its kind; its own tells two of them apart.
    names = [Path(place).stem for place in split_sources(join_sources(data))]
    known = not any(map(is_layout, sources))
    return model.reports / "-".join(sources if known else sorted(set(names)))


def _truth(rows: pd.DataFrame) -> np.ndarray:
    return (rows["label"] == LABELS[LUMP]).to_numpy(int)
