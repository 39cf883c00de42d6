"""`breastus predict [MODEL] IMAGE...`: one line, or one JSON object, per image."""

import argparse
import json
import sys
from typing import TYPE_CHECKING

from breastus.cli.options import MODEL_AND_IMAGES_HELP, model_and_images
from breastus.utils.quiet import import_tensorflow

if TYPE_CHECKING:
    from breastus.deploy.predictor import Prediction

EXAMPLES = (
    "breastus predict image.png",
    "breastus predict models/efficientnet_lite0 image1.png image2.png",
    "breastus predict runs/efficientnet_lite0 path/to/images --format json",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "model_and_images", nargs="+", metavar="[MODEL] IMAGE", help=MODEL_AND_IMAGES_HELP
    )
    parser.add_argument(
        "--format",
        choices=("text", "json"),
        default="text",
        help="output format (default: %(default)s)",
    )


def run(args: argparse.Namespace) -> int:
    from breastus.errors import ConfigError

    model, files = model_and_images(args.model_and_images)
    if not files:
        raise ConfigError(
            f"There are no images to predict. Name some: breastus predict {model} image.png"
        )
    import_tensorflow()

    from breastus.deploy.predictor import Predictor
    from breastus.reporting.facts import ModelFacts
    from breastus.reporting.texts import notices

    predictor = Predictor(model)
    facts = ModelFacts.of_bundle(predictor.metadata)
    for notice in notices(facts, phantom_images=False, patient_images=False):
        print(f"breastus: {notice}", file=sys.stderr)
    predictions = []
    for prediction in predictor.predict_each(files):
        predictions.append(prediction)
        if prediction.error:
            print(f"breastus: error: {prediction.error}", file=sys.stderr)
        elif args.format == "text":
            print(_line(prediction))
    if args.format == "json":
        rows = [prediction.to_dict() for prediction in predictions]
        print(json.dumps(rows, indent=2, ensure_ascii=False))
    return int(any(prediction.error for prediction in predictions))


def _line(prediction: "Prediction") -> str:
    from breastus.reporting.format import rounded_apart

    probability, threshold = rounded_apart(prediction.probability, prediction.threshold)
    side = "at least" if prediction.probability >= prediction.threshold else "below"
    answer = f"{prediction.label}, P(lump) = {probability}, {side} the threshold {threshold}"
    if prediction.unsuitable:
        why = "; ".join(prediction.reasons[flag] for flag in prediction.unsuitable)
        return (
            f"{prediction.path}: refer to a reader, an image the model was not made for: {why}  "
            f"(it would answer {answer})"
        )
    referred = ", refer to a reader" if prediction.referred else ""
    flags = f"  ({', '.join(prediction.flags)})" if prediction.flags else ""
    return f"{prediction.path}: {answer}{referred}{flags}"
