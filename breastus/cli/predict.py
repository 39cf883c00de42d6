"""`breastus predict [MODEL] IMAGE...`: one line, JSON object or row of a table per image."""

import argparse
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from breastus.cli.images import MODEL_AND_IMAGES_HELP, model_and_images
from breastus.errors import ConfigError, ImageError

if TYPE_CHECKING:
    from breastus.deploy.predictor import Prediction
    from breastus.reporting.dicom_result import DicomResults

EXAMPLES = (
    "breastus predict image.png",
    "breastus predict models/efficientnet_lite0 image1.png image2.png",
    "breastus predict runs/efficientnet_lite0 path/to/images --format json",
    "breastus predict models/efficientnet_lite0 path/to/images --format csv --out lumps.csv",
    "breastus predict models/efficientnet_lite0 path/to/dicom --dicom results --deidentify",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "model_and_images", nargs="+", metavar="[MODEL] IMAGE", help=MODEL_AND_IMAGES_HELP
    )
    parser.add_argument(
        "--format",
        choices=("text", "json", "csv", "parquet"),
        default="text",
        help="output format (default: %(default)s)",
    )
    parser.add_argument(
        "--out",
        type=Path,
        help="file of json, csv or parquet (default: printed, which parquet cannot be)",
    )
    parser.add_argument(
        "--runtime",
        choices=("tensorflow", "onnx", "litert"),
        help="where the graph runs (default: the first that is installed and in the bundle)",
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
    if args.format == "parquet" and args.out is None:
        raise ConfigError("--format parquet needs a file. Name one: --out predictions.parquet")
    if args.format == "text" and args.out is not None:
        raise ConfigError("--out needs a format. Choose one: --format json, csv or parquet")
    if args.deidentify and not args.dicom:
        raise ConfigError("--deidentify is for the files of --dicom OUT, which is missing.")
    model, files = model_and_images(args.model_and_images)
    if not files:
        raise ConfigError(
            f"There are no images to predict. Name some: breastus predict {model} image.png"
        )

    from breastus.deploy.predictor import Predictor
    from breastus.reporting.facts import ModelFacts
    from breastus.reporting.notices import notices

    predictor = Predictor(model, runtime=args.runtime)
    facts = ModelFacts.of_bundle(predictor.metadata)
    for notice in notices(facts, phantom_images=False, patient_images=False):
        print(f"breastus: {notice}", file=sys.stderr)
    predictions = zip(files, predictor.predict_each(files), strict=True)
    results = None
    if args.dicom:
        from breastus.reporting.dicom_result import DicomResults

        results = DicomResults(args.dicom, predictor.metadata, deidentify=args.deidentify)
    if args.format == "text":
        return _report(predictions, lambda prediction: print(_line(prediction)), results)
    from breastus.deploy.prediction_files import prediction_file
    from breastus.utils.threads import progress

    findings = predictor.metadata.get("findings") or ()
    predictions = progress(predictions, "predicting", len(files))
    with prediction_file(args.format, args.out, findings=findings) as write:
        return _report(predictions, write, results, errors_too=True)


def _report(
    predictions: Iterable[tuple[Path, "Prediction"]],
    write: Callable[["Prediction"], None],
    results: "DicomResults | None",
    *,
    errors_too: bool = False,
) -> int:
    """Write predictions, print errors, and return 1 if there was one."""
    failed = 0
    for file, prediction in predictions:
        errors = [prediction.error] if prediction.error else []
        if errors_too or not errors:
            write(prediction)
        if results and not errors:
            try:
                results.write(file, prediction)
            except ImageError as error:
                errors.append(str(error))
        for error in errors:
            failed = 1
            print(f"breastus: error: {error}", file=sys.stderr)
    return failed


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
