"""`breastus evaluate RUN`: judge a run again, on images from elsewhere, or against another run."""

import argparse
from pathlib import Path

from breastus.cli.options import add_data, add_out
from breastus.cli.quiet import import_tensorflow


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run_folder", type=Path, metavar="RUN", help="a run folder")
    add_data(
        parser,
        "images from elsewhere to test on, on which nothing is fitted; several times for several "
        "data sets",
    )
    add_out(parser, "with --data, the report's folder (default: in the run)")
    parser.add_argument(
        "--against", type=Path, metavar="RUN", help="compare with another run, on the same images"
    )


def run(args: argparse.Namespace) -> int:
    import_tensorflow()

    from breastus.errors import ConfigError
    from breastus.evaluation.evaluate import sentence
    from breastus.training.run import Run

    trained = Run.load(args.run_folder)
    if args.against and args.data:
        raise ConfigError("--data and --against cannot be given together.")
    if args.out and not args.data:
        raise ConfigError("--out goes with --data.")
    if args.against:
        from breastus.comparing import compare_runs, comparison_sentence

        print(comparison_sentence(compare_runs(trained, Run.load(args.against))))
        return 0
    if args.data:
        from breastus.external import evaluate_external

        judged = evaluate_external(trained, args.data, out=args.out)
        print(sentence(judged.metrics))
        print(f"Report: {judged.path / 'report.html'}")
        return 0

    from breastus.judging import judge

    print(sentence(judge(trained)))
    print(f"Report: {args.run_folder / 'report.html'}")
    return 0
