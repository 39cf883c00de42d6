"""What holds on a GPU: `make test-gpu`.

Without a GPU these tests are skipped; BREASTUS_GPU_TESTS=cpu tries them on the processor. Those of
several devices are in training/hardware/test_devices.py.
"""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from breastus.config.presets import default_config
from breastus.models.registry import list_models
from breastus.training.hardware.profiles import let_memory_grow
from breastus.training.network import Execution, compile_model, new_model
from breastus.workflows.train import train

pytestmark = [pytest.mark.gpu, pytest.mark.slow]
HELPERS = Path(__file__).parent / "helpers"


@pytest.fixture(autouse=True, scope="module")
def gpu() -> bool:
    """Whether there is a GPU; False where the processor stands in for it."""
    if tf.config.list_physical_devices("GPU"):
        let_memory_grow()
        return True
    if os.environ.get("BREASTUS_GPU_TESTS") == "cpu":
        return False
    pytest.skip("TensorFlow finds no GPU; BREASTUS_GPU_TESTS=cpu tries these on the processor")


def random_batch(size):
    images = np.random.default_rng(0).normal(size=(2, size, size, 3)).astype("float32")
    return tf.constant(images), tf.eye(2)


@pytest.mark.parametrize("xla", [False, True])
@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16", "mixed_float16"])
@pytest.mark.parametrize("name", list_models())
def test_a_step_of_each_network_in_each_precision(name, precision, xla, gpu):
    config = default_config(name).replace({"model": {"weights": None}})
    config = config.replace({"training": {"mask_weight": 0.0}})
    model = new_model(config, precision=precision)
    execution = Execution(precision=precision, jit_compile=xla)
    compile_model(model, config, labels=[0, 1], steps_per_epoch=1, execution=execution)
    before = model.get_weights()
    loss = model.train_on_batch(*random_batch(config.model.image_size))[0]
    assert np.isfinite(loss)
    assert all(np.isfinite(weight).all() for weight in model.get_weights())
    skipped = precision == "mixed_float16"  # the first step finds the loss scale
    assert skipped or any(
        (one != other).any() for one, other in zip(before, model.get_weights(), strict=True)
    )
    assert not gpu or all("GPU" in str(v.value.device) for v in model.trainable_variables)


@pytest.mark.parametrize("name", list_models())
def test_predictions_are_the_processors(name, gpu):
    config = default_config(name).replace({"model": {"weights": None}})
    images, _ = random_batch(config.model.image_size)
    tf.config.experimental.enable_tensor_float_32_execution(False)
    try:
        with tf.device("GPU:0" if gpu else "CPU:0"):
            model = new_model(config)
            found = model(images, training=False).numpy()
        with tf.device("CPU:0"):
            reference = new_model(config)
            reference.set_weights(model.get_weights())
            expected = reference(images, training=False).numpy()
    finally:
        tf.config.experimental.enable_tensor_float_32_execution(True)
    np.testing.assert_allclose(found, expected, atol=1e-4)


_RESUMED = """
import sys
from pathlib import Path

import tensorflow as tf
tf.config.experimental.enable_op_determinism()

import pytest
from breastus.config.schema import Config
from breastus.data.manifest.build import load_manifest
from breastus.training import trainer
from fitting import Kill, Killed, assert_equal, fit

config, out = Config.from_yaml(sys.argv[1]), Path(sys.argv[2])
rows = load_manifest(config.data.source, settings=config.data).sample(32, random_state=0)
tables = {"train": rows[:24].reset_index(drop=True), "val": rows[24:].reset_index(drop=True)}
whole = fit(out / "whole", config, tables)
kept, trainer.TerminateOnNonFinite = trainer.TerminateOnNonFinite, lambda: Kill(1, 1)
with pytest.raises(Killed):
    fit(out / "run", config, tables)
trainer.TerminateOnNonFinite = kept
assert_equal(fit(out / "run", config, tables), whole)
"""


def run_python(code, *arguments, **environment):
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=HELPERS,
        env={**os.environ, **environment},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done


@pytest.mark.parametrize("precision", ["float32", "mixed_float16"])
def test_a_deterministic_training_is_resumed_bit_for_bit(tiny_config, tmp_path, precision):
    config = tiny_config.replace({"training": {"precision": precision}})
    (tmp_path / "config.yaml").write_text(config.to_yaml())
    run_python(_RESUMED, tmp_path / "config.yaml", tmp_path)


_PREDICT = """
import sys
import pandas as pd
from breastus import Predictor

found = Predictor(sys.argv[1])(sys.argv[3:])
pd.DataFrame({"probability": [one.probability for one in found]}).to_csv(sys.argv[2])
"""


@pytest.mark.filterwarnings("ignore::breastus.errors.BreastusWarning")
def test_a_bundle_answers_alike_on_the_processor(tiny_config, tmp_path):
    run = train("cnn", config=tiny_config, out=tmp_path / "run")
    table = pd.read_csv(run.path / "predictions_test.csv").set_index("image_id")
    paths = pd.read_csv(run.path / "manifest.csv").set_index("image_id")["path"][table.index]
    out = tmp_path / "found.csv"
    run_python(_PREDICT, run.bundle, out, *paths, CUDA_VISIBLE_DEVICES="-1")
    # On a GPU, TF32 rounds the products of float32 to ten bits.
    np.testing.assert_allclose(pd.read_csv(out)["probability"], table["probability"], atol=2e-3)


_SMALL = """
import json, sys
from pathlib import Path
from breastus import default_config, train

config = default_config("cnn").override(sys.argv[2:])
run = train("cnn", config=config, out=sys.argv[1])
print(json.dumps(run.environment["execution"]))
"""


@pytest.mark.filterwarnings("ignore::breastus.errors.BreastusWarning")
def test_what_exceeds_a_smaller_card_is_cut_into_parts(tiny_config, tmp_path, gpu):
    if not gpu:
        pytest.skip("a processor has no memory limit; test_fallback.py tries parts without one")
    settings = [
        f"data.source={tiny_config.data.source}",
        "training.profile=rtx2060",
        "training.batch_size=64",
        "training.epochs=1",
        "training.precision=float32",
        "model.image_size=896",
    ]
    done = run_python(_SMALL, tmp_path / "run", *settings)
    assert "are now cut into" in done.stderr
    assert '"accumulation_steps": 1,' not in done.stdout
