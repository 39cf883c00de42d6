"""`breastus train MODEL`: data in, a finished run folder out."""

import argparse
import sys
from pathlib import Path

from breastus.cli.options import add_data, add_out, add_settings, settings
from breastus.cli.quiet import import_tensorflow
from breastus.models.recipes import default_config


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", help="a network, such as cnn")
    add_data(parser)
    add_out(parser, "the run folder (default: the next free one below runs/)")
    add_settings(parser)
    parser.add_argument(
        "--publish", type=Path, metavar="FOLDER", help="copy the finished bundle to this folder"
    )


def run(args: argparse.Namespace) -> int:
    config = settings(args, default_config(args.model))
    import_tensorflow()

    from breastus.evaluation.evaluate import sentence
    from breastus.experiment import train

    try:
        finished = train(args.model, config=config, out=args.out, publish=args.publish)
    except KeyboardInterrupt:
        print(
            "\nbreastus: interrupted; the same command goes on from the last epoch", file=sys.stderr
        )
        return 130
    print(sentence(finished.metrics))
    print(f"Report: {finished.path / 'report.html'}")
    print(f"Bundle: {args.publish or finished.bundle}")
    return 0
