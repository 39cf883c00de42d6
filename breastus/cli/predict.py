"""`breastus predict BUNDLE IMAGE...`: one line, or one JSON object, per image."""

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from breastus.cli.options import IMAGES_HELP, image_files
from breastus.utils.quiet import import_tensorflow

if TYPE_CHECKING:
    from breastus.deploy.predictor import Prediction

EXAMPLES = (
    "breastus predict models/efficientnet_lite0 image1.png image2.png",
    "breastus predict runs/efficientnet_lite0 path/to/images --format json",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bundle", type=Path, help="a bundle or run folder, such as models/cnn")
    parser.add_argument("images", nargs="+", metavar="IMAGE", help=IMAGES_HELP)
    parser.add_argument(
        "--format",
        choices=("text", "json"),
        default="text",
        help="output format (default: %(default)s)",
    )


def run(args: argparse.Namespace) -> int:
    files = image_files(args.images)
    import_tensorflow()

    from breastus.deploy.predictor import Predictor
    from breastus.reporting.facts import ModelFacts
    from breastus.reporting.texts import notices

    predictor = Predictor(args.bundle)
    model = ModelFacts.of_bundle(predictor.metadata)
    for notice in notices(model, phantom_images=False, patient_images=False):
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
