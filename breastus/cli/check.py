"""`breastus check BUNDLE [IMAGE...]`: one HTML page on what a model makes of some images."""

import argparse
from pathlib import Path

from breastus.cli.options import add_data, add_out, free_name
from breastus.cli.quiet import import_tensorflow


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bundle", type=Path, help="a bundle folder, such as models/cnn")
    parser.add_argument("images", type=Path, nargs="*", metavar="IMAGE", help="image files")
    add_data(parser)
    parser.add_argument(
        "--count", type=int, default=6, help="images to draw from --data (default: 6)"
    )
    parser.add_argument("--seed", type=int, default=0, help="decides which are drawn (default: 0)")
    add_out(parser, "the page (default: check.html, or the next free check-2.html, ...)")


def run(args: argparse.Namespace) -> int:
    from breastus.errors import ConfigError, RunError

    if args.images and args.data:
        raise ConfigError("Name images or --data, not both.")
    if args.count < 1:
        raise ConfigError(f"--count must be at least 1. Received: {args.count}")
    if args.out and args.out.exists():
        raise RunError(f"{args.out} exists. Choose another --out, or delete it.")

    import_tensorflow()

    from breastus.deploy.predictor import Predictor
    from breastus.reporting.check_page import check, summary

    predictor = Predictor(args.bundle)
    out = args.out or free_name("check")
    predictions = check(predictor, _cases(args, predictor), out)
    print(summary(predictions))
    print(f"Page: {out}")
    return int(any(prediction.error for prediction in predictions))


def _cases(args: argparse.Namespace, predictor) -> list:
    from breastus.data.manifest.build import handful, load_manifest
    from breastus.reporting.check_page import Case

    if args.images:
        return [Case(path) for path in args.images]
    manifest = load_manifest(args.data or "auto", seed=args.seed)
    # What the model says of images that it learned from proves nothing, so others come first.
    new = manifest[[not predictor.has_seen(sha) for sha in manifest["sha256"]]]
    drawn = handful(new, args.count, seed=args.seed)
    if drawn.empty:
        drawn = handful(manifest, args.count, seed=args.seed)
    return [Case(row.path, row.finding) for row in drawn.itertuples()]
