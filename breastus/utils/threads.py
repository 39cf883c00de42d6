"""Work on many images in threads: a function and items in, results in order out.

    for pixels in in_threads(read_image, paths, "reading images"):
        ...

Decoding and OpenCV leave Python's lock, so that threads share the cores; more threads than cores
slow each other down.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from tqdm import tqdm

Item = TypeVar("Item")
Result = TypeVar("Result")
_MOST = 8  # with more, they wait for Python's lock


def in_threads(
    function: Callable[[Item], Result], items: Sequence[Item], what: str
) -> Iterator[Result]:
    """Yield the result for each item, in order; `what` names the work in the progress bar."""
    with ThreadPoolExecutor(min(usable_cores(), _MOST)) as pool:
        done = pool.map(function, items)
        yield from tqdm(done, what, len(items), leave=False, disable=None)


def usable_cores() -> int:
    """Return the number of cores this process may use, which a container may limit."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS and Windows
        return os.cpu_count() or 1
