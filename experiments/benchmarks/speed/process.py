"""Ask a worker for one job, in a process of its own."""

import json
import os
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from breastus.runs.environment import usable_cores

ROOT = Path(__file__).parents[3]
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True)
class Workers:
    """The modules that measure, each started with the Python it needs and all usable cores.

    Args:
        rivals: folder of the environment that holds the rivals.
        launcher: a command to start each process with, such as `numactl --cpunodebind=0`.
        limit: seconds after which a job is given up; compiling Swin takes minutes.
    """

    rivals: Path
    launcher: str = ""
    limit: float = 600.0

    def ask(self, worker: str, job: dict[str, Any]) -> dict[str, Any]:
        """Return what a worker makes of a job, or `{"error": why there is nothing}`.

        Args:
            worker: module of `experiments.benchmarks.speed`.
            job: what it is to do; must hold `what`.
        """
        python = sys.executable
        if worker == "rivals":
            python = str(self.rivals / ("Scripts/python.exe" if os.name == "nt" else "bin/python"))
            if not Path(python).exists():
                return {"error": f"not installed in {self.rivals}: `make bench` does it"}
        module = ["-m", f"experiments.benchmarks.speed.{worker}", json.dumps(job)]
        environment = {**os.environ, **dict.fromkeys(_THREADS, str(usable_cores()))}
        try:
            done = subprocess.run(
                [*shlex.split(self.launcher), str(Path(python).absolute()), *module],
                cwd=ROOT,
                env=environment,
                capture_output=True,
                text=True,
                timeout=self.limit,
            )
        except subprocess.TimeoutExpired:
            return {"error": f"not done after {self.limit:.0f} s"}
        try:
            return json.loads(done.stdout.splitlines()[-1])
        except (IndexError, ValueError):
            said = [line.strip() for line in done.stderr.splitlines() if line.strip()]
            return {"error": said[-1][:200] if said else f"exit status {done.returncode}"}
