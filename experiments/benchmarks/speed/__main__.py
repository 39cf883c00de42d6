"""Speed of breastus on this machine, beside PyTorch, timm, albumentations and torchvision.

    python -m experiments.benchmarks.speed --data path/to/BUSI             everything, two rounds
    python -m experiments.benchmarks.speed --quick                         one short round
    python -m experiments.benchmarks.speed --only cnn --only augmentation  some parts

`make bench` installs the libraries compared with (requirements.txt, several GB) in an environment
of their own and runs this; without them their rows say so, and without a C++ compiler so do the
rows of torch.compile. It writes experiments/records/speed.json after every measurement and
experiments/BENCH.md at the end; parts that are not measured keep their figures. Two cores: about an
hour, on a machine that does nothing else.
"""

import argparse
import json
import os
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from breastus.cli.options import add_data
from breastus.errors import RunError
from breastus.utils.threads import usable_cores
from experiments.benchmarks.process import last_json
from experiments.benchmarks.speed.figures import Figures
from experiments.benchmarks.speed.report import page
from experiments.benchmarks.speed.variants import NETWORKS, PARTS, variants
from experiments.pages import BENCH, HERE, run_script, write_section
from experiments.records import without_folders

_MODULE = "experiments.benchmarks.speed"


@dataclass(frozen=True)
class Workers:
    """The modules that measure, each started with its own Python and all usable cores.

    Attributes:
        rivals: folder of the environment with the libraries compared with, or its Python.
        launcher: command that starts each process, such as `numactl --cpunodebind=0`.
        limit: time limit of a job in seconds; compiling Swin takes minutes.
    """

    rivals: Path
    launcher: str = ""
    limit: float = 600.0

    def ask(self, worker: str, job: dict[str, Any], limit: float | None = None) -> dict[str, Any]:
        """Return the result of a job, or `{"error": message}`.

        Args:
            worker: "ours" or "rivals", a module of this package.
            job: arguments of the job, with its name under `what`.
            limit: time limit in seconds; None takes the one of all jobs.
        """
        python, paths = Path(sys.executable), {}
        if worker == "rivals":
            python = self.rivals
            if not python.is_file():
                python /= "Scripts/python.exe" if os.name == "nt" else "bin/python"
            # Of our environment, which may have other libraries of the same name.
            paths = dict.fromkeys(("PYTHONPATH", "LD_LIBRARY_PATH"), "")
            if not python.exists():
                return {"error": f"not installed in {self.rivals}: `make bench` does it"}
        command = [*shlex.split(self.launcher), str(python.absolute()), "-m", f"{_MODULE}.{worker}"]
        threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), str(usable_cores()))
        try:
            return last_json(
                [*command, json.dumps(job)],
                environment={**threads, **paths},
                limit=limit or self.limit,
            )
        except RunError as error:
            return {"error": str(error)[:200]}


def main() -> None:
    parser = argparse.ArgumentParser(
        prog=f"python -m {_MODULE}", description=__doc__.splitlines()[0]
    )
    add_data(parser)
    parser.add_argument("--out", type=Path, default=BENCH, help="page (default: BENCH.md)")
    parser.add_argument(
        "--figures",
        type=Path,
        default=HERE / "records" / "speed.json",
        help="file of all figures (default: records/speed.json)",
    )
    parser.add_argument("--only", action="append", choices=PARTS, help="may be given several times")
    parser.add_argument("--quick", action="store_true", help="one round of two seconds each")
    parser.add_argument("--rounds", type=int, default=2, help="over all variants (default: 2)")
    parser.add_argument("--seconds", type=float, default=6.0, help="a measurement (default: 6)")
    parser.add_argument(
        "--rivals", type=Path, default=Path(".venv-bench"), help="environment of the others"
    )
    parser.add_argument("--launcher", default="", help="command that starts each process")
    args = parser.parse_args()
    if args.quick:
        args.rounds, args.seconds = 1, 2.0

    parts = tuple(args.only or PARTS)
    if set(parts) & set(NETWORKS):  # their shares need a peak that was measured at the same time
        parts = ("peak", *parts)
    workers = Workers(args.rivals, args.launcher)
    figures = Figures(args.figures, machine_and_versions(workers))
    if args.figures.exists() and not figures.rounds:
        print(f"{args.figures} has figures of another machine or other versions; it is replaced.")
    job = {"seconds": args.seconds, "data": args.data or "auto"}
    command = without_folders(shlex.join(["python", "-m", _MODULE, *sys.argv[1:]]))
    try:
        measure(figures, parts, workers, rounds=args.rounds, job=job)
    finally:  # also shows what was measured before an interrupt
        write_section(args.out, "speed", page(figures, command))
        print(f"{args.out} written")


def measure(
    figures: Figures, parts: tuple[str, ...], workers: Workers, *, rounds: int, job: dict
) -> None:
    """Measure the variants of some parts, round after round.

    In rounds, slow changes of the machine affect all variants alike.
    """
    for number in range(rounds):
        for variant in variants(parts):
            if number and variant.part == "parts":  # is not compared with anything
                continue
            print(f"round {number + 1} of {rounds}: {variant.key}", flush=True)
            result = workers.ask(variant.worker, {**job, **variant.job})
            if not number:
                figures.forget(variant.key)
            figures.add(variant.key, result)


def machine_and_versions(workers: Workers) -> dict:
    """Return the machine and the versions that figures on one page must share."""
    ours = workers.ask("ours", {"what": "versions"})
    theirs = workers.ask("rivals", {"what": "versions"})
    if "error" in ours:
        raise RunError(f"TensorFlow does not start: {ours['error']}")
    return {**ours, "versions": {**ours["versions"], **theirs.get("versions", {})}}


if __name__ == "__main__":
    run_script(main)
