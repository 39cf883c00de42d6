"""The networks of a fold's turns start and see their images each in its own way."""

import numpy as np
from fitting import assert_equal, fit

from breastus.training.seeds import network_seed


def _turn(config, turn, seed=0):
    return config.replace({"data": {"split": "kfold", "turn": turn}, "seed": seed})


def test_seeds_of_turns_are_their_own_and_repeat(tiny_config):
    turns = [_turn(tiny_config, turn, seed) for seed in (0, 1, 2**31 - 1) for turn in range(4)]
    seeds = [network_seed(config) for config in turns]
    assert seeds[::4] == [0, 1, 2**31 - 1]  # the first turn's is the experiment's
    assert len(set(seeds)) == len(seeds)
    assert seeds == [network_seed(config) for config in turns]
    assert all(isinstance(seed, int) and 0 <= seed < 2**31 for seed in seeds)


def test_a_turn_trains_otherwise_on_the_same_images_and_repeats(tiny_config, tables, tmp_path):
    config = tiny_config.replace({"training": {"epochs": 1}})
    first = fit(tmp_path / "first", _turn(config, 0), tables)
    second = fit(tmp_path / "second", _turn(config, 1), tables)
    assert not np.array_equal(first["history"], second["history"])
    assert_equal(fit(tmp_path / "again", _turn(config, 1), tables), second)
