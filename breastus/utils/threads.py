"""Work on many items in threads: a function and items in, results in order out.

    for pixels in in_threads(read_image, paths, "reading images"):
        ...

Decoding and OpenCV leave Python's lock, so that threads share the cores; more threads than cores
slow each other down.
"""

import os
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")
_MOST = 8  # with more, they wait for Python's lock
_AHEAD = 4  # results that may wait, for each thread


def in_threads(
    function: Callable[[Item], Result], items: Sequence[Item], what: str
) -> Iterator[Result]:
    """Yield the result for each item, in order; `what` names the work in the progress bar."""
    return progress(map_in_threads(function, items), what, len(items))


def map_in_threads(function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """Yield the result for each item, in order, without a progress bar.

    Few items are taken before their results are asked for, so that memory stays flat.
    """
    threads = min(usable_cores(), _MOST)
    waiting: deque[Future] = deque()
    with ThreadPoolExecutor(threads) as pool:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) == _AHEAD * threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def progress(results: Iterable[Result], what: str, total: int) -> Iterator[Result]:
    """Yield results, and draw a progress bar if the standard error is a terminal."""
    if not sys.stderr.isatty():
        yield from results
        return
    from tqdm import tqdm

    yield from tqdm(results, what, total, leave=False)


def usable_cores() -> int:
    """Return the number of cores this process may use, which a container may limit."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS and Windows
        return os.cpu_count() or 1
