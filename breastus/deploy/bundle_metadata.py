"""The content of bundle.json: settings, decision, scores and training images in, a dict out."""

from typing import Any

import pandas as pd

from breastus.config.schema import Config
from breastus.data.image_statistics import image_statistics, statistics_ranges
from breastus.data.images import read_image
from breastus.evaluation.calibration.reliability import reliability
from breastus.evaluation.decision.decision import Decision
from breastus.evaluation.predictions import truth_and_probability
from breastus.labels import KNOWN_FINDINGS, LABELS, LUMP
from breastus.utils.threads import in_threads

_LONG = ("decision_curve", "subgroups")  # parts of metrics.json that stay in the run


def bundle_metadata(
    *,
    config: Config,
    environment: dict[str, Any],
    trained_on: pd.DataFrame,
    phantom: bool,
    parameters: int,
    decision: dict[str, Any],
) -> dict[str, Any]:
    """Return the content of bundle.json without format, checksums and date.

    Args:
        config: settings of the run, or of the first of several.
        environment: its environment.json; this reads `data_fingerprint`, `weights`, `pretraining`
            and `versions`.
        trained_on: manifest rows of the images the weights were fitted on.
        phantom: true if any image is simulated.
        parameters: number of parameters of the network.
        decision: result of `decision_metadata`.
    """
    pretraining = environment.get("pretraining") or {}
    paths = trained_on["path"].tolist()
    measured = in_threads(
        lambda path: image_statistics(read_image(path)), paths, "measuring images"
    )
    return {
        "model": config.model.name,
        "parameters": parameters,
        "labels": list(LABELS),
        "positive": LABELS[LUMP],
        # Names of the columns of the output `findings`, which only these networks have.
        "findings": list(KNOWN_FINDINGS) if config.training.target == "finding" else None,
        **decision,
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
            # The path of a folder of weights is not recorded.
            "initial_weights": "pretrained" if pretraining else environment["weights"]["weights"],
            "pretrained": pretraining.get("description"),
            "held_out_images_seen": pretraining.get("held_out_images_seen", 0),
        },
        "input_statistics": statistics_ranges(measured),
        "versions": environment["versions"],
    }


def decision_metadata(
    decision: Decision,
    *,
    metrics: dict[str, Any],
    validation: pd.DataFrame,
    explanation: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the part of bundle.json that an evaluation decides.

    `validation` are the predictions that the decision was fitted on, and `explanation` the content
    of explanation.json if the lesion maps were measured.
    """
    measured = {name: part for name, part in (explanation or {}).items() if name != "images"}
    return {
        **({"explanation": measured} if measured else {}),
        "threshold": decision.threshold,
        "threshold_rule": decision.selection["threshold"]["description"],
        # 1 for calibrations other than temperature scaling, which have other parameters.
        "temperature": decision.calibrator.temperature,
        "calibration": decision.calibrator.description,
        "calibrator": decision.calibrator.to_dict(),
        "conformal": decision.conformal.to_dict(),
        "metrics": _short(metrics),
        "reliability": reliability(*truth_and_probability(validation)),
    }


def _short(metrics: dict[str, Any]) -> dict[str, Any]:
    return {
        name: _short(value) if isinstance(value, dict) else value
        for name, value in metrics.items()
        if name not in _LONG
    }
