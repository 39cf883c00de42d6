"""What every recipe here does: train its variants over seeds, one run after the other.

    if __name__ == "__main__":
        run(__doc__, "networks", VARIANTS)

A variant is a network and the settings it has besides those of `breastus.default_config`. Runs go
to `runs/<experiment>/<variant>-<seed>/`; one that is finished, or whose record is kept, is skipped,
one that was killed is taken up.
"""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from breastus.cli.options import add_data
from breastus.cli.quiet import import_tensorflow
from breastus.errors import BreastusError

RUNS, RECORDS = Path("runs"), Path(__file__).parent / "records"
SEEDS = 3


def run(doc: str, experiment: str, variants: Mapping[str, tuple[str, dict[str, Any]]]) -> None:
    """Parse the command line of a recipe and train what it asks for.

    Args:
        doc: the recipe's docstring; its first line is the help's.
        experiment: the recipe's name, and that of its folder of runs.
        variants: name to (network, settings).
    """
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    add_data(parser)
    parser.add_argument(
        "--only", nargs="+", choices=list(variants), metavar="VARIANT", help="default: all"
    )
    parser.add_argument("--seeds", type=int, default=SEEDS, help=f"how many (default: {SEEDS})")
    args = parser.parse_args()
    if args.seeds < 1:
        parser.error(f"--seeds must be at least 1. Received: {args.seeds}")
    import_tensorflow()
    try:
        for name in args.only or variants:
            for seed in range(args.seeds):
                _train(experiment, name, *variants[name], data=args.data, seed=seed)
    except BreastusError as error:
        raise SystemExit(f"error: {error}") from error


def _train(
    experiment: str, name: str, network: str, settings: dict[str, Any], *, data: str, seed: int
) -> None:
    from breastus.evaluation.evaluate import sentence
    from breastus.experiment import train
    from breastus.models.recipes import default_config
    from breastus.training.run import Run

    out = RUNS / experiment / f"{name}-{seed}"
    if Run(out).finished or (RECORDS / experiment / out.name).is_dir():
        print(f"{out}: finished before")
        return
    print(f"\n== {out}", flush=True)
    config = default_config(network).replace({**settings, "seed": seed})
    print(sentence(train(network, data=data, config=config, out=out).metrics), flush=True)
