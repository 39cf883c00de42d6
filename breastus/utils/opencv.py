"""OpenCV as the lazily imported module `cv2`: `from breastus.utils.opencv import cv2`.

The wheels of `opencv-python` need the system library libGL, which servers without a display may
lack; `opencv-python-headless` is the same module without that need.
"""

import importlib
from typing import Any


class _LazyModule:
    """Imports `cv2` when its first attribute is read; ImportError names the two ways out."""

    def __getattr__(self, name: str) -> Any:
        try:
            value = getattr(importlib.import_module("cv2"), name)
        except ImportError as error:
            raise ImportError(
                f"OpenCV cannot be loaded ({error}). On a machine without a display either run "
                "'pip uninstall -y opencv-python && pip install opencv-python-headless', or "
                "install the system libraries: 'apt-get install libgl1 libglib2.0-0'."
            ) from error
        setattr(self, name, value)  # the next look-up does not come here
        return value


cv2 = _LazyModule()
