"""Several devices that share each batch learn what one device learns.

Here one device is split in two: a GPU where there is one, else the processor.
"""

import subprocess
import sys
from pathlib import Path

import pytest

# A process of its own: how many devices there are is decided before TensorFlow starts.
_TRAIN_ON_BOTH = """
import sys
from pathlib import Path

import numpy as np
import tensorflow as tf

gpus = tf.config.list_physical_devices("GPU")
device = (gpus or tf.config.list_physical_devices("CPU"))[0]
half = tf.config.LogicalDeviceConfiguration(memory_limit=2048 if gpus else None)
tf.config.set_logical_device_configuration(device, [half, half])
tf.config.experimental.enable_tensor_float_32_execution(False)

from breastus.config.schema import Config
from breastus.data.manifest.build import load_manifest
from fitting import fit

base = Config.from_yaml(sys.argv[1])
rows = load_manifest(base.data.source, settings=base.data).sample(32, random_state=0)
tables = {"train": rows[:24].reset_index(drop=True), "val": rows[24:].reset_index(drop=True)}
one, two = (
    fit(Path(sys.argv[2], str(devices)), base.replace({"training": {"devices": devices}}), tables)
    for devices in (1, 2)
)
for name in one:
    if name.startswith("best.keras"):
        np.testing.assert_allclose(one[name], two[name], atol=2e-5)
np.testing.assert_allclose(one["history"], two["history"], rtol=1e-4)
"""


@pytest.mark.slow
@pytest.mark.gpu
@pytest.mark.parametrize(
    "training",
    [
        # The last batch of an epoch cannot be shared evenly: 24 images.
        {"epochs": 2, "batch_size": 14},
        {"epochs": 4, "batch_size": 14, "ema": 0.9, "head_epochs": 1, "layer_decay": 0.8},
        {"epochs": 2, "optimizer": "sgd", "clip_norm": 1.0},
    ],
)
def test_two_devices_learn_what_one_learns(tiny_config, tmp_path, training):
    # Each device drops features of its own, so nothing is dropped here.
    config = tiny_config.replace({"model": {"dropout": 0.0}, "training": training})
    # A processor that gains from bfloat16 would take it, whose sums depend on how a batch is cut.
    config = config.replace({"training": {"precision": "float32"}})
    (tmp_path / "config.yaml").write_text(config.to_yaml())
    command = [sys.executable, "-c", _TRAIN_ON_BOTH, str(tmp_path / "config.yaml"), str(tmp_path)]
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=Path(__file__).parents[2] / "helpers"
    )
    assert done.returncode == 0, done.stderr[-3000:]
