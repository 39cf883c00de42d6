"""External validation: a run or bundle and the images of another hospital in, a report out.

    external = evaluate_external("runs/compact", data="path/to/BUS-UCLM")
    external.metrics["test"]["roc_auc"]

Calibration, threshold and referral of the model are not changed, because the question is how they
do at another hospital. Images that the model has seen are excluded. With `recalibrate`, some
labelled images recalibrate the model, and the others show what that changes.
"""

import dataclasses
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import pandas as pd

from breastus.config.parsing import join_sources, split_sources
from breastus.data.manifest.schema import has_phantoms
from breastus.data.sources.registry import is_layout
from breastus.errors import RunError
from breastus.evaluation.calibration.prior_shift import prevalence_estimate
from breastus.evaluation.calibration.recalibration_study import check_image_count, sample_images
from breastus.evaluation.evaluate_predictions import evaluate_predictions
from breastus.evaluation.predictions import prediction_columns
from breastus.evaluation.robustness.corruptions import SEVERITIES
from breastus.evaluation.robustness.evaluate import cells
from breastus.reporting.facts import ExternalFacts
from breastus.reporting.report import write_report
from breastus.runs.external import ExternalEvaluation
from breastus.runs.report_folder import METRICS_FILE
from breastus.runs.run import Run
from breastus.training.trainer import Trainer
from breastus.utils.files import sha256_of
from breastus.workflows.evaluate_robustness import measure_robustness
from breastus.workflows.external_images import ExternalImages, external_images
from breastus.workflows.model_artifact import ModelArtifact
from breastus.workflows.prepare import Places
from breastus.workflows.recalibrate import measure_recalibration
from breastus.workflows.subgroup_attributes import subgroup_attributes

# Scores on the model's own test images, for comparison.
_INTERNAL = (
    *("n", "n_groups", "roc_auc", "sensitivity", "specificity"),
    *("balanced_accuracy", "ece", "brier"),
)


def evaluate_external(
    model: Run | str | os.PathLike,
    data: Places,
    *,
    labels: str | Mapping[str, str] = "",
    out: str | os.PathLike | None = None,
    recalibrate: int | None = None,
    seed: int | None = None,
    robustness: bool = False,
    severities: Sequence[int] = SEVERITIES,
    corruptions: Sequence[str] | None = None,
) -> ExternalEvaluation:
    """Predict a data set with a model, and evaluate it as its own test images were.

    A recalibration or robustness that an earlier call measured stays in the report as long as the
    predictions stay the same.

    Args:
        model: a finished run, a bundle, or a cross-validation with a bundle.
        data: see `breastus.train`.
        labels: meanings of class names in `data`, such as `{"cancer": "lump"}`; empty takes
            those that the model was trained with.
        out: folder of the report; None takes `external/<sources>` in the run, and beside a bundle
            `<bundle>-external/<sources>`. A folder that you name must be new or empty, or hold the
            report of the same network on the same images.
        recalibrate: smallest number of labelled images to recalibrate on, drawn by whole groups;
            the others are evaluated before and after. None does not recalibrate. The scores of all
            images are the original model's.
        seed: seed of that draw; None takes the model's.
        robustness: true to corrupt the images as well, as `evaluate_robustness` does.
        severities: severities of the corruptions, 1 to 5.
        corruptions: names of corruptions; None takes all.

    Returns:
        The folder of the report, with `.metrics`.

    Raises:
        ConfigError: if an option is out of range.
        RunError: if the run is not finished, or `out` holds something else.
        BundleError: if the bundle is damaged or was recalibrated.
        DataError: if no image with a label remains, or too few for `recalibrate`.

    Warns:
        UndefinedMetricWarning: if one class or few groups leave a metric undefined.
    """
    # Impossible options are reported before any image is read.
    cells(corruptions, severities)
    if recalibrate is not None:
        check_image_count(recalibrate)
    model = ModelArtifact.load(model)
    network_file = sha256_of(model.network_file)
    if out is not None:
        _check_out(ExternalEvaluation(out), network_file)
    images = external_images(data, model, labels)
    if out is not None:
        _check_out(ExternalEvaluation(out), network_file, images)
    if recalibrate is not None:
        seed = seed if seed is not None else model.config.seed
        # Labels and groups alone show whether the number fits.
        sample_images(images.truth, images.rows["group_id"].to_numpy(), recalibrate, seed=seed)
    folder = ExternalEvaluation(Path(out) if out is not None else _folder(model, images, data))

    network = model.load_network()
    table = _predict(model, network, images)
    if recalibrate is not None:
        measure_recalibration(
            folder,
            model=model,
            table=table,
            manifest=images.manifest,
            images=recalibrate,
            seed=seed,
        )
    if robustness:
        measure_robustness(
            folder,
            model=model,
            network=network,
            table=table,
            manifest=images.manifest,
            severities=severities,
            corruptions=corruptions,
        )
    folder.write_manifest(images.manifest)
    folder.write_predictions(table)
    folder.write_metrics(_evaluate(model, images, table) | {"network": network_file})
    write_report(
        folder,
        model=model.facts,
        metrics=folder.metrics,
        predictions=table,
        manifest=images.manifest,
        config=model.config.to_dict(),
        environment=model.environment,
        external=ExternalFacts.from_metrics(folder.metrics),
        robustness=folder.read_robustness(table),
        recalibration=folder.read_recalibration(table),
    )
    return folder


def _check_out(
    folder: ExternalEvaluation, network: str, images: ExternalImages | None = None
) -> None:
    """Refuse a folder that holds something else than a report of the network on the images."""
    if not folder.path.exists() or (folder.path.is_dir() and not any(folder.path.iterdir())):
        return
    same = folder.has(METRICS_FILE) and folder.metrics.get("network") == network
    if same and images is not None:
        sha256 = [sorted(table["sha256"]) for table in (folder.read_manifest(), images.manifest)]
        same = sha256[0] == sha256[1]
    if not same:
        raise RunError(
            f"{folder.path} exists and is not a report of this model on these images. Choose "
            "another --out, or delete it."
        )


def _folder(model: ModelArtifact, images: ExternalImages, data: Places) -> Path:
    # Unknown data sets share the name of their layout, so their own names identify them.
    names = {Path(place).stem for place in split_sources(join_sources(data))}
    known = not any(map(is_layout, images.sources))
    return model.reports / "-".join(images.sources if known else sorted(names))


def _predict(model: ModelArtifact, network: keras.Model, images: ExternalImages) -> pd.DataFrame:
    """Return the predictions for external images."""
    predicted = Trainer(model.path, model.config, {"test": images.rows}).predict(network, "test")
    table = images.rows[["image_id", "group_id", "finding", "label"]].assign(
        split="test", **prediction_columns(predicted)
    )
    return model.decision.apply(table)


def _evaluate(model: ModelArtifact, images: ExternalImages, table: pd.DataFrame) -> dict[str, Any]:
    """Return the content of metrics.json."""
    config, excluded = model.config, images.near_duplicates
    options = {"settings": config.evaluation, "seed": config.seed}
    metrics = evaluate_predictions(
        {"test": table},
        model.decision,
        attributes=subgroup_attributes(images.manifest, table["image_id"]),
        model="",  # the published study has no row for them
        color=config.preprocessing.color,
        calibrated_at=model.prevalence,
        **options,
    )
    facts = ExternalFacts(
        sources=tuple(images.sources),
        internal={name: model.internal[name] for name in _INTERNAL},
        seen=images.seen,
        related=excluded["excluded"],
        compared=excluded["compared"],
        missing=excluded["missing"],
        internal_test_images=int(images.rows["sha256"].isin(model.test_images).sum()),
        from_bundle=model.training_images.empty,
        pretrained=model.pretrained,
    )
    return metrics | {
        "simulated": {"training": model.facts.phantom, "test": has_phantoms(images.manifest)},
        "excluded_training_images": images.seen,
        "near_duplicates": excluded,
        "external": dataclasses.asdict(facts),
        "prevalence_estimate": prevalence_estimate(
            table, training_prevalence=model.prevalence, **options
        ),
    }
