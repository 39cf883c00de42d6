"""The result in plain words: metrics as from `evaluate` in, sentences out."""

from typing import Any


def sentence(metrics: dict[str, Any], split: str = "test") -> str:
    """Say the result in plain words, with intervals, and what to make of it."""
    part = metrics[split]
    (cleared, _), (_, found) = part["confusion_matrix"]
    text = (
        f"On {part['n']} {split} images of {part['n_groups']} patients or scenes the model found "
        f"{found} of {part['n_lump']} lumps (sensitivity {percent(part['sensitivity'])}) and "
        f"cleared {cleared} of {part['n_no_lump']} images without a lump (specificity "
        f"{percent(part['specificity'])}). ROC-AUC {number(part['roc_auc'])}. "
    )
    if answer := only_answer(part["confusion_matrix"]):
        text += (
            f"It calls every image {answer}: at a threshold of {metrics['threshold']:.3g} it tells "
            "nothing apart. "
        )
    return text + reading(part, metrics["confidence"])


def only_answer(confusion: list[list[float]]) -> str:
    """Return what every image is called, "lump" or "no lump"; nothing where both are given."""
    (cleared, alarms), (missed, found) = confusion
    if cleared + missed == 0:
        return "lump"
    return "no lump" if alarms + found == 0 else ""


def reading(part: dict[str, Any], confidence: float) -> str:
    """Say what to make of a split's metrics, by the interval of its ROC-AUC."""
    level = f"{100 * confidence:.0f} %"
    low, high = part["roc_auc"]["ci_low"], part["roc_auc"]["ci_high"]
    if low is None or low != low:  # NaN
        return f"The {level} intervals are undefined: there are too few groups of a class."
    if high < 0.5:
        return (
            f"Its order is worse than guessing (the {level} interval of ROC-AUC stays below 0.5): "
            "see whether labels are exchanged."
        )
    if low <= 0.5:
        return f"By its {level} interval the ROC-AUC may be no better than guessing."
    text = f"Its order is better than guessing (the {level} interval of ROC-AUC stays above 0.5)"
    if part["n_no_lump"] < 50:
        text += f", but {part['n_no_lump']} images without a lump leave the specificity uncertain"
    return text + "."


def percent(entry: dict) -> str:
    """Return a share with its interval in per cent, as text."""
    return _with_interval(entry, lambda value: f"{100 * value:.0f} %")


def number(entry: dict) -> str:
    """Return a metric with its interval, as text."""
    return _with_interval(entry, lambda value: f"{value:.2f}")


def _with_interval(entry: dict, show) -> str:
    value, low, high = entry["value"], entry["ci_low"], entry["ci_high"]
    if value is None or value != value:
        return "undefined"
    if low is None or low != low:
        return show(value)
    return f"{show(value)}, {show(low)} to {show(high)}"
