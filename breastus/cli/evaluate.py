"""`breastus evaluate RUN`: judge a run again, against another one, or any model elsewhere."""

import argparse
from pathlib import Path

from breastus.cli.options import add_data, add_out
from breastus.cli.quiet import import_tensorflow


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "run_folder",
        type=Path,
        metavar="RUN",
        help="a run folder; with --data also a bundle, such as models/cnn, or the folder of a "
        "cross-validation, for the bundle in it",
    )
    add_data(
        parser,
        "images from elsewhere to test on; nothing is fitted on them but with --recalibrate; "
        "several times for several data sets",
    )
    add_out(parser, "with --data, the report's folder (default: in the run, beside a bundle)")
    parser.add_argument(
        "--recalibrate",
        type=int,
        metavar="N",
        help="with --data: recalibrate on N labelled images or a few more, as whole patients are "
        "drawn, and judge on the others before and after",
    )
    parser.add_argument(
        "--seed", type=int, help="with --recalibrate: decides which are drawn (default: the run's)"
    )
    parser.add_argument(
        "--robustness",
        action="store_true",
        help="make the test images, or those of --data, worse on purpose, and judge them",
    )
    parser.add_argument(
        "--severities",
        type=int,
        nargs="+",
        metavar="1-5",
        help="with --robustness: how much worse (default: all of 1 2 3 4 5)",
    )
    parser.add_argument(
        "--corruptions",
        nargs="+",
        metavar="NAME",
        help="with --robustness: in which ways, such as blur gain_down (default: all)",
    )
    parser.add_argument(
        "--against", type=Path, metavar="RUN", help="compare with another run, on the same images"
    )


def run(args: argparse.Namespace) -> int:
    import_tensorflow()

    from breastus.reporting.result_sentence import sentence
    from breastus.runs.run import Run

    _check_together(args)
    worse = {
        name: getattr(args, name)
        for name in ("severities", "corruptions")
        if getattr(args, name) is not None
    }
    if args.data:
        return _elsewhere(args, worse)
    trained = Run.load(args.run_folder)
    if args.against:
        from breastus.workflows.compare import compare_runs, comparison_summary

        print(comparison_summary(compare_runs(trained, Run.load(args.against))))
        return 0
    if args.robustness:
        from breastus.reporting.robustness_section import robustness_lead
        from breastus.workflows.evaluate_robustness import evaluate_robustness

        found = evaluate_robustness(trained, **worse)
        print(sentence(trained.metrics))
        print(robustness_lead(found))
    else:
        from breastus.workflows.evaluate import evaluate_run

        print(sentence(evaluate_run(trained)))
    print(f"Report: {args.run_folder / 'report.html'}")
    return 0


def _elsewhere(args: argparse.Namespace, worse: dict) -> int:
    """Judge on images from elsewhere and say what came out."""
    from breastus.reporting.result_sentence import sentence
    from breastus.workflows.validate_externally import evaluate_external

    judged = evaluate_external(
        args.run_folder,
        args.data,
        out=args.out,
        recalibrate=args.recalibrate,
        seed=args.seed,
        robustness=args.robustness,
        **worse,
    )
    print(sentence(judged.metrics))
    for text in (judged.left_out, *judged.lead):
        print(text)
    print(f"Report: {judged.path / 'report.html'}")
    if args.recalibrate is not None:
        print(f"Export: breastus export {args.run_folder} --recalibrated {judged.path}")
    return 0


def _check_together(args: argparse.Namespace) -> None:
    """Raise ConfigError for options that do not go together."""
    from breastus.errors import ConfigError

    if args.against:
        for name in ("data", "robustness"):
            if getattr(args, name):
                raise ConfigError(
                    f"--{name} and --against cannot be given together: --against compares test "
                    "predictions that are there. Run the command twice."
                )
    if args.out and not args.data:
        raise ConfigError("--out goes with --data.")
    if args.recalibrate is not None and not args.data:
        raise ConfigError(
            "--recalibrate goes with --data, the images of the new hospital. "
            f"Received: --recalibrate {args.recalibrate} alone"
        )
    if args.seed is not None and args.recalibrate is None:
        raise ConfigError("--seed goes with --recalibrate: it decides which images are drawn.")
    for name in ("severities", "corruptions"):
        if getattr(args, name) is not None and not args.robustness:
            raise ConfigError(f"--{name} goes with --robustness.")
