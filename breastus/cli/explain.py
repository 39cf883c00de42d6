"""`breastus explain RUN`: measure its lesion maps; with images, draw maps on them."""

import argparse
import sys
from pathlib import Path

from breastus.cli.images import IMAGES_HELP, image_files
from breastus.cli.options import add_data, add_import, add_out
from breastus.config.parsing import join_labels
from breastus.utils.quiet import import_tensorflow

EXAMPLES = (
    "breastus explain runs/efficientnet_lite0    # first: do its maps find lesions?",
    "breastus explain runs/efficientnet_lite0 image1.png image2.png --out maps",
    "breastus explain runs/efficientnet_lite0 --data path/to/BUS-UCLM",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "model",
        type=Path,
        metavar="MODEL",
        help="a finished run folder or a cross-validation; with images or --data also a "
        "bundle such as models/cnn",
    )
    parser.add_argument(
        "images",
        nargs="*",
        metavar="IMAGE",
        help=f"{IMAGES_HELP} (default: none; the maps of the run's test images are measured)",
    )
    add_data(parser, "another data set to measure on; nothing is written (default: none)")
    add_import(parser)
    add_out(parser, "a new folder for the pictures, needed with images (default: none)")


def run(args: argparse.Namespace) -> int:
    from breastus.errors import ConfigError

    if args.images and args.data:
        raise ConfigError("Give either image files or --data, not both.")
    if bool(args.images) != (args.out is not None):
        raise ConfigError(
            "Images and --out belong together: with both, maps are drawn; without, the maps of "
            f"the run are measured. Received: {len(args.images)} images, --out {args.out}"
        )
    files = image_files(args.images)
    import_tensorflow()

    if not files:
        return _measure(args)
    from breastus.workflows.explain import explain_images

    explained = explain_images(args.model, files, out=args.out)
    if explained.no_lesion_map:
        print(explained.no_lesion_map)
    for image in explained.images:
        if image.error:
            print(f"breastus: error: {image.error}", file=sys.stderr)
            continue
        print(f"{image.path}: {image.picture or 'no lesion map'}")
        for one in image.similar:
            print(f"  similar: {one.image_id}, {one.label}, distance {one.distance:.2f}")
    return int(any(image.error for image in explained.images))


def _measure(args: argparse.Namespace) -> int:
    """Measure the maps on the run's test images or on other ones, and print the result."""
    from breastus.reporting.texts import explanation_summary
    from breastus.runs.cross_validation import CrossValidation
    from breastus.workflows.explain import external_lesion_maps, measure_lesion_maps

    if args.data:
        labels = join_labels(args.labels or ())
        print(explanation_summary(external_lesion_maps(args.model, args.data, labels=labels)))
        return 0
    print(explanation_summary(measure_lesion_maps(args.model)))
    if CrossValidation.is_one(args.model):
        print(f"For a bundle that shows the maps: breastus export {args.model}")
    else:
        print(f"Report: {args.model / 'report.html'}")
    return 0
