"""A network is loaded where nothing of it was built before, as when a run is exported later."""

import subprocess
import sys

import pytest

from breastus.models.registry import build_model


@pytest.mark.slow
@pytest.mark.parametrize("name", ["efficientnet_mil", "resnet50", "swin_micro"])
def test_in_a_process_of_its_own(name, tmp_path):
    size = {"swin_micro": 112}.get(name, 64)
    model = build_model(name, image_size=size)
    model.save(tmp_path / "best.keras")
    script = (
        "import sys; from breastus.models.load import load_network; "
        "print(load_network(sys.argv[1]).count_params())"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "best.keras")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout) == model.count_params()
