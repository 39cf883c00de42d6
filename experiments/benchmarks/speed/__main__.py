"""How fast breastus is on this machine, beside what one would take instead: `make bench`.

    python -m experiments.benchmarks.speed --data path/to/BUSI             everything, two rounds
    python -m experiments.benchmarks.speed --quick                         one short round
    python -m experiments.benchmarks.speed --only cnn --only augmentation  some of it

Writes experiments/records/speed.json after every measurement and experiments/BENCH.md at the end.
Run it on a machine that does nothing else. The rivals live in an environment of their own, which
`make bench` makes of requirements.txt (several GB); without it their rows say so, and those of
torch.compile do without a C++ compiler.
"""

import argparse
import shlex
import sys
from pathlib import Path

from breastus.cli.options import add_data
from breastus.errors import RunError
from experiments.benchmarks.speed.process import Workers
from experiments.benchmarks.speed.report import page
from experiments.benchmarks.speed.results import Results
from experiments.benchmarks.speed.variants import NETWORKS, PARTS, variants
from experiments.pages import BENCH, HERE, run_script, write_section
from experiments.records import without_folders

_MODULE = "experiments.benchmarks.speed"


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog=f"python -m {_MODULE}", description=__doc__.splitlines()[0]
    )
    add_data(parser)
    parser.add_argument("--out", type=Path, default=BENCH, help="page (default: BENCH.md)")
    parser.add_argument("--figures", type=Path, default=HERE / "records" / "speed.json")
    parser.add_argument("--only", action="append", choices=PARTS, help="may be given several times")
    parser.add_argument("--quick", action="store_true", help="one round of two seconds each")
    parser.add_argument("--rounds", type=int, default=2, help="over all variants (default: 2)")
    parser.add_argument("--seconds", type=float, default=6.0, help="a measurement (default: 6)")
    parser.add_argument(
        "--rivals", type=Path, default=Path(".venv-bench"), help="their environment"
    )
    parser.add_argument("--launcher", default="", help="command to start each process with")
    arguments = sys.argv[1:] if arguments is None else arguments
    args = parser.parse_args(arguments)
    if args.quick:
        args.rounds, args.seconds = 1, 2.0

    parts = tuple(args.only or PARTS)
    if set(parts) & set(NETWORKS):  # their shares are of a peak measured in the same minutes
        parts = ("peak", *parts)
    workers = Workers(args.rivals, args.launcher)
    results = Results(args.figures, machine_and_versions(workers))
    job = {"seconds": args.seconds, "data": args.data or "auto"}
    if results.path.exists() and not results.rounds:
        print(f"{results.path} is of another machine or other versions and begins anew")
    command = without_folders(shlex.join(["python", "-m", _MODULE, *arguments]))
    try:
        measure(results, parts, workers, rounds=args.rounds, job=job)
    finally:  # what was measured before a Ctrl-C is shown as well
        write_section(args.out, "speed", page(results, command))
        print(f"{args.out} written")


def measure(
    results: Results, parts: tuple[str, ...], workers: Workers, *, rounds: int, job: dict
) -> None:
    """Measure the variants of some parts, round after round, so that a drift shows."""
    chosen = variants(parts)
    for number in range(rounds):
        for variant in chosen:
            if number and variant.part == "parts":  # a look, nothing that is compared
                continue
            print(f"round {number + 1} of {rounds}: {variant.key}", flush=True)
            result = workers.ask(variant.worker, {**job, **variant.job})
            if not number:
                results.forget(variant.key)
            results.add(variant.key, result)


def machine_and_versions(workers: Workers) -> dict:
    """Return what figures that stand beside each other must share."""
    ours = workers.ask("ours", {"what": "versions"})
    theirs = workers.ask("rivals", {"what": "versions"})
    if "error" in ours:
        raise RunError(f"TensorFlow does not start: {ours['error']}")
    return {**ours, "versions": {**ours["versions"], **theirs.get("versions", {})}}


if __name__ == "__main__":
    run_script(main)
