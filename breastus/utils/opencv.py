"""OpenCV, imported at first use, with a way out where it cannot be loaded.

The wheels of `opencv-python` need the system library libGL, which servers without a display may
lack; `opencv-python-headless` is the same module without that need.
"""

import functools
from types import ModuleType


@functools.cache
def cv2() -> ModuleType:
    """Return the module `cv2`.

    Raises:
        ImportError: when its system libraries are missing, naming the two ways out.
    """
    try:
        import cv2 as module
    except ImportError as error:
        raise ImportError(
            f"OpenCV cannot be loaded ({error}). On a machine without a display either run "
            "'pip uninstall -y opencv-python && pip install opencv-python-headless', or install "
            "the system libraries: 'apt-get install libgl1 libglib2.0-0'."
        ) from error
    return module
