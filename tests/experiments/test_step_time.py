"""The time of a step is counted by kind of operation, from a profile of TensorFlow."""

import pytest

from breastus.errors import RunError
from experiments.benchmarks.step_time import operations, section


def profile(path, events):
    """Write a profile in which each (name, milliseconds) is an event of a core of its own."""
    from tensorflow.tsl.profiler.protobuf import xplane_pb2

    space = xplane_pb2.XSpace()
    plane = space.planes.add(name="/host:CPU")
    for number, (name, milliseconds) in enumerate(events):
        plane.event_metadata[number].name = name
        event = plane.lines.add(name=f"tf_Compute/{number}").events.add(metadata_id=number)
        event.duration_ps = int(milliseconds * 1e9)
    path.mkdir(parents=True)
    (path / "vm.xplane.pb").write_bytes(space.SerializeToString())


def test_operations_are_counted_by_kind_without_the_events_around_them(tmp_path):
    events = [
        ("ExecutorState::Process", 90.0),
        ("EagerLocalExecute: __inference_one_step_1", 100.0),
        ("cnn_1/conv_1/Relu:_MklNativeFusedConv2D", 20.0),
        ("cnn_1/conv_2/Relu:_MklNativeFusedConv2D", 10.0),
        ("gradient_tape/cnn_1/pool/MaxPoolGrad:_MklMaxPoolGrad", 5.0),
        ("AssignAddVariableOp:AssignAddVariableOp", 1.0),
        ("ParallelFor", 7.0),
    ]
    profile(tmp_path / "plugins" / "profile", events)
    assert operations(tmp_path) == pytest.approx(
        {"FusedConv2D": 0.030, "MaxPoolGrad": 0.005, "AssignAddVariableOp": 0.001}
    )


def test_a_profile_without_operations_is_an_error(tmp_path):
    profile(tmp_path / "empty", [("python", 3.0)])
    with pytest.raises(RunError, match="named no operations"):
        operations(tmp_path)


def test_shares_add_up_to_the_time_of_all_cores():
    kinds = {f"Kind{number}": 0.05 for number in range(16)}
    step = {"model": "cnn", "batch": 32, "precision": "float32", "seconds": 0.5, "shares": kinds}
    text = section([step], "2 cores")
    assert "0.50 s a step, 64.0 images/s" in text
    shares = [float(line.split("|")[2].strip(" %")) for line in text.splitlines() if "% |" in line]
    assert sum(shares) == pytest.approx(100.0)
    assert "| 2 other kinds | 10.0% |" in text
