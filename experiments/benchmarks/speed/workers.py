"""Start a worker for one job, in a process of its own."""

import json
import os
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from breastus.runs.environment import usable_cores
from experiments.pages import ROOT


@dataclass(frozen=True)
class Workers:
    """The modules that measure, each started with its own Python and all usable cores.

    Attributes:
        rivals: folder of the environment with the libraries compared with.
        launcher: command that starts each process, such as `numactl --cpunodebind=0`.
        limit: time limit of a job in seconds; compiling Swin takes minutes.
    """

    rivals: Path
    launcher: str = ""
    limit: float = 600.0

    def ask(self, worker: str, job: dict[str, Any]) -> dict[str, Any]:
        """Return the result of a job, or `{"error": message}`.

        Args:
            worker: "ours" or "rivals", a module of `experiments.benchmarks.speed`.
            job: arguments of the job, with its name under `what`.
        """
        python = sys.executable
        if worker == "rivals":
            python = str(self.rivals / ("Scripts/python.exe" if os.name == "nt" else "bin/python"))
            if not Path(python).exists():
                return {"error": f"not installed in {self.rivals}: `make bench` does it"}
        module = ["-m", f"experiments.benchmarks.speed.{worker}", json.dumps(job)]
        threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), str(usable_cores()))
        try:
            done = subprocess.run(
                [*shlex.split(self.launcher), str(Path(python).absolute()), *module],
                cwd=ROOT,
                env={**os.environ, **threads},
                capture_output=True,
                text=True,
                timeout=self.limit,
            )
        except subprocess.TimeoutExpired:
            return {"error": f"not done after {self.limit:.0f} s"}
        try:
            return json.loads(done.stdout.splitlines()[-1])
        except (IndexError, ValueError):
            errors = [line.strip() for line in done.stderr.splitlines() if line.strip()]
            return {"error": errors[-1][:200] if errors else f"exit status {done.returncode}"}
