"""`breastus check BUNDLE [IMAGE...]`: one HTML page about a model's predictions on images."""

import argparse
from pathlib import Path

from breastus.cli.options import IMAGES_HELP, add_data, add_out, free_name, image_files
from breastus.cli.quiet import import_tensorflow

EXAMPLES = (
    "breastus check models/efficientnet_lite0 image1.png image2.png",
    "breastus check models/efficientnet_lite0 --data path/to/images --count 12",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bundle", type=Path, help="a bundle or run folder, such as models/cnn")
    parser.add_argument("images", nargs="*", metavar="IMAGE", help=IMAGES_HELP)
    add_data(
        parser, "instead of images: a data set to draw them from, as for train (default: none)"
    )
    parser.add_argument(
        "--count", type=int, default=6, help="images to draw from --data (default: %(default)s)"
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="seed for drawing from --data (default: %(default)s)"
    )
    add_out(parser, "the page (default: check.html, or the next free check-2.html, ...)")


def run(args: argparse.Namespace) -> int:
    from breastus.errors import ConfigError, RunError

    if args.images and args.data:
        raise ConfigError("Give either image files or --data, not both.")
    if args.count < 1:
        raise ConfigError(f"--count must be at least 1. Received: {args.count}")
    if not args.images and not args.data:
        raise ConfigError(
            f"There are no images to check. Name some: breastus check {args.bundle} image.png (or "
            "a folder), or draw from a data set: --data path/to/images, hub or phantom."
        )
    if args.out and args.out.exists():
        raise RunError(f"{args.out} exists. Choose another --out, or delete it.")

    files = image_files(args.images)
    import_tensorflow()

    from breastus.deploy.predictor import Predictor
    from breastus.reporting.check_page import check, summary

    predictor = Predictor(args.bundle)
    out = args.out or free_name("check")
    predictions = check(predictor, _cases(args, files, predictor), out)
    print(summary(predictions))
    print(f"Page: {out}")
    return int(any(prediction.error for prediction in predictions))


def _cases(args: argparse.Namespace, files: list[Path], predictor) -> list:
    from breastus.data.manifest.build import load_manifest
    from breastus.data.manifest.schema import sample_balanced
    from breastus.reporting.check_page import Case

    if files:
        return [Case(path) for path in files]
    manifest = load_manifest(args.data, seed=args.seed)
    # Predictions on training images prove nothing, so images the model has not seen come first.
    new = manifest[[not predictor.has_seen(sha) for sha in manifest["sha256"]]]
    drawn = sample_balanced(new, args.count, seed=args.seed)
    if drawn.empty:
        drawn = sample_balanced(manifest, args.count, seed=args.seed)
    return [Case(row.path, row.finding) for row in drawn.itertuples()]
