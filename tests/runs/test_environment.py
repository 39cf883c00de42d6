"""The peak memory is that of this process."""

import subprocess
import sys

from breastus.runs.environment import peak_memory_mb

_PRINT = "from breastus.runs.environment import peak_memory_mb as peak; print(peak())"


def test_peak_memory_is_not_that_of_the_process_it_was_started_from():
    held = bytearray(400 << 20)
    held[:: 1 << 12] = b"1" * len(held[:: 1 << 12])  # so that it is resident
    assert peak_memory_mb() > 400
    command = [sys.executable, "-c", _PRINT]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert 0 < float(done.stdout) < 200
