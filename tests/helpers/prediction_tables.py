"""Tables of predictions for tests, and what evaluating them gives."""

import numpy as np
import pandas as pd

from breastus.config.schema import EvaluationConfig
from breastus.evaluation.calibration.logistic import sigmoid
from breastus.evaluation.decision.decision import Decision
from breastus.evaluation.evaluate_predictions import evaluate_predictions, score_predictions
from breastus.evaluation.options import EvaluationOptions


def predictions(split="test", lumps=40, others=30, seed=0, shift=1.5):
    rng = np.random.default_rng(seed)
    label = np.array(["lump"] * lumps + ["no_lump"] * others)
    score = (label == "lump") * shift + rng.normal(size=len(label)) - shift / 2
    probability = 1 / (1 + np.exp(-score))
    return pd.DataFrame(
        {
            "image_id": [f"x/<image> {split} {i}" for i in range(len(label))],
            "split": split,
            "group_id": [f"g{i // 2}" for i in range(len(label))],
            "finding": np.where(label == "lump", "benign", "normal"),
            "label": label,
            "predicted": np.where(probability >= 0.5, "lump", "no_lump"),
            "probability": probability,
            "probability_uncalibrated": np.clip(probability + 0.1 * (probability - 0.5), 0, 1),
        }
    )


def evaluated(tables=None, **options):
    """Return the metrics of tables by split."""
    tables = tables or {"val": predictions("val", seed=1), "test": predictions()}
    return score_predictions(
        tables,
        threshold=0.5,
        options=EvaluationOptions(**{"resamples": 200, **options}),
        model="cnn",
        color="plain",
    )


def evaluated_run(tables):
    """Return metrics as a run has them, and the tables as the decision made of them leaves them."""
    settings = EvaluationConfig(resamples=200)
    decision = Decision.fit(tables["val"], settings, seed=0)
    tables = {split: decision.apply(table) for split, table in tables.items()}
    attributes = tables["test"][["image_id"]].assign(source="x", flags="")
    attributes["lesion_area_fraction"] = np.nan
    metrics = evaluate_predictions(
        tables,
        decision,
        attributes=attributes,
        model="cnn",
        color="plain",
        settings=settings,
        seed=0,
    )
    return metrics, tables


FINDINGS = ["normal"] * 20 + ["benign"] * 20 + ["malignant"] * 10


def subgroup_tables(findings=FINDINGS, seed=0):
    """Return predictions and attributes, as `subgroups` takes them."""
    rng = np.random.default_rng(seed)
    findings = np.array(findings)
    lump = findings != "normal"
    predictions = pd.DataFrame(
        {
            "image_id": [f"image {i}" for i in range(len(findings))],
            "group_id": [f"g{i}" for i in range(len(findings))],
            "finding": findings,
            "label": np.where(lump, "lump", "no_lump"),
            "probability": 1 / (1 + np.exp(-(1.5 * lump + rng.normal(size=len(lump)) - 0.5))),
        }
    )
    attributes = pd.DataFrame(
        {
            "image_id": predictions["image_id"],
            "source": np.where(np.arange(len(lump)) % 2, "busi", "bus_uclm"),
            "flags": np.where(np.arange(len(lump)) % 3 == 0, "caliper;text", ""),
            "lesion_area_fraction": np.where(lump, rng.uniform(0.01, 0.3, len(lump)), 0.0),
        }
    )
    return predictions, attributes


def hospital(count=400, *, intercept=0.0, slope=1.0, patients=None, seed=0):
    """Predictions where the truth follows sigmoid(slope * z + intercept) of the model's logit z."""
    rng = np.random.default_rng(seed)
    z = rng.normal(scale=2, size=count)
    truth = rng.random(count) < sigmoid(slope * z + intercept)
    label = np.where(truth, "lump", "no_lump")
    return pd.DataFrame(
        {
            "image_id": [f"other/{n}" for n in range(count)],
            "split": "test",
            "group_id": [f"p{n % (patients or count)}" for n in range(count)],
            "finding": np.where(truth, "benign", "normal"),
            "label": label,
            "predicted": np.where(z >= 0, "lump", "no_lump"),
            "probability": sigmoid(z),
            "probability_uncalibrated": sigmoid(z),
            "threshold": 0.5,
        }
    )
