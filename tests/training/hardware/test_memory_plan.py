"""Memory plans: their parts and their sum."""

import pytest

from breastus.models.registry import build_model
from breastus.training.hardware.memory_plan import MIB, MemoryPlanner

PARAMETERS = 266_306  # of the study's CNN at 224 pixels; all of them trainable


@pytest.mark.parametrize(
    ("options", "weights", "gradients", "slots"),
    [
        ({}, 1, 1, 2),
        ({"optimizer": "sgd"}, 1, 1, 1),
        ({"ema": True}, 2, 1, 2),
        ({"training": False}, 1, 0, 0),
    ],
)
def test_parts_that_the_weights_decide(options, weights, gradients, slots):
    plan = MemoryPlanner(build_model("cnn"), **options).plan(2)
    found = (plan.weights, plan.gradients, plan.slots)
    # The seed of dropout's generator is a variable as well.
    assert found == pytest.approx([4 * PARAMETERS * n for n in (weights, gradients, slots)], abs=64)
    assert (plan.activations > 0) == options.get("training", True)
    assert plan.total == sum(vars(plan).values())
    assert f"{plan.total / MIB:.0f} MiB (weights" in str(plan)


def test_parts_of_a_batch_keep_the_sum_of_their_gradients():
    planner = MemoryPlanner(build_model("cnn", image_size=64))
    assert planner.plan(4, accumulation_steps=2).gradients == 2 * planner.plan(4).gradients


def test_the_largest_batch_fits_and_one_more_does_not():
    planner = MemoryPlanner(build_model("cnn", image_size=64))
    memory = planner.plan(1).total + 100 * MIB
    largest = planner.largest_batch(memory)
    assert planner.plan(largest).total <= memory < planner.plan(largest + 1).total
    assert planner.largest_batch(planner.plan(1).total - 1) == 0
    assert planner.largest_batch(2**50, limit=64) == 64


def test_a_gpu_does_not_hold_the_framework():
    model = build_model("cnn", image_size=64)
    assert MemoryPlanner(model, gpu=True).plan(1).framework == 0
    assert MemoryPlanner(model).plan(1).framework > 300 * MIB
