"""An accumulated batch trains like the whole batch, whatever the size of the last one."""

import numpy as np
import pytest
from fitting import assert_equal, fit

from breastus.training.optimizers import Schedule

PLAIN = {"augmentation": {"policy": "none"}, "model": {"dropout": 0.0}}
SETTINGS = {"schedule": "one_cycle", "clip_norm": 0.5, "batch_size": 8, "optimizer": "sgd"}


def config_of(tiny_config, parts, **changes):
    training = {**SETTINGS, "accumulation_steps": parts, "learning_rate": 0.05, **changes}
    return tiny_config.replace({**PLAIN, "training": training})


@pytest.mark.parametrize(
    "images",
    [pytest.param(16, marks=pytest.mark.slow), pytest.param(19, marks=pytest.mark.slow), 17],
)
def test_parts_give_the_weights_of_the_whole_batch(tiny_config, tables, tmp_path, images):
    # 16 images are two whole batches; 19 leave one of 3 and 17 one of 1, for 4 parts.
    tables = {**tables, "train": tables["train"][:images]}
    whole = fit(tmp_path / "whole", config_of(tiny_config, 1), tables)
    parts = fit(tmp_path / "parts", config_of(tiny_config, 4), tables)
    moved = 0
    for name in whole:
        if name.startswith(("model/", "best.keras/")) and whole[name].dtype == np.float32:
            np.testing.assert_allclose(parts[name], whole[name], atol=2e-5, err_msg=name)
            moved += 1
    assert moved == 16
    # Losses, accuracies and learning rates epoch by epoch; what was accumulated is used up.
    np.testing.assert_allclose(parts["history"][:, -1], whole["history"][:, -1], rtol=1e-6)
    if images == 16:
        np.testing.assert_allclose(parts["history"], whole["history"], rtol=1e-3)
    leftover = [v for k, v in parts.items() if k.startswith("accumulated/")]
    assert len(leftover) == 8
    assert not any(np.any(sum_) for sum_ in leftover)


def test_schedules_count_updates_not_parts():
    for kind in ("constant", "cosine", "one_cycle"):
        whole, parts = Schedule(kind, 1.0, 20, 5), Schedule(kind, 1.0, 20, 5, accumulation_steps=4)
        assert [float(parts(i)) for i in range(80)] == [
            float(whole(i)) for i in range(20) for _ in range(4)
        ]
        late = Schedule(kind, 1.0, 20, 5, accumulation_steps=4, first_step=8)
        assert [float(late(4 * i)) for i in range(12)] == [float(whole(i + 8)) for i in range(12)]


@pytest.mark.slow
def test_interrupted_in_the_middle_of_a_batch(tiny_config, tables, tmp_path, interrupted):
    config = config_of(tiny_config, 3)
    whole = fit(tmp_path / "whole", config, tables)
    assert_equal(interrupted(tmp_path / "run", config, tables, epoch=1, step=4), whole)
