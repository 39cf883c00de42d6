"""A run that was killed ends with the same weights, bit for bit, as one that was not."""

import dataclasses
import os
import re
import signal
import subprocess
import sys
import time

import keras
import numpy as np
import pandas as pd
import pytest
from fitting import Kill, Killed, assert_equal, fit

from breastus.errors import RunError, TrainingError
from breastus.runs.run import Run, kept_epoch
from breastus.training.callbacks.epoch_end import BestCheckpoint, HistoryLogger
from breastus.training.hardware import profiles as hardware
from breastus.training.hardware.devices import this_machine
from breastus.training.network import compile_model
from breastus.training.state import TrainingState, load_state, save_state
from breastus.training.trainer import Trainer
from breastus.workflows.train import train

# So few images leave metrics undefined, with a warning that is not tested here.
pytestmark = pytest.mark.filterwarnings("ignore::breastus.errors.UndefinedMetricWarning")
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
        return train(config.model.name, config=config, out=out)


def assert_same(
    first: Run, second: Run, *, model: int | None = 9, optimizer: int | None = 18
) -> None:
    states = [np.load(run.path.with_suffix(".npz")) for run in (first, second)]
    names = set(states[0].files)
    assert names == set(states[1].files)
    # Weights and biases of four layers and dropout's generator; two moments of each, and the step.
    if model is not None:
        assert sum(name.startswith("model/") for name in names) == model
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


@pytest.mark.parametrize(("epoch", "step"), [(0, 1), pytest.param(2, 2, marks=pytest.mark.slow)])
def test_interrupted_in_the_middle_of_an_epoch(
    config, unbroken, tmp_path, monkeypatch, epoch, step
):
    kill = Kill(epoch, step)
    monkeypatch.setattr("breastus.training.trainer.TerminateOnNonFinite", lambda: kill)
    with pytest.raises(Killed):
        train("cnn", config=config, out=tmp_path / "run")
    monkeypatch.undo()
    assert not Run(tmp_path / "run").finished
    # What the process drew in between must not matter.
    keras.utils.set_random_seed(99)
    # Nor what is measured of a machine that is busy with other work.
    gain = not this_machine().bfloat16
    monkeypatch.setattr(
        hardware, "this_machine", lambda: dataclasses.replace(this_machine(), bfloat16=gain)
    )
    assert_same(train_and_keep(config, tmp_path / "run"), unbroken)


@pytest.mark.slow
def test_interrupted_between_the_best_model_and_the_state(config, unbroken, tmp_path, monkeypatch):
    calls = []

    def fail_once(*args):
        calls.append(1)
        if len(calls) == 2:
            raise Killed
        return save_state(*args)

    monkeypatch.setattr("breastus.training.state.save_state", fail_once)
    with pytest.raises(Killed):
        train("cnn", config=config, out=tmp_path / "run")
    monkeypatch.undo()
    assert_same(train_and_keep(config, tmp_path / "run"), unbroken)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["cnn", "swin_micro"])
def test_killed_with_sigkill_at_ten_moments(config, tmp_path, name):
    """The real thing: a process of its own, shot at moments drawn by seed."""
    size = {"cnn": 32, "swin_micro": 112}[name]
    config = config.replace(
        {"model": {"name": name, "image_size": size}, "training": {"epochs": 40}}
    )
    unbroken = train_and_keep(config, tmp_path / "unbroken")
    (tmp_path / "config.yaml").write_text(config.to_yaml())
    code = (
        "import sys, pathlib\n"
        "from breastus.config.schema import Config\n"
        "from breastus.workflows.train import train\n"
        "from breastus.training import state\n"
        "from breastus.training.trainer import Trainer\n"
        "out, config = pathlib.Path(sys.argv[1]), Config.from_yaml(sys.argv[2])\n"
        "fit, save = Trainer.fit, state.save_state\n"
        "state._SPARING = 0\n"  # a state after every epoch
        "def keep(self):\n"
        "    fit(self)\n"
        "    out.with_suffix('.npz').write_bytes((out / 'state.npz').read_bytes())\n"
        "def say(*args):\n"
        "    save(*args)\n"
        "    print('saved', flush=True)\n"
        "Trainer.fit, state.save_state = keep, say\n"
        "train(config.model.name, config=config, out=out)\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "run"), str(tmp_path / "config.yaml")]
    rng = np.random.default_rng(0)
    killed = 0
    # While it starts and some epochs on: the machine may be slow, or busy.
    for epochs in rng.permutation(10) // 2:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        saved = (line for line in process.stdout if line == "saved\n")
        for _ in zip(range(epochs), saved, strict=False):
            pass
        time.sleep(rng.uniform(0, 0.3 if epochs else 8))
        if process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
            killed += 1
        process.wait()
        if Run(tmp_path / "run").finished:
            break
    if not Run(tmp_path / "run").finished:
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-3000:]
    assert killed >= 5
    # Another process rounds as this one does: that is part of the promise.
    assert_same(Run(tmp_path / "run"), unbroken, model=None, optimizer=None)


@pytest.mark.slow
def test_interrupted_with_every_remedy_at_work(config, uneven_tables, tmp_path, interrupted):
    config = config.replace(
        {
            "training": {
                "optimizer": "sgd",
                "schedule": "cosine",
                "warmup_epochs": 1.0,
                "accumulation_steps": 2,
                "clip_norm": 1.0,
                "class_weights": "balanced",
                "focal_gamma": 2.0,
                "label_smoothing": 0.1,
                "sampling": "balanced",
                "learning_rate": 0.01,
            }
        }
    )
    whole = fit(tmp_path / "whole", config, uneven_tables)
    assert_equal(interrupted(tmp_path / "run", config, uneven_tables, 2, 1), whole)


def test_the_same_seed_gives_the_same_run(config, unbroken, tmp_path):
    assert_same(train_and_keep(config, tmp_path / "run"), unbroken)


@pytest.mark.slow
def test_another_seed_gives_another(config, unbroken, tmp_path):
    other = train("cnn", config=config.replace({"seed": 1}), out=tmp_path / "run")
    assert not other.history["loss"].equals(unbroken.history["loss"])


def _model(size=32):
    from breastus.models.registry import build_model

    return build_model("cnn", image_size=size)


class Epochs:
    """The callbacks that end an epoch, on a compiled network, as the trainer calls them."""

    def __init__(self, config, folder, size=32, kept="loss", sparing=False):
        self.folder, self.model, self.sparing = folder, _model(size), sparing
        compile_model(self.model, config, labels=[0, 1], steps_per_epoch=3)
        self.checkpoint = BestCheckpoint(folder / "best.keras", self.model, kept=kept)
        self.history = HistoryLogger(folder / "history.csv")
        self.state = TrainingState(
            folder, self.model, checkpoint=self.checkpoint, history=self.history
        )
        self.callbacks = [self.checkpoint, self.history, self.state]
        self.model.stop_training = False
        for callback in self.callbacks:
            callback.set_model(self.model)

    def restore(self):
        self.state.restore(self.model.optimizer)

    def end(self, epoch, val_loss, val_accuracy=0.5):
        """End an epoch that set every weight to `epoch`; return what `best.keras` then holds."""
        self.model.set_weights([np.full(w.shape, float(epoch)) for w in self.model.weights])
        if not self.sparing:
            self.state._next = 0.0  # a state after every epoch
        for callback in self.callbacks:
            callback.on_epoch_begin(epoch)
        for callback in self.callbacks:
            logs = {"loss": 1.0, "val_loss": val_loss, "val_accuracy": val_accuracy}
            callback.on_epoch_end(epoch, logs)
        return _best(self.folder)


def _best(folder) -> float:
    return keras.models.load_model(folder / "best.keras").get_weights()[0].flat[0]


@pytest.mark.parametrize(
    ("kept", "best"), [("loss", [0, 1, 1, 1]), ("accuracy", [0, 1, 2, 2]), ("last", [0, 1, 2, 3])]
)
def test_the_epoch_that_is_kept_follows_the_setting_after_a_resume_too(
    config, tmp_path, kept, best
):
    losses, accuracies = [3.0, 1.0, 2.0, 9.0], [0.5, 0.6, 0.7, 0.7]
    epochs = Epochs(config, tmp_path, kept=kept)
    for epoch in range(3):
        assert epochs.end(epoch, losses[epoch], accuracies[epoch]) == best[epoch]
    again = Epochs(config, tmp_path, kept=kept)
    again.restore()
    assert again.end(3, losses[3], accuracies[3]) == best[3]
    history = {"val_loss": losses, "val_accuracy": accuracies}
    assert kept_epoch(history, kept) == again.checkpoint.best_epoch == best[3] + 1


DAMAGE = [b"", b"PK\x03\x04 torn", b"x" * 5000, "half", "bit"]


def damage(path, how):
    data = path.read_bytes()
    if how == "half":
        how = data[: len(data) // 2]
    elif how == "bit":
        middle = len(data) // 2
        how = data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]
    path.write_bytes(how)


@pytest.mark.parametrize("how", DAMAGE)
def test_the_state_before_a_damaged_one_is_restored_with_its_best(config, tmp_path, capsys, how):
    epochs = Epochs(config, tmp_path)
    assert epochs.end(0, 3.0) == 0
    assert epochs.end(1, 2.0) == 1
    assert epochs.end(2, 9.0) == 1
    assert epochs.end(3, 1.0) == 3  # the best, and about to be lost
    damage(tmp_path / "state.npz", how)

    again = Epochs(config, tmp_path)
    again.restore()
    printed = capsys.readouterr().err
    assert re.search(
        r"state\.npz is damaged .* from state_previous\.npz, after epoch 3\.\n", printed
    )
    assert again.state.epochs_done == 3
    assert (again.checkpoint.best_epoch, again.checkpoint.best) == (2, 2.0)
    assert _best(tmp_path) == 1
    assert again.model.get_weights()[0].flat[0] == 2
    assert len((tmp_path / "history.csv").read_text().splitlines()) == 4
    # The lost epoch comes again, and this time it is no better: the best epoch stays 2.
    assert again.end(3, 5.0) == 1


@pytest.mark.parametrize("how", DAMAGE)
def test_when_both_states_are_damaged_it_says_so(config, tmp_path, how):
    epochs = Epochs(config, tmp_path)
    for epoch in range(2):
        epochs.end(epoch, 1.0)
    for path in tmp_path.glob("state*.npz"):
        damage(path, how)
    with pytest.raises(RunError, match=r"state\.npz is damaged.*no earlier one.*--out") as raised:
        load_state(tmp_path)
    assert "pickle" not in str(raised.value)  # as numpy would advise


@pytest.mark.slow
def test_a_run_whose_last_state_was_damaged_ends_as_an_unbroken_one(
    config, unbroken, tmp_path, monkeypatch
):
    kill = Kill(epoch=3, step=1)
    monkeypatch.setattr("breastus.training.trainer.TerminateOnNonFinite", lambda: kill)
    with pytest.raises(Killed):
        train("cnn", config=config, out=tmp_path / "run")
    monkeypatch.undo()
    damage(tmp_path / "run" / "state.npz", "half")
    (tmp_path / "run" / "best.keras").unlink()
    assert_same(train_and_keep(config, tmp_path / "run"), unbroken)
    assert not list((tmp_path / "run").glob("state*"))


def test_at_every_moment_of_writing_one_state_is_whole(config, tmp_path, monkeypatch):
    epochs = Epochs(config, tmp_path)
    epochs.end(0, 1.0)
    replace, seen = os.replace, []

    def look(source, target):
        seen.append(load_state(tmp_path).record["history"][-1]["epoch"])
        replace(source, target)
        seen.append(load_state(tmp_path).record["history"][-1]["epoch"])

    monkeypatch.setattr("os.replace", look)
    epochs.end(1, 2.0)
    assert seen[0] == 1
    assert seen[-1] == 2
    assert set(seen) == {1, 2}


def test_writing_states_takes_a_small_part_of_the_time(config, tmp_path, monkeypatch):
    """Each takes a second here, so the next one is written 20 seconds later, and the last one."""
    now, written = [0.0], []

    def slow(*args):
        now[0] += 1.0
        written.append(args[2]["history"][-1]["epoch"])

    monkeypatch.setattr("breastus.training.state.save_state", slow)
    monkeypatch.setattr("breastus.training.state.time.perf_counter", lambda: now[0])
    epochs = Epochs(config, tmp_path, sparing=True)
    epochs.state.set_params({"epochs": 12})
    best = []
    for epoch in range(12):
        now[0] += 4.0
        best.append(epochs.end(epoch, 12.0 - epoch))  # each epoch is better
    assert written == [1, 6, 11, 12]
    assert best == [0, 0, 0, 0, 0, 5, 5, 5, 5, 5, 10, 11]


def test_a_state_of_another_network_is_refused(config, tmp_path):
    Epochs(config, tmp_path, size=48).end(0, 1.0)
    with pytest.raises(RunError, match="of another network"):
        Epochs(config, tmp_path).restore()


class Patience(keras.callbacks.EarlyStopping):
    """Stops when the loss has not fallen by a lot in three epochs, which is always."""

    def __init__(self):
        super().__init__(monitor="loss", mode="min", min_delta=100.0, patience=3)


@pytest.mark.slow
def test_callbacks_and_metrics_of_ones_own(config, tables, tmp_path):
    """They are called, become columns, and count on where they were when a run is resumed."""
    config = config.replace({"training": {"epochs": 9}})
    auc = keras.metrics.AUC(name="auc")
    seen = []
    look = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: seen.append(dict(logs))
    )
    own = {"callbacks": [Patience(), look], "metrics": [auc, "mean_absolute_error"]}
    whole = fit(tmp_path / "whole", config, tables, **own)
    assert len(whole["history"]) == 4  # of nine: the first, and three of patience
    assert {"auc", "mean_absolute_error"} <= set(seen[0])
    assert all(np.isfinite(logs["loss"]) for logs in seen)
    columns = pd.read_csv(tmp_path / "whole" / "history.csv").columns
    assert {"auc", "val_auc", "val_mean_absolute_error", "learning_rate"} <= set(columns)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("breastus.training.trainer.TerminateOnNonFinite", lambda: Kill(2, 1))
        with pytest.raises(Killed):
            fit(tmp_path / "run", config, tables, callbacks=[Patience()], metrics=[auc])
    resumed = fit(tmp_path / "run", config, tables, callbacks=[Patience()], metrics=[auc])
    assert len(resumed["history"]) == 4
    # One that is stopped stays so.
    again = fit(tmp_path / "run", config, tables, callbacks=[Patience()], metrics=[auc])
    assert_equal(again, resumed)
    for name in resumed:
        if name.startswith(("model/", "optimizer/")):
            np.testing.assert_array_equal(resumed[name], whole[name], err_msg=name)


def test_nothing_is_unpickled(tmp_path):
    np.savez(tmp_path / "state.npz", record=np.array([{"evil": 1}], object))
    with pytest.raises(RunError, match="is damaged"):
        load_state(tmp_path)


def test_a_loss_that_is_not_finite_names_epoch_and_step(config, tmp_path):
    # The step at which it happens differs; that it is named does not.
    config = config.replace({"training": {"learning_rate": 10.0, "weight_decay": 10.0}})
    broken = config.replace({"training": {"epochs": 50}, "augmentation": {"policy": "none"}})

    class Explode(keras.losses.CategoricalCrossentropy):
        def call(self, y_true, y_pred):
            # Log of zero once the weights are large is what a person meets; here it is forced.
            return super().call(y_true, y_pred) * keras.ops.cast(float("nan"), "float32")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("breastus.training.network.make_loss", lambda *_, **__: Explode())
        with pytest.raises(
            TrainingError, match=r"loss is nan in epoch 1, at step \d.*learning_rate"
        ):
            train("cnn", config=broken, out=tmp_path / "run")
    assert not (tmp_path / "run" / "best.keras").exists()
