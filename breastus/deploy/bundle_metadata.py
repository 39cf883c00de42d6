"""What bundle.json says: settings, decision, scores and training images in, a dictionary out."""

from typing import Any

import pandas as pd

from breastus.config.schema import Config
from breastus.data.image_statistics import image_statistics, statistics_ranges
from breastus.data.images import read_image
from breastus.evaluation.calibration.reliability import reliability
from breastus.evaluation.decision.decision import Decision
from breastus.evaluation.predictions import truth_and_probability
from breastus.labels import LABELS, LUMP

_LONG = ("decision_curve", "subgroups")  # of metrics.json; they stay in the run


def bundle_metadata(
    *,
    config: Config,
    environment: dict[str, Any],
    decision: Decision,
    metrics: dict[str, Any],
    validation: pd.DataFrame,
    trained_on: pd.DataFrame,
    phantom: bool,
    parameters: int,
) -> dict[str, Any]:
    """Return what bundle.json says; format, checksums and the date are added when it is written.

    Args:
        config: of the run, or of the first of several.
        environment: likewise; `data_fingerprint`, `weights`, `pretraining` and `versions` are taken
            from it.
        decision: what is made of the probabilities.
        metrics: as from `evaluate_predictions`.
        validation: predictions that the decision was fitted on.
        trained_on: manifest rows of the images the weights were fitted on.
        phantom: whether any image is simulated.
        parameters: of the network.
    """
    pretraining = environment.get("pretraining") or {}
    measured = [image_statistics(read_image(path)) for path in trained_on["path"]]
    return {
        "model": config.model.name,
        "parameters": parameters,
        "labels": list(LABELS),
        "positive": LABELS[LUMP],
        "threshold": decision.threshold,
        "threshold_rule": decision.facts["threshold"]["description"],
        # Of other calibrations than by temperature it is 1: they have other parameters.
        "temperature": decision.calibrator.temperature,
        "calibration": decision.calibrator.description,
        "calibrator": decision.calibrator.to_dict(),
        "conformal": decision.conformal.to_dict(),
        "views": config.evaluation.tta,
        "input_size": config.model.image_size,
        "preprocessing": config.to_dict()["preprocessing"],
        "seed": config.seed,
        "data_fingerprint": environment["data_fingerprint"],
        "trained_on": {
            "phantom": phantom,
            "groups_ignored": config.data.groups == "ignore",
            "sources": trained_on["source"].value_counts().to_dict(),
            "images": len(trained_on),
            "groups": trained_on["group_id"].nunique(),
            "labels": trained_on["label"].value_counts().to_dict(),
            # Where a folder of weights lay on that machine is nobody's business.
            "initial_weights": "pretrained" if pretraining else environment["weights"]["weights"],
            "pretrained": pretraining.get("words"),
            "held_out_seen": pretraining.get("held_out_seen", 0),
        },
        "metrics": _short(metrics),
        "reliability": reliability(*truth_and_probability(validation)),
        "input_statistics": statistics_ranges(measured),
        "versions": environment["versions"],
    }


def _short(metrics: dict[str, Any]) -> dict[str, Any]:
    return {
        name: _short(value) if isinstance(value, dict) else value
        for name, value in metrics.items()
        if name not in _LONG
    }
