"""The model card: what bundle.json says, for a person, as Markdown."""

from typing import Any

_ROWS = {
    "sensitivity": "Sensitivity (lumps found)",
    "specificity": "Specificity (images without a lump cleared)",
    "balanced_accuracy": "Balanced accuracy",
    "accuracy": "Accuracy",
    "f1": "F1 of lump",
    "roc_auc": "ROC-AUC",
    "pr_auc_lump": "PR-AUC of lump",
    "pr_auc_no_lump": "PR-AUC of no lump",
}

GROUPS_IGNORED = (
    "Near-duplicates and images of one patient may lie on both sides of the split "
    "(data.groups=ignore). The scores flatter the model: they are for showing how much."
)

HELD_OUT_SEEN = (
    "The weights it started from were pretrained on images of its own validation or test part, or "
    "of the same patients or scenes (model.pretraining_leakage=allow): {count} of them. The scores "
    "flatter the model."
)

# Of an ensemble whose members split the images differently.
DECIDED_BY_ALL = (
    "fitted on the validation predictions of all its networks: of each image, the mean of those "
    "that had it in their validation part"
)
DECIDED_APART = (
    "The networks were trained on different parts of the images, so that the bundle was not tested "
    "as a whole. Each test image is scored by the networks that had it in their test part, and "
    "called by a calibration, threshold and referral that were fitted on validation "
    "images of these networks, none of which any of them tests. The other networks may have "
    "learned from the image, or been chosen by it, and have no part in its score; nor have the "
    "bundle's own calibration, threshold and referral, which it may have helped to fit."
)

_USE = """\
## Use

With TensorFlow alone:

```python
import tensorflow as tf

served = tf.saved_model.load("saved_model")
encoded = tf.constant([open("image.png", "rb").read()])  # PNG or JPEG
served.signatures["predict_bytes"](encoded)["lump"]  # calibrated probability of a lump
```

`serving_default` takes pixels, float32 [B, H, W, 3] of 0 to 255 (`serving_uint8`: uint8). Trimming,
resizing and normalising are inside the graph. With breastus: `breastus predict FOLDER image.png`.
"""

_LIMITS = """\
## Limits

- Research software, not a medical device. It must not be used to decide anything about a patient.
- Scores on images of another hospital, scanner or population are expected to be lower.
- It judges one image as a whole. It does not say where a lump is, nor whether it is malignant.
- Marks that a reader left on an image (calipers, text) can sway it.
"""


def model_card(info: dict[str, Any]) -> str:
    """Return the card of a bundle.

    Args:
        info: the content of bundle.json.
    """
    trained = info["trained_on"]
    sources = ", ".join(f"{name} ({count})" for name, count in trained["sources"].items())
    notice = (
        "> **Simulated data.** This model learned from phantoms and never saw a patient. It is\n"
        "> for trying the software out, and says nothing about real images.\n\n"
        if trained["phantom"]
        else ""
    )
    if trained.get("groups_ignored"):
        notice += f"> **A split that leaks.** {GROUPS_IGNORED}\n\n"
    if count := trained.get("held_out_seen"):
        notice += f"> **Weights that have seen the test.** {HELD_OUT_SEEN.format(count=count)}\n\n"
    size = info["input_size"]
    facts = {
        "Network": f"`{info['model']}`, {info['parameters']:,} parameters",
        "Input": f"{size} x {size} pixels, {info['preprocessing']['color']}",
        "Classes": ", ".join(info["labels"]),
        "Called lump": f"from a probability of {info['threshold']:.3g}: {info['threshold_rule']}",
        **_referred(info),
        "Calibration": f"{info['calibration']}, {_fitted_on(info)}",
        **_recalibrated(info),
        "Views averaged": info["views"],
        "Trained on": f"{trained['images']} images of {trained['groups']} groups: {sources}",
        "Started from": trained.get("pretrained")
        or f"{trained['initial_weights'] or 'random'} weights",
        "Data fingerprint": f"`{info['data_fingerprint']}`",
        "Seed": str(info["seed"]),
        "Made": f"{info['created']}, breastus {info['versions'].get('breastus', 'unknown')}, "
        f"TensorFlow {info['versions']['tensorflow']}",
    }
    lines = [f"- {name}: {text}" for name, text in facts.items()]
    return (
        f"# {info['model']}: lump or no lump in a breast ultrasound image\n\n{notice}"
        + "\n".join(lines)
        + f"\n\n## Scores\n\n{_scores(info)}\n{_USE}\n{_LIMITS}"
    )


def _referred(info: dict[str, Any]) -> dict[str, str]:
    if (sets := info.get("conformal")) is None:
        return {}
    low, high = sets["lump_from"], sets["no_lump_to"]
    lowest, middle, highest = sorted((low, high, info["threshold"]))
    if (low, high) == (0, 1):
        who = "every image, as too few patients or scenes were there to fit on"
    else:
        why = "neither answer can be ruled out" if low <= high else "both classes are unusual"
        if middle != info["threshold"]:  # it calls some what the sets do not hold
            why += ", or the sets hold another answer than the threshold gives"
        who = f"a probability of {lowest:.3g} to {highest:.3g}, where {why}"
    share = f"{100 * sets['coverage']:.0f} %"
    return {"Referred to a reader": f"{who} (conformal sets, to hold {share} of each class)"}


def _fitted_on(info: dict[str, Any]) -> str:
    if not info.get("scored"):
        return "fitted on the validation images"
    return f"like threshold and referral {DECIDED_BY_ALL}"


def _recalibrated(info: dict[str, Any]) -> dict[str, str]:
    if (done := info.get("recalibration")) is None:
        return {}
    line = done["calibrator"]
    return {
        "Recalibrated for": f"{', '.join(done['sources'])}, on {done['n']} labelled images of "
        f"{done['n_groups']} groups ({done['n_lump']} lump, {done['n_no_lump']} no lump): "
        f"sigmoid({line['slope']:.3g} * logit {line['intercept']:+.3g}) of the calibrated "
        f"probability. There the threshold was chosen too; it was {done['threshold_before']:.3g}. "
        "Not for use elsewhere"
    }


def _scores(info: dict[str, Any]) -> str:
    metrics, done = info["metrics"], info.get("recalibration")
    test = metrics["test"]
    level = f"{100 * metrics['confidence']:.0f} %"
    scored = None if done else info.get("scored")
    where = "that took no part in training"
    if done:
        where = f"from {', '.join(done['sources'])}, that nothing was fitted on"
    elif scored:
        where = f"judged by {_span(scored['networks'], 'd')} of the {scored['of']} networks each"
    rows = [
        f"On {test['n']} test images of {test['n_groups']} groups ({test['n_lump']} lump, "
        f"{test['n_no_lump']} no lump) {where}; {level} intervals over groups (patients or "
        "scenes), DeLong's of the ROC-AUC and by bootstrap of the rest.\n",
        f"| | value | {level} interval |",
        "|---|---|---|",
    ]
    for name, title in _ROWS.items():
        entry = test[name]
        rows.append(
            f"| {title} | {_number(entry['value'])} | "
            f"{_number(entry['ci_low'])} to {_number(entry['ci_high'])} |"
        )
    if scored:
        rows.append(f"\n{DECIDED_APART} {_decisions(scored)}")
    return "\n".join(rows) + "\n"


def _decisions(scored: dict[str, Any]) -> str:
    number, thresholds = scored["decisions"], _span(scored["thresholds"], ".3g")
    made = "One such decision was" if number == 1 else f"{number} such decisions were"
    return f"{made} made, with a threshold of {thresholds}."


def _span(ends: list[float], form: str) -> str:
    low, high = (f"{end:{form}}" for end in ends)
    return low if low == high else f"{low} to {high}"


def _number(value: float | None) -> str:
    undefined = value is None or value != value  # NaN differs from itself
    return "undefined" if undefined else f"{value:.2f}"
