"""`breastus check [MODEL] [IMAGE...]`: one HTML page about a model's predictions on images."""

import argparse

from breastus.cli.images import MODEL_AND_IMAGES_HELP, model_and_images
from breastus.cli.options import add_data, add_out
from breastus.config.parsing import join_labels
from breastus.utils.quiet import import_tensorflow

EXAMPLES = (
    "breastus check left.png right.png",
    "breastus check models/efficientnet_lite0 image1.png image2.png",
    "breastus check models/efficientnet_lite0 --data path/to/images --count 12",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "model_and_images", nargs="*", metavar="[MODEL] IMAGE", help=MODEL_AND_IMAGES_HELP
    )
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
    from breastus.errors import ConfigError

    if args.count < 1:
        raise ConfigError(f"--count must be at least 1. Received: {args.count}")
    model, files = model_and_images(args.model_and_images)
    if files and args.data:
        raise ConfigError("Give either image files or --data, not both.")
    if not files and not args.data:
        raise ConfigError(
            "There are no images to check. Name some: breastus check left.png right.png (or a "
            "folder), or draw from a data set: --data path/to/images, hub or phantom."
        )
    import_tensorflow()

    from breastus.workflows.check import check

    report = check(
        model,
        files,
        data=args.data,
        labels=join_labels(args.labels or ()),
        count=args.count,
        seed=args.seed,
        out=args.out,
    )
    print(report.summary)
    print(f"Page: {report.page}")
    return int(any(prediction.error for prediction in report.predictions))
