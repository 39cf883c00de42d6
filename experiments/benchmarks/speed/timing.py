"""Time a call, in any framework; only the standard library is imported here."""

import json
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any

WARM_UP = 3  # calls that do not count: they trace, compile and touch memory for the first time


def durations(
    call: Callable[[], object], *, seconds: float, warm_up: int = WARM_UP, least: int = 3
) -> list[float]:
    """Return the duration of each repeat of a call in seconds.

    Args:
        call: function to be timed.
        seconds: time for which it is repeated.
        warm_up: number of calls that do not count.
        least: smallest number of repeats, however long they take.
    """
    for _ in range(warm_up):
        call()
    taken, end = [], time.perf_counter() + seconds
    while time.perf_counter() < end or len(taken) < least:
        start = time.perf_counter()
        call()
        taken.append(round(time.perf_counter() - start, 6))
    return taken


def measured(count: int, call: Callable[[], object], *, seconds: float) -> dict[str, Any]:
    """Return `{"count": ..., "seconds": [...]}`, or `{"error": ...}` if the call raised.

    Args:
        count: number of images, or of operations, in one call.
        call: function to be timed.
        seconds: time for which it is repeated.
    """
    try:
        return {"count": count, "seconds": durations(call, seconds=seconds)}
    # Any exception of a framework: a variant that does not run is a row of the table.
    except Exception as error:
        traceback.print_exc()
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        return {"error": ": ".join([type(error).__name__, *lines[:1]])[:200]}


def work(jobs: dict[str, Callable[[dict], dict]]) -> None:
    """Do the job in the first argument (JSON) and print its result as the last line."""
    job = json.loads(sys.argv[1])
    print(json.dumps(jobs[job["what"]](job)), flush=True)
