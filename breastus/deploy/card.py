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
    "of the same patients or scenes (model.seen_images=allow): {count} of them. The scores flatter "
    "the model."
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
        "Calibration": f"{info['calibration']}, fitted on the validation images",
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
    where = "that took no part in training"
    if done:
        where = f"from {', '.join(done['sources'])}, that nothing was fitted on"
    rows = [
        f"On {test['n']} test images of {test['n_groups']} groups ({test['n_lump']} lump, "
        f"{test['n_no_lump']} no lump) {where}; {level} intervals by bootstrap over groups.\n",
        f"| | value | {level} interval |",
        "|---|---|---|",
    ]
    for name, title in _ROWS.items():
        entry = test[name]
        rows.append(
            f"| {title} | {_number(entry['value'])} | "
            f"{_number(entry['ci_low'])} to {_number(entry['ci_high'])} |"
        )
    return "\n".join(rows) + "\n"


def _number(value: float | None) -> str:
    undefined = value is None or value != value  # NaN differs from itself
    return "undefined" if undefined else f"{value:.2f}"
