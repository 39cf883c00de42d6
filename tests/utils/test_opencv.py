import subprocess
import sys

import pytest

from breastus.utils.opencv import _LazyModule


def test_opencv_is_imported_at_first_use():
    code = (
        "import sys; from breastus.utils.opencv import cv2\n"
        "assert 'cv2' not in sys.modules\n"
        "cv2.INTER_AREA; assert 'cv2' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_missing_system_library_is_reported_with_a_way_out(monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(ImportError, match="opencv-python-headless"):
        _LazyModule().resize  # noqa: B018
