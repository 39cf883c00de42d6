"""`breastus evaluate RUN`: evaluate again, on other images, or against another run."""

import argparse
from pathlib import Path

from breastus.cli.options import add_data, add_import, add_out
from breastus.config.parsing import join_labels
from breastus.utils.quiet import import_tensorflow

EXAMPLES = (
    "breastus evaluate runs/efficientnet_lite0 --data path/to/BUS-UCLM    # another hospital",
    "breastus evaluate runs/efficientnet_lite0 --robustness --severities 1 3 5",
    "breastus evaluate runs/efficientnet_lite0 --set evaluation.threshold=0.3",
    "breastus evaluate runs/efficientnet_lite0 --against runs/cnn",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "run_folder",
        type=Path,
        metavar="RUN",
        help="a run folder; with --data also a bundle such as models/cnn, or the folder of a "
        "cross-validation, whose bundle is evaluated",
    )
    parser.add_argument(
        "--against",
        type=Path,
        metavar="RUN",
        help="compare with another run on the same test images (default: no comparison)",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="evaluation.KEY=VALUE",
        help="evaluate the run again with another setting of its evaluation, which is written into "
        "the run; may be given several times (default: none)",
    )
    add_import(parser)
    external = parser.add_argument_group("external validation")
    add_data(
        external,
        "other images to evaluate on, with the calibration and threshold of the run; may be given "
        "several times (default: the run's own test images)",
    )
    add_out(external, "folder of the report (default: inside the run, or beside the bundle)")
    external.add_argument(
        "--recalibrate",
        type=int,
        metavar="N",
        help="recalibrate on N or slightly more labelled images (whole patients are drawn), and "
        "evaluate on the others before and after (default: no recalibration)",
    )
    external.add_argument(
        "--seed", type=int, help="seed of the images drawn for --recalibrate (default: the run's)"
    )
    robustness = parser.add_argument_group("robustness to image corruptions")
    robustness.add_argument(
        "--robustness",
        action="store_true",
        help="corrupt the test images, or the images of --data, and evaluate on them",
    )
    robustness.add_argument(
        "--severities",
        type=int,
        nargs="+",
        metavar="1-5",
        help="severity levels (default: 1 2 3 4 5)",
    )
    robustness.add_argument(
        "--corruptions",
        nargs="+",
        metavar="NAME",
        help="corruptions, such as blur gain_down (default: all nine)",
    )


def run(args: argparse.Namespace) -> int:
    import_tensorflow()

    from breastus.reporting.texts import verdict
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
        from breastus.reporting.texts import comparison_summary
        from breastus.workflows.compare import compare_runs

        print(comparison_summary(compare_runs(trained, Run.load(args.against))))
        return 0
    if args.robustness:
        from breastus.reporting.texts import robustness_summary
        from breastus.workflows.evaluate_robustness import evaluate_robustness

        found = evaluate_robustness(trained, **worse)
        print(verdict(trained.metrics))
        print(robustness_summary(found))
    else:
        from breastus.workflows.evaluate import evaluate_run

        print(verdict(evaluate_run(trained, settings=args.set)))
    print(f"Report: {args.run_folder / 'report.html'}")
    return 0


def _elsewhere(args: argparse.Namespace, worse: dict) -> int:
    """Evaluate on external images and print the result."""
    from breastus.reporting.texts import external_summary, verdict
    from breastus.workflows.validate_externally import evaluate_external

    external = evaluate_external(
        args.run_folder,
        args.data,
        labels=join_labels(args.labels or ()),
        out=args.out,
        recalibrate=args.recalibrate,
        seed=args.seed,
        robustness=args.robustness,
        **worse,
    )
    print(verdict(external.metrics))
    for text in external_summary(external):
        print(text)
    print(f"Report: {external.report}")
    if args.recalibrate is not None:
        print(f"Export: breastus export {args.run_folder} --recalibrated {external.path}")
    return 0


def _check_together(args: argparse.Namespace) -> None:
    """Raise ConfigError for options that do not go together."""
    from breastus.errors import ConfigError

    if args.against:
        for name in ("data", "robustness"):
            if getattr(args, name):
                raise ConfigError(
                    f"--{name} and --against cannot be given together: --against compares existing "
                    "test predictions. Run the command twice."
                )
    if args.labels and not args.data:
        raise ConfigError("--labels needs --data.")
    for name in ("data", "robustness", "against"):
        if args.set and getattr(args, name):
            raise ConfigError(
                f"--set and --{name} cannot be given together: --set fits calibration and "
                "threshold again on the run's own validation images. Run the command twice."
            )
    if args.out and not args.data:
        raise ConfigError("--out needs --data.")
    if args.recalibrate is not None and not args.data:
        raise ConfigError(
            "--recalibrate needs --data, the images of the new hospital. "
            f"Received: --recalibrate {args.recalibrate} alone"
        )
    if args.seed is not None and args.recalibrate is None:
        raise ConfigError("--seed needs --recalibrate: it decides which images are drawn.")
    for name in ("severities", "corruptions"):
        if getattr(args, name) is not None and not args.robustness:
            raise ConfigError(f"--{name} needs --robustness.")
