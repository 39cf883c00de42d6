"""The web page of `breastus demo`: the content of a bundle.json in, its files and results out."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from breastus.labels import KNOWN_FINDINGS
from breastus.reporting.check_page import (
    decision_bar,
    hospital_of_recalibration,
    how_sure,
    referral_reasons,
    unusual_facts,
)
from breastus.reporting.facts import ModelFacts
from breastus.reporting.format import rounded_apart
from breastus.reporting.notices import notices
from breastus.reporting.render import TEMPLATES, render

if TYPE_CHECKING:  # it loads TensorFlow
    from breastus.deploy.predictor import Prediction


def page_files(
    info: Mapping[str, Any], *, examples: Sequence[bytes], max_bytes: int
) -> dict[str, tuple[bytes, str]]:
    """Return the files of the page: path to content and media type.

    Args:
        info: content of bundle.json.
        examples: PNG of a simulated image of each finding, in the order of `KNOWN_FINDINGS`.
        max_bytes: largest file that the server takes.
    """
    page = render(
        "demo/page.html.j2",
        info=info,
        notices=notices(ModelFacts.of_bundle(info)),
        recalibrated_for=hospital_of_recalibration(info),
        findings=KNOWN_FINDINGS,
        max_bytes=max_bytes,
    )
    script = (TEMPLATES / "demo/demo.js").read_bytes()
    return {
        "": (page.encode(), "text/html"),
        "style.css": (render("demo/style.css.j2").encode(), "text/css"),
        "demo.js": (script, "text/javascript"),
        **{f"example/{n}.png": (png, "image/png") for n, png in enumerate(examples)},
    }


def result(info: Mapping[str, Any], prediction: "Prediction", picture: bytes) -> str:
    """Return what the page shows of an image as HTML, without a name, which the server never has.

    Args:
        info: content of bundle.json.
        prediction: prediction for an image that could be read.
        picture: PNG of the image.
    """
    probability, threshold = rounded_apart(prediction.probability, prediction.threshold)
    side = "at least" if prediction.probability >= prediction.threshold else "below"
    return render(
        "demo/result.html.j2",
        prediction=prediction,
        picture=picture,
        referral=referral_reasons(prediction),
        bar=decision_bar(prediction.probability, prediction.threshold),
        probability=f"P(lump) = {probability}, {side} the threshold {threshold}",
        how_sure=how_sure(info, prediction.probability),
        unusual=unusual_facts(prediction),
    )
