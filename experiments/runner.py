"""What every recipe here does: train its variants over seeds, one run after the other.

    if __name__ == "__main__":
        run(__doc__, "networks", VARIANTS)

A variant is a network and the settings it has besides those of `breastus.default_config`. Runs go
to `runs/<experiment>/<variant>-<seed>/`; one that is finished, or whose record is kept, is skipped,
one that was killed is taken up. Each run is a process of its own, so that its peak memory is its
own too. The images are prepared (read, hashed, compared with each other) once for all runs by

    breastus data prepare --data path/to/BUSI --out busi    # then: --data busi
"""

import argparse
import multiprocessing
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from breastus.cli.options import add_data
from breastus.cli.quiet import import_tensorflow
from breastus.errors import BreastusError
from breastus.training.run import BUNDLE_FOLDER

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
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="SECTION.KEY=VALUE",
        help="change a setting of all these runs, such as training.epochs=2",
    )
    args = parser.parse_args()
    if args.seeds < 1:
        parser.error(f"--seeds must be at least 1. Received: {args.seeds}")
    runs = [
        (RUNS / experiment / f"{name}-{seed}", *variants[name], seed)
        for name in args.only or variants
        for seed in range(args.seeds)
    ]
    processes = ProcessPoolExecutor(
        1, mp_context=multiprocessing.get_context("spawn"), max_tasks_per_child=1
    )
    with processes:
        for out, network, settings, seed in runs:
            if (out / BUNDLE_FOLDER).is_dir() or (RECORDS / experiment / out.name).is_dir():
                print(f"{out}: finished before", flush=True)
                continue
            print(f"\n== {out}", flush=True)
            try:
                processes.submit(_train, out, network, settings, args.set, args.data, seed).result()
            except BreastusError as error:
                raise SystemExit(f"error: {error}") from error


def _train(
    out: Path,
    network: str,
    settings: dict[str, Any],
    changes: list[str],
    data: list[str],
    seed: int,
) -> None:
    import_tensorflow()
    from breastus.evaluation.evaluate import sentence
    from breastus.experiment import train
    from breastus.models.recipes import default_config

    config = default_config(network).replace({**settings, "seed": seed}).override(changes)
    print(sentence(train(network, data=data, config=config, out=out).metrics), flush=True)
