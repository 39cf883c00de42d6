"""`breastus evaluate RUN`: metrics, figures and report again, from the run's predictions."""

import argparse
from pathlib import Path

from breastus.cli.quiet import import_tensorflow


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run_folder", type=Path, metavar="RUN", help="a run folder")


def run(args: argparse.Namespace) -> int:
    import_tensorflow()

    from breastus.evaluation.evaluate import sentence
    from breastus.judging import judge
    from breastus.training.run import Run

    print(sentence(judge(Run.load(args.run_folder))))
    print(f"Report: {args.run_folder / 'report.html'}")
    return 0
