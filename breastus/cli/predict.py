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
    "breastus predict models/efficientnet_lite0 path/to/dicom --dicom results --deidentify",
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
    parser.add_argument(
        "--dicom",
        type=Path,
        metavar="OUT",
        help="a new folder for a picture and a structured report of each image, which must be a "
        "DICOM file (default: none)",
    )
    parser.add_argument(
        "--deidentify",
        action="store_true",
        help="leave patient and study out of the files of --dicom (default: take them over)",
    )


def run(args: argparse.Namespace) -> int:
    from breastus.errors import ConfigError, ImageError

    if args.deidentify and not args.dicom:
        raise ConfigError("--deidentify is for the files of --dicom OUT, which is missing.")
    files = image_files(args.images)
    import_tensorflow()

    from breastus.deploy.predictor import Predictor
    from breastus.reporting.dicom_result import DicomResults
    from breastus.reporting.facts import ModelFacts
    from breastus.reporting.texts import notices

    predictor = Predictor(args.bundle)
    model = ModelFacts.of_bundle(predictor.metadata)
    for notice in notices(model, phantom_images=False, patient_images=False):
        print(f"breastus: {notice}", file=sys.stderr)
    results = None
    if args.dicom:
        results = DicomResults(args.dicom, predictor.metadata, deidentify=args.deidentify)
    predictions, failed = [], False
    for file, prediction in zip(files, predictor.predict_each(files), strict=True):
        predictions.append(prediction)
        if prediction.error:
            print(f"breastus: error: {prediction.error}", file=sys.stderr)
            failed = True
            continue
        if args.format == "text":
            print(_line(prediction))
        try:
            if results:
                results.write(file, prediction)
        except ImageError as error:
            print(f"breastus: error: {error}", file=sys.stderr)
            failed = True
    if args.format == "json":
        rows = [prediction.to_dict() for prediction in predictions]
        print(json.dumps(rows, indent=2, ensure_ascii=False))
    return int(failed)


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
