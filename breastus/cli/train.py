"""`breastus train NETWORK`: data in, a finished run folder out."""

import argparse
import sys
from pathlib import Path

from breastus.cli.networks import network_list
from breastus.cli.options import SHORTCUTS, add_data, add_out, add_settings, settings
from breastus.config.presets import default_config
from breastus.config.schema import Config
from breastus.errors import ConfigError
from breastus.utils.quiet import import_tensorflow

EXAMPLES = (
    "breastus train efficientnet_lite0 --data path/to/BUSI",
    "breastus train compact --data path/to/BUSI --folds 5 --repeats 3",
    "breastus settings efficientnet_lite0    # the defaults of a network",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = f"{network_list()}\n\n{parser.epilog}"
    parser.add_argument("model", metavar="NETWORK", help="one of the networks below")
    add_data(parser)
    add_out(parser, "the run folder (default: runs/NETWORK, or the next free number)")
    parser.add_argument(
        "--publish",
        type=Path,
        metavar="FOLDER",
        help="also copy the finished bundle to this folder (default: no)",
    )
    folds = parser.add_argument_group("cross-validation")
    folds.add_argument(
        "--folds",
        type=int,
        metavar="K",
        help="train once for each of K folds and evaluate the pooled predictions (default: one "
        "training)",
    )
    folds.add_argument(
        "--repeats", type=int, metavar="N", help="draw the folds N times (default: 3)"
    )
    folds.add_argument(
        "--val-rotations",
        type=int,
        metavar="N",
        help="average N networks a fold, each with another validation part (default: 1)",
    )
    add_settings(parser, *SHORTCUTS)


def run(args: argparse.Namespace) -> int:
    config = settings(args, default_config(args.model))
    for option, example in (("repeats", 3), ("val-rotations", 4)):
        if getattr(args, option.replace("-", "_")) is not None and args.folds is None:
            raise ConfigError(f"--{option} needs --folds, such as --folds 5 --{option} {example}.")
    if args.folds is not None and args.publish:
        raise ConfigError(
            "--publish takes one run. Export the folds as one bundle instead: breastus export RUN."
        )
    import_tensorflow()
    if args.folds is not None:
        return _cross_validate(args, config)

    from breastus.reporting.texts import verdict
    from breastus.workflows.train import train

    try:
        finished = train(args.model, config=config, out=args.out, publish=args.publish)
    except KeyboardInterrupt:
        print(
            "\nbreastus: interrupted; the same command continues after the last saved epoch",
            file=sys.stderr,
        )
        return 130
    print(verdict(finished.metrics))
    print(f"Report: {finished.path / 'report.html'}")
    print(f"Bundle: {args.publish or finished.bundle}")
    return 0


def _cross_validate(args: argparse.Namespace, config: Config) -> int:
    from breastus.reporting.texts import verdict
    from breastus.workflows.cross_validate import REPEATS, cross_validate

    try:
        result = cross_validate(
            args.model,
            config=config,
            out=args.out,
            folds=args.folds,
            repeats=args.repeats if args.repeats is not None else REPEATS,
            val_rotations=args.val_rotations if args.val_rotations is not None else 1,
        )
    except KeyboardInterrupt:
        print("\nbreastus: interrupted; the same command continues from there", file=sys.stderr)
        return 130
    print(verdict(result.metrics))
    print(f"Report: {result.path / 'report.html'}")
    return 0
