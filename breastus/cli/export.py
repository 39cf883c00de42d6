"""`breastus export RUN --out FOLDER`: copy a run's bundle to where it is served from."""

import argparse
from pathlib import Path

from breastus.cli.options import add_out
from breastus.cli.quiet import import_tensorflow


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run_folder", type=Path, metavar="RUN", help="a finished run folder")
    add_out(parser, "the bundle's folder (default: models/<model>)")


def run(args: argparse.Namespace) -> int:
    import_tensorflow()

    from breastus.deploy.export import publish
    from breastus.errors import BundleError
    from breastus.training.run import Run

    trained = Run.load(args.run_folder)
    out = args.out or Path("models", trained.config.model.name)
    if out.exists():
        raise BundleError(f"{out} exists. Choose another --out, or delete it.")
    print(f"Bundle: {publish(trained.bundle, out)}")
    return 0
