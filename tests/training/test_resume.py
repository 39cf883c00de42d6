"""A run that was killed ends with the same weights, bit for bit, as one that was not."""

import os
import signal
import subprocess
import sys
import time

import keras
import numpy as np
import pandas as pd
import pytest

from breastus.errors import RunError, TrainingError
from breastus.experiment import train
from breastus.training.run import Run
from breastus.training.state import restore_state, save_state
from breastus.training.trainer import Trainer, compile_model

# So few images leave metrics undefined, which is said and is not what is tested here.
pytestmark = pytest.mark.filterwarnings(
    "ignore::breastus.evaluation.metrics.UndefinedMetricWarning"
)
EPOCHS = 4


@pytest.fixture(scope="module")
def config(tiny_config):
    return tiny_config.replace({"training": {"epochs": EPOCHS}})


@pytest.fixture(scope="module")
def unbroken(config, tmp_path_factory):
    """A run that nothing interrupted, with its last training state kept."""
    return train_and_keep(config, tmp_path_factory.mktemp("unbroken") / "run")


def train_and_keep(config, out) -> Run:
    """Train in this process; the state of the last epoch is kept beside the run."""
    state = out.with_suffix(".npz")
    fit = Trainer.fit

    def fit_and_keep(self):
        fit(self)
        state.write_bytes((out / "state.npz").read_bytes())

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "fit", fit_and_keep)
        return train("cnn", config=config, out=out)


def assert_same(first: Run, second: Run, *, optimizer: int | None = 18) -> None:
    states = [np.load(run.path.with_suffix(".npz")) for run in (first, second)]
    names = set(states[0].files)
    assert names == set(states[1].files)
    # Weights and biases of four layers and dropout's generator; two moments of each, and the step.
    assert sum(name.startswith("model/") for name in names) == 9
    if optimizer is not None:
        assert sum(name.startswith("optimizer/") for name in names) == optimizer
    for name in names - {"record"}:
        np.testing.assert_array_equal(states[0][name], states[1][name], err_msg=name)
    models = [keras.models.load_model(run.path / "best.keras") for run in (first, second)]
    for one, other in zip(models[0].get_weights(), models[1].get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    histories = [run.history.drop(columns="seconds") for run in (first, second)]
    pd.testing.assert_frame_equal(histories[0], histories[1], check_exact=True)
    for name in ("predictions_test.csv", "predictions_val.csv", "splits.csv", "manifest.csv"):
        assert first.file(name).read_bytes() == second.file(name).read_bytes()


class _Killed(BaseException):
    pass


class Kill(keras.callbacks.Callback):
    """Ends the training at once after a step of an epoch, both counted from 0."""

    def __init__(self, epoch, step):
        super().__init__()
        self.moment = (epoch, step)

    def on_epoch_begin(self, number, logs=None):
        self.number = number

    def on_train_batch_end(self, batch, logs=None):
        if (self.number, batch) == self.moment:
            raise _Killed


@pytest.mark.parametrize(("epoch", "step"), [(0, 1), (2, 2)])
def test_interrupted_in_the_middle_of_an_epoch(
    config, unbroken, tmp_path, monkeypatch, epoch, step
):
    kill = Kill(epoch, step)
    monkeypatch.setattr("breastus.training.trainer.StopOnNonFinite", lambda: kill)
    with pytest.raises(_Killed):
        train("cnn", config=config, out=tmp_path / "run")
    monkeypatch.undo()
    assert not Run(tmp_path / "run").finished
    # What the process drew in between must not matter.
    keras.utils.set_random_seed(99)
    assert_same(train_and_keep(config, tmp_path / "run"), unbroken)


def test_interrupted_between_the_best_model_and_the_state(config, unbroken, tmp_path, monkeypatch):
    calls = []

    def fail_once(*args):
        calls.append(1)
        if len(calls) == 2:
            raise _Killed
        return save_state(*args)

    monkeypatch.setattr("breastus.training.callbacks.save_state", fail_once)
    with pytest.raises(_Killed):
        train("cnn", config=config, out=tmp_path / "run")
    monkeypatch.undo()
    assert_same(train_and_keep(config, tmp_path / "run"), unbroken)


@pytest.mark.slow
def test_killed_with_sigkill_at_any_moment(config, unbroken, tmp_path):
    """The real thing: a process of its own, shot at moments drawn by seed."""
    (tmp_path / "config.yaml").write_text(config.to_yaml())
    code = (
        "import sys, pathlib\n"
        "from breastus.config import Config\n"
        "from breastus.experiment import train\n"
        "from breastus.training.trainer import Trainer\n"
        "out, config = pathlib.Path(sys.argv[1]), Config.from_yaml(sys.argv[2])\n"
        "fit = Trainer.fit\n"
        "def keep(self):\n"
        "    print('fitting', flush=True)\n"
        "    fit(self)\n"
        "    out.with_suffix('.npz').write_bytes((out / 'state.npz').read_bytes())\n"
        "Trainer.fit = keep\n"
        "train('cnn', config=config, out=out)\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "run"), str(tmp_path / "config.yaml")]
    rng = np.random.default_rng(0)
    killed = 0
    for _ in range(8):
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        process.stdout.readline()
        time.sleep(rng.uniform(0.2, 6))
        if process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
            killed += 1
        process.wait()
        if Run(tmp_path / "run").finished:
            break
    if not Run(tmp_path / "run").finished:
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    assert killed
    # Another process may round as this one does; that they do is part of the promise.
    assert_same(Run(tmp_path / "run"), unbroken)


def test_interrupted_with_every_remedy_at_work(config, tmp_path, monkeypatch):
    config = config.replace(
        {
            "training": {
                "optimizer": "sgd",
                "schedule": "cosine",
                "warmup_epochs": 1.0,
                "accumulation": 2,
                "clip_norm": 1.0,
                "class_weights": "balanced",
                "focal_gamma": 2.0,
                "label_smoothing": 0.1,
                "sampling": "balanced",
                "learning_rate": 0.01,
            }
        }
    )
    whole = train_and_keep(config, tmp_path / "whole")
    fail = Kill(epoch=2, step=1)
    monkeypatch.setattr("breastus.training.trainer.StopOnNonFinite", lambda: fail)
    with pytest.raises(_Killed):
        train("cnn", config=config, out=tmp_path / "run")
    monkeypatch.undo()
    assert_same(train_and_keep(config, tmp_path / "run"), whole, optimizer=None)


def test_the_same_seed_gives_the_same_run(config, unbroken, tmp_path):
    assert_same(train_and_keep(config, tmp_path / "run"), unbroken)


def test_another_seed_gives_another(config, unbroken, tmp_path):
    other = train("cnn", config=config.replace({"seed": 1}), out=tmp_path / "run")
    assert not other.history["loss"].equals(unbroken.history["loss"])


def _model(config):
    from breastus.models.registry import build_model

    model = build_model("cnn", image_size=32)
    compile_model(model, config, labels=[0, 1], steps_per_epoch=3)
    return model


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 torn", b"x" * 5000])
def test_a_damaged_state_is_named(config, tmp_path, content):
    (tmp_path / "state.npz").write_bytes(content)
    with pytest.raises(RunError, match=r"state\.npz is damaged.*--out"):
        restore_state(tmp_path / "state.npz", _model(config))


def test_a_truncated_state_is_named(config, tmp_path):
    path = tmp_path / "state.npz"
    save_state(path, _model(config), {"history": []})
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(RunError, match="is damaged"):
        restore_state(path, _model(config))


def test_a_state_of_another_network_is_refused(config, tmp_path):
    from breastus.models.registry import build_model

    other = build_model("cnn", image_size=48)
    compile_model(other, config, labels=[0, 1], steps_per_epoch=3)
    save_state(tmp_path / "state.npz", other, {"history": []})
    with pytest.raises(RunError, match="of another network"):
        restore_state(tmp_path / "state.npz", _model(config))


def test_nothing_is_unpickled(config, tmp_path):
    np.savez(tmp_path / "state.npz", record=np.array([{"evil": 1}], object))
    with pytest.raises(RunError, match="is damaged"):
        restore_state(tmp_path / "state.npz", _model(config))


def test_a_loss_that_is_not_finite_names_epoch_and_step(config, tmp_path):
    # The step at which it happens differs; that it is named does not.
    config = config.replace({"training": {"learning_rate": 10.0, "weight_decay": 10.0}})
    broken = config.replace({"training": {"epochs": 50}, "augmentation": {"policy": "none"}})

    class Explode(keras.losses.CategoricalCrossentropy):
        def call(self, y_true, y_pred):
            # Log of zero once the weights are large is what a person meets; here it is forced.
            return super().call(y_true, y_pred) * keras.ops.cast(float("nan"), "float32")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("breastus.training.trainer.make_loss", lambda *_, **__: Explode())
        with pytest.raises(TrainingError, match=r"loss is nan at epoch 1, step 1\..*learning_rate"):
            train("cnn", config=broken, out=tmp_path / "run")
    assert not (tmp_path / "run" / "best.keras").exists()
