"""The check of a model on external images: a bundle and a few images in, one page out.

For each image: the prediction, whether a reader has to judge it, how often a similar probability
was right on the validation images, and what is unusual about the image. An image that cannot be
read is reported, and the check continues.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from breastus.data.images import ImageFile, read_image, to_png
from breastus.deploy.flags import PHANTOM, UNDECIDED, UNFAMILIAR
from breastus.evaluation.intervals.proportions import wilson_interval
from breastus.labels import LABELS, LUMP
from breastus.reporting import texts
from breastus.reporting.facts import ModelFacts
from breastus.reporting.format import count, listed, rounded_apart
from breastus.reporting.heat_map import heat_map
from breastus.reporting.notices import notices
from breastus.reporting.pictures import shrink, to_jpeg
from breastus.reporting.render import render, sentence
from breastus.utils.files import printable, write_text

if TYPE_CHECKING:  # they load TensorFlow
    from breastus.deploy.explainer import Explainer
    from breastus.deploy.predictor import Prediction, Predictor
    from breastus.explain.training_features import Neighbour

_SIDE = 480  # longer side of a picture on the page, in pixels
_SMALL_SIDE = 240  # the same of a similar training image


@dataclass(frozen=True)
class Case:
    """An image to check.

    Attributes:
        path: image file.
        known: known finding, such as "benign", or "".
    """

    path: str | os.PathLike
    known: str = ""


def check(
    predictor: "Predictor",
    cases: Sequence[Case],
    out: str | os.PathLike,
    *,
    explainer: "Explainer",
) -> list["Prediction"]:
    """Predict images, write the page, and return a prediction for each case.

    The prediction of an unreadable image has an `error`. `explainer` draws the lesion maps of the
    same bundle, if they may be shown.

    Raises:
        RunError: when the page cannot be written.
    """
    judged = predictor.predict_each(case.path for case in cases)
    predictions = list(tqdm(judged, "checking images", len(cases), leave=False, disable=None))
    write_text(out, check_page(predictor.metadata, cases, predictions, explainer=explainer))
    return predictions


def check_page(
    info: Mapping[str, Any],
    cases: Iterable[Case],
    predictions: Sequence["Prediction"],
    *,
    explainer: "Explainer",
) -> str:
    """Return the page as HTML; `info` is the content of bundle.json."""
    phantom = info["trained_on"]["phantom"]
    pairs = zip(cases, predictions, strict=True)
    shown = [_facts(info, *pair, explainer) for pair in pairs]
    return render(
        "check_page.html.j2",
        title=f"Check of “{info['model']}” on {count(len(shown), 'image')}",
        notices=notices(
            ModelFacts.of_bundle(info),
            patient_images=not phantom and any(case["picture"] for case in shown),
        ),
        info=info,
        recalibrated_for=hospital_of_recalibration(info),
        summary=summary(predictions),
        explanation=explainer.measured,
        no_lesion_map=texts.no_lesion_map(explainer.measured),
        cases=shown,
    )


def summary(predictions: Sequence["Prediction"]) -> str:
    """Return a summary of the predictions in one or two sentences."""
    read = [prediction for prediction in predictions if not prediction.error]
    return sentence(
        "text/check_summary.txt.j2",
        lumps=sum(prediction.label == LABELS[LUMP] for prediction in read),
        read=len(read),
        referred=sum(bool(prediction.referred) for prediction in read),
        unusual=sum(bool(unusual_facts(prediction)) for prediction in read),
        failed=len(predictions) - len(read),
    )


def how_sure(info: Mapping[str, Any], probability: float) -> str:
    """Return how often images with a similar calibrated probability had a lump."""
    bins = info["reliability"]
    if not bins:
        return sentence("text/how_sure.txt.j2", near=None)
    near = min(bins, key=lambda b: max(b["low"] - probability, probability - b["high"], 0.0))
    low, high = wilson_interval(near["lumps"], near["count"])
    sources = hospital_of_recalibration(info)
    return sentence(
        "text/how_sure.txt.j2",
        near=near,
        share={"value": near["lumps"] / near["count"], "ci_low": low, "ci_high": high},
        everywhere=sum(b["lumps"] for b in bins) / sum(b["count"] for b in bins),
        images=f"images of {sources} that nothing was fitted on"
        if sources
        else "validation images",
        probability=probability,
        threshold=info["threshold"],
    )


def _facts(
    info: Mapping[str, Any], case: Case, prediction: "Prediction", explainer: "Explainer"
) -> dict[str, Any]:
    """Return what the page shows of an image."""
    facts = {
        "name": printable(os.path.basename(case.path)),
        "known": case.known,
        "prediction": prediction,
        "picture": b"",
    }
    if prediction.error:
        return facts
    probability, threshold = rounded_apart(prediction.probability, prediction.threshold)
    side = "at least" if prediction.probability >= prediction.threshold else "below"
    file, mapped = ImageFile.read(case.path), b""
    pixels = file.pixels
    if explainer.has_maps and not prediction.unsuitable:
        mapped = to_png(heat_map(pixels, explainer.lesion_map(pixels), side=_SIDE))
    return facts | {
        "picture": to_png(pixels, side=_SIDE),
        "lesion_map": mapped,
        "similar": [] if prediction.unsuitable else _similar(explainer.similar_images(file)),
        "referral": referral_reasons(prediction),
        "bar": decision_bar(prediction.probability, prediction.threshold),
        "probability": f"P(lump) = {probability}, {side} the threshold {threshold}",
        "how_sure": how_sure(info, prediction.probability),
        "unusual": unusual_facts(prediction),
    }


def _similar(found: Sequence["Neighbour"]) -> list[dict[str, Any]]:
    """Return similar training images with their pictures, which are empty if no file is known."""
    pictures = [
        to_jpeg(shrink(read_image(one.path), _SMALL_SIDE)) if one.path else b"" for one in found
    ]
    return [
        {"known": one, "picture": picture} for one, picture in zip(found, pictures, strict=True)
    ]


def decision_bar(probability: float, threshold: float) -> dict[str, float]:
    """Return start and length of the bar in per cent.

    Its left half spans 0 to the threshold, its right half the threshold to 1.
    """
    if probability < threshold:
        reach = 50 * (1 - probability / threshold)
        return {"start": 50 - reach, "length": reach}
    return {"start": 50, "length": 50 * (probability - threshold) / (1 - threshold or 1)}


def referral_reasons(prediction: "Prediction") -> list[str]:
    """Return why a reader must look at the image; empty if none must."""
    causes = (*prediction.unsuitable, UNFAMILIAR, UNDECIDED)
    return [text for flag, text in prediction.reasons.items() if flag in causes]


def unusual_facts(prediction: "Prediction") -> list[str]:
    """Return further sentences on what is unusual about the image."""
    # Said above, as a reason to refer or in a notice.
    elsewhere = (*prediction.unsuitable, UNFAMILIAR, UNDECIDED, PHANTOM)
    return [text for flag, text in prediction.reasons.items() if flag not in elsewhere]


def hospital_of_recalibration(info: Mapping[str, Any]) -> str:
    """Return the data sets that a bundle was recalibrated for, or ""."""
    return listed(info.get("recalibration", {}).get("sources", ()))
