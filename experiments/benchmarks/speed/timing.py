"""Time a call, in either framework: nothing but the standard library is imported here."""

import json
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any

WARM_UP = 3  # calls that do not count: tracing, compiling, first touch of memory


def durations(
    call: Callable[[], object], *, seconds: float, warm_up: int = WARM_UP, least: int = 3
) -> list[float]:
    """Return how long a call took, again and again.

    Args:
        call: what is timed.
        seconds: for how long it is repeated.
        warm_up: calls before the first that counts.
        least: repeats, however long they take.

    Returns:
        Seconds of each repeat.
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
    """Return a measurement as it goes into the results, or why there is none.

    Args:
        count: what one call does: images, or operations.
        call: what is timed.
        seconds: for how long it is repeated.

    Returns:
        `{"count": ..., "seconds": [...]}`, or `{"error": ...}` when the call raised.
    """
    try:
        return {"count": count, "seconds": durations(call, seconds=seconds)}
    # Whatever a framework throws: a variant that does not run is a row of the table.
    except Exception as error:
        traceback.print_exc()
        return {"error": first_line(error)}


def first_line(error: BaseException) -> str:
    """Return what an error says, on one line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0]}"[:200] if lines else type(error).__name__


def work(jobs: dict[str, Callable[[dict], dict]]) -> None:
    """Do the job that the command line holds as JSON; the last line of output is the result."""
    job = json.loads(sys.argv[1])
    result = jobs[job["what"]](job)
    print(json.dumps(result), flush=True)
