"""The outside-hospital check: a bundle and a handful of images in, one self-contained page out.

For each image: what the model says, whether a reader has to judge it, how often such a score was
right on the validation images, and what is unusual about the image. An image that cannot be read is
reported; the others go on.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from tqdm import tqdm

from breastus.data.images import read_image, to_png
from breastus.deploy.predictor import PHANTOM_FLAG, PHANTOM_NOTICE, Prediction, Predictor
from breastus.evaluation.intervals.proportions import wilson_interval
from breastus.labels import LABELS, LUMP
from breastus.utils.files import write_text
from breastus.utils.html import page, picture

_SIDE = 480  # longer side of a picture on the page, in pixels
_WORDS = {label: label.replace("_", " ") for label in LABELS}


@dataclass(frozen=True)
class Case:
    """An image to check.

    Attributes:
        path: the file.
        known: what is known of it, such as "benign", or "".
    """

    path: str | os.PathLike
    known: str = ""


def check(predictor: Predictor, cases: Sequence[Case], out: str | os.PathLike) -> list[Prediction]:
    """Judge images and write the page.

    Args:
        predictor: a loaded bundle.
        cases: the images.
        out: the HTML file; written whole or not at all.

    Returns:
        One prediction a case; what could not be read carries its `error`.

    Raises:
        RunError: when the page cannot be written.
    """
    judged = predictor.predict_files(case.path for case in cases)
    predictions = list(tqdm(judged, "checking images", len(cases), leave=False, disable=None))
    write_text(out, check_page(predictor.info, cases, predictions))
    return predictions


def check_page(
    info: Mapping[str, Any], cases: Iterable[Case], predictions: Sequence[Prediction]
) -> str:
    """Return the page as HTML; `info` is the content of bundle.json."""
    body = (
        f'<p class="soft">{escape(_model_facts(info))}</p>'
        f'<p class="answer">{escape(summary(predictions))}</p>'
        + "".join(
            _case(info, case, prediction)
            for case, prediction in zip(cases, predictions, strict=True)
        )
        + f"<h2>How to read this page</h2>{_how_to_read(info)}"
    )
    notices = [PHANTOM_NOTICE] if info["trained_on"]["phantom"] else []
    return page(f"What the model “{info['model']}” makes of these images", body, notices=notices)


def summary(predictions: Sequence[Prediction]) -> str:
    """Say in a sentence or two what came out."""
    read = [p for p in predictions if not p.error]
    lumps = sum(p.label == LABELS[LUMP] for p in read)
    strange = sum(bool(_of_the_image(p)) for p in read)
    parts = [f"The model calls {lumps} of {_images(len(read))} lump."]
    if referred := sum(bool(p.referred) for p in read):
        parts.append(f"Refer to a reader: {referred} of them, whatever they are called.")
    if strange:
        parts.append(
            f"{_images(strange)} {_are(strange)} unlike those it learned from or must be read with "
            "care: see below what is unusual."
        )
    if failed := len(predictions) - len(read):
        parts.append(f"{_images(failed)} could not be read.")
    return " ".join(parts)


def how_sure(info: Mapping[str, Any], probability: float) -> str:
    """Say how often images that scored alike had a lump, on the bundle's validation images.

    Args:
        info: the content of bundle.json.
        probability: calibrated probability of a lump.
    """
    bins = info["reliability"]
    if not bins:
        return "How sure that is was not measured."
    near = min(bins, key=lambda b: max(b["low"] - probability, probability - b["high"], 0.0))
    low, high = wilson_interval(near["lumps"], near["count"])
    everywhere = sum(b["lumps"] for b in bins) / sum(b["count"] for b in bins)
    images = _judged_by(info)
    text = (
        f"Of the {near['count']} {images} that scored most alike "
        f"({near['low']:.2f} to {near['high']:.2f}), {near['lumps']} had a lump: "
        f"{100 * near['lumps'] / near['count']:.0f} % ({100 * low:.0f} to {100 * high:.0f} %). Of "
        f"all {images} {100 * everywhere:.0f} % had one"
    )
    if low <= everywhere <= high:
        text += ", so that such a score says little."
    else:
        text += "."
    if low > 0.5 and probability < info["threshold"]:
        text += " Most of them had a lump although the model calls this “no lump”."
    elif high < 0.5 and probability >= info["threshold"]:
        text += " Most of them had none although the model calls this “lump”."
    elif low <= 0.5 <= high:
        text += " Either answer is possible."
    return text


def _case(info: Mapping[str, Any], case: Case, prediction: Prediction) -> str:
    name = os.path.basename(os.fspath(case.path))
    if prediction.error:
        return (
            f'<section class="case"><div></div><div><h3>{escape(name)}</h3>'
            f'<p class="verdict">could not be read</p><p>{escape(prediction.error)}</p>'
            "</div></section>"
        )
    known = f'<p class="soft">Known finding: {escape(case.known)}</p>' if case.known else ""
    unusual = "".join(f"<li>{escape(text)}</li>" for text in _of_the_image(prediction).values())
    return (
        f'<section class="case">{picture(to_png(read_image(case.path), side=_SIDE), name)}'
        f"<div><h3>{escape(name)}</h3>{known}"
        f'<p class="verdict {prediction.label}">{_WORDS[prediction.label]}</p>'
        f"{_referral(info, prediction)}"
        f"{_bar(prediction)}<p>{escape(how_sure(info, prediction.probability))}</p>"
        + (
            "<p><b>Unusual</b>, so that what held for the validation images may not hold here:</p>"
            f"<ul>{unusual}</ul>"
            if unusual
            else '<p class="soft">Size, brightness, colour and detail lie within those of the '
            "training images.</p>"
        )
        + "</div></section>"
    )


def _referral(info: Mapping[str, Any], prediction: Prediction) -> str:
    if not prediction.referred:
        return ""
    sets = info["conformal"]
    if (sets["lump_from"], sets["no_lump_to"]) == (0, 1):
        why = "the bundle refers every image, as it was fitted on too few patients or scenes."
    elif sets["lump_from"] <= sets["no_lump_to"]:
        why = "with such a score neither “lump” nor “no lump” can be ruled out."
    else:
        why = "such a score is unusual for images with a lump, and for images without one as well."
    bounds = sorted((sets["lump_from"], sets["no_lump_to"]))
    if not bounds[0] <= prediction.probability <= bounds[1]:  # between bounds and threshold
        why = "the threshold calls it one thing, and the bounds of referral the other."
    return f"<p><b>Refer to a reader</b>: {why}</p>"


def _bar(prediction: Prediction) -> str:
    share, threshold = 100 * prediction.probability, 100 * prediction.threshold
    said, mark = rounded_apart(prediction.probability, prediction.threshold)
    text = f"probability of a lump {said}; called lump from {mark} (the mark)"
    return (
        f'<div class="bar" role="img" aria-label="{text}">'
        f'<span class="{prediction.label}" style="width:{share:.1f}%"></span>'
        f'<i style="left:{threshold:.1f}%"></i></div><p class="soft">{text}</p>'
    )


def rounded_apart(probability: float, threshold: float) -> tuple[str, str]:
    """Return both with three digits, or as many as show on which side of the threshold one is."""
    for digits in range(3, 16):
        texts = f"{probability:.{digits}f}", f"{threshold:.{digits}f}"
        if (float(texts[0]) >= float(texts[1])) == (probability >= threshold):
            break
    return texts


def _of_the_image(prediction: Prediction) -> dict[str, str]:
    # That the model learned from phantoms stands above all images, once.
    return {flag: text for flag, text in prediction.reasons.items() if flag != PHANTOM_FLAG}


def _model_facts(info: Mapping[str, Any]) -> str:
    trained, auc = info["trained_on"], info["metrics"]["test"]["roc_auc"]
    sources = ", ".join(trained["sources"])
    text = (
        f"Network {info['model']}, trained on {trained['images']} images of {trained['groups']} "
        f"patients or scenes ({sources})."
    )
    if auc["value"] is None:
        return text
    of = _sources(info)
    where = f"images of {of} that nothing was fitted on" if of else "its own test images"
    if not of and (scored := info.get("scored")):
        where = f"images judged by those of its {scored['of']} networks that had not seen them"
    score = f" ROC-AUC on {where}: {auc['value']:.2f}"
    if auc["ci_low"] is not None:
        score += f" ({auc['ci_low']:.2f} to {auc['ci_high']:.2f})"
    return f"{text}{score}."


def _how_to_read(info: Mapping[str, Any]) -> str:
    items = [
        *_who_is_referred(info),
        _calibrated_on(info)
        + " At another hospital, with other scanners and other patients, it can be off in either "
        "direction.",
        "“Unusual” compares size, brightness, contrast, colour and detail with the smallest and "
        "largest values among the training images. An image without a remark can still be unlike "
        "them in ways that these numbers do not see.",
        "A handful of images shows how the model behaves; it does not measure how good it is. That "
        "takes images with known findings, hundreds of them.",
        "Only a file that is the same to the last byte is known again as one of the training "
        "images; a copy that was saved anew, or a near-duplicate, is not.",
    ]
    return f"<ul>{''.join(f'<li>{escape(item)}</li>' for item in items)}</ul>"


def _who_is_referred(info: Mapping[str, Any]) -> list[str]:
    if (sets := info.get("conformal")) is None:
        return ["This model does not say which images to refer to a reader."]
    of = _sources(info) or "the data that the model learned from"
    return [
        "“Refer to a reader”: the model's answer is not to be relied on, whichever it is. Of the "
        f"images with a lump and of those without, {100 * sets['coverage']:.0f} % are meant to be "
        "either referred or within the bounds of their own class, if they come from where the "
        f"bounds were fitted: {of}. An image that is not referred can still be called wrong."
    ]


def _sources(info: Mapping[str, Any]) -> str:
    """Return the data sets that a bundle was recalibrated for, or ""."""
    return ", ".join(info.get("recalibration", {}).get("sources", ()))


def _judged_by(info: Mapping[str, Any]) -> str:
    of = _sources(info)
    return f"images of {of} that nothing was fitted on" if of else "validation images"


def _calibrated_on(info: Mapping[str, Any]) -> str:
    if of := _sources(info):
        count = info["recalibration"]["n"]
        return f"The probability was recalibrated on {count} images of {of}."
    return (
        "The probability was calibrated on the validation images of the data that the model "
        "learned from."
    )


def _images(count: int) -> str:
    return "1 image" if count == 1 else f"{count} images"


def _are(count: int) -> str:
    return "is" if count == 1 else "are"
