"""Several devices that share each batch learn what one device learns."""

import subprocess
import sys

import pytest

# A process of its own: how many devices there are is decided before TensorFlow starts.
_TRAIN_ON_BOTH = """
import sys
import keras
import numpy as np
import tensorflow as tf

processor = tf.config.list_physical_devices("CPU")[0]
half = tf.config.LogicalDeviceConfiguration()
tf.config.set_logical_device_configuration(processor, [half, half])

from breastus.config import Config
from breastus.experiment import train

base = Config.from_yaml(sys.argv[1])
runs = {}
for devices in (1, 2):
    config = base.replace({"training": {"devices": devices}})
    runs[devices] = train("cnn", config=config, out=f"{sys.argv[2]}/{devices}")
states = [keras.models.load_model(run.path / "best.keras").get_weights() for run in runs.values()]
for one, two in zip(*states, strict=True):
    np.testing.assert_allclose(one, two, atol=2e-5)
for column in ("loss", "val_loss", "accuracy"):
    np.testing.assert_allclose(*(run.history[column] for run in runs.values()), rtol=1e-4)
"""


@pytest.mark.parametrize(
    "training",
    [
        pytest.param({"epochs": 2}, marks=pytest.mark.slow),
        # The last batch of an epoch cannot be shared evenly: 24 images.
        {"epochs": 4, "batch_size": 14, "ema": 0.9, "head_epochs": 1, "layer_decay": 0.8},
        pytest.param({"epochs": 2, "optimizer": "sgd", "clip_norm": 1.0}, marks=pytest.mark.slow),
    ],
)
def test_two_devices_learn_what_one_learns(tiny_config, tmp_path, training):
    # Each device drops features of its own, so nothing is dropped here.
    config = tiny_config.replace({"model": {"dropout": 0.0}, "training": training})
    # A processor that gains from bfloat16 would take it, whose sums depend on how a batch is cut.
    config = config.replace({"training": {"precision": "float32"}})
    (tmp_path / "config.yaml").write_text(config.to_yaml())
    command = [sys.executable, "-c", _TRAIN_ON_BOTH, str(tmp_path / "config.yaml"), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
