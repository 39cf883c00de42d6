"""`breastus train MODEL`: data in, a finished run folder out."""

import argparse
import sys
from pathlib import Path

from breastus.cli.options import add_data, add_out, add_settings, settings
from breastus.cli.quiet import import_tensorflow
from breastus.config.presets import default_config
from breastus.config.schema import Config
from breastus.errors import ConfigError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", help="a network, such as cnn")
    add_data(parser)
    add_out(parser, "the run folder (default: the next free one below runs/)")
    add_settings(parser)
    parser.add_argument(
        "--folds",
        type=int,
        metavar="K",
        help="cross-validate: train once for each of K folds, and judge the pooled predictions",
    )
    parser.add_argument(
        "--repeats", type=int, metavar="N", help="with --folds: draw folds N times (default: 3)"
    )
    parser.add_argument(
        "--val-rotations",
        type=int,
        metavar="N",
        help="with --folds: average N networks a fold, each with another validation part "
        "(default: 1)",
    )
    parser.add_argument(
        "--publish", type=Path, metavar="FOLDER", help="copy the finished bundle to this folder"
    )


def run(args: argparse.Namespace) -> int:
    config = settings(args, default_config(args.model))
    for option, example in (("repeats", 3), ("val-rotations", 4)):
        if getattr(args, option.replace("-", "_")) is not None and args.folds is None:
            raise ConfigError(
                f"--{option} goes with --folds, such as --folds 5 --{option} {example}."
            )
    if args.folds is not None and args.publish:
        raise ConfigError("--publish is of one run; export the folds together: breastus export.")
    import_tensorflow()
    if args.folds is not None:
        return _cross_validate(args, config)

    from breastus.reporting.result_sentence import sentence
    from breastus.workflows.train import train

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


def _cross_validate(args: argparse.Namespace, config: Config) -> int:
    from breastus.reporting.cross_validation_report import sentence
    from breastus.workflows.cross_validate import REPEATS, cross_validate

    try:
        result = cross_validate(
            args.model,
            config=config,
            out=args.out,
            folds=args.folds,
            repeats=REPEATS if args.repeats is None else args.repeats,
            val_rotations=1 if args.val_rotations is None else args.val_rotations,
        )
    except KeyboardInterrupt:
        print("\nbreastus: interrupted; the same command goes on from there", file=sys.stderr)
        return 130
    print(sentence(result.metrics))
    print(f"Report: {result.path / 'report.html'}")
    return 0
