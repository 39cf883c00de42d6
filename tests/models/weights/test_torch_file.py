"""Checkpoints are read as data: nothing in them is run, and damage is named."""

import os
import pickle
from collections import OrderedDict

import numpy as np
import pytest

from breastus.errors import ModelError
from breastus.models.weights.torch_file import read_torch_file

MAGIC = 0x1950A86A20F9469CFC6C


class _Global:
    """Pickles as a name that nobody has to be able to import."""

    def __init__(self, name):
        self.name = name


class _Rebuild:
    def __init__(self, *arguments):
        self.arguments = arguments


class _Writer(pickle._Pickler):
    """Writes what torch.save wrote before 1.6, without PyTorch."""

    def save(self, value, save_persistent_id=True):
        if isinstance(value, _Global):
            self.write(pickle.GLOBAL + value.name.replace(" ", "\n").encode() + b"\n")
        elif isinstance(value, _Rebuild):
            self.save(_Global("torch._utils _rebuild_tensor_v2"))
            self.write(pickle.MARK)
            storage, *rest = value.arguments
            self.save(storage)
            self.write(pickle.BINPERSID)
            for argument in rest:
                self.save(argument)
            self.write(pickle.TUPLE + pickle.REDUCE)
        else:
            super().save(value, save_persistent_id)


def write(path, values: dict, *, extra=None):
    def storage(key, array):
        kind = {"f": "torch FloatStorage", "i": "torch LongStorage"}[array.dtype.kind]
        return ("storage", _Global(kind), key, "cpu", array.size, None)

    arrays = {str(number): array for number, array in enumerate(values.values())}
    tensors = {}
    for (name, array), key in zip(values.items(), arrays, strict=True):
        strides = tuple(step // array.itemsize for step in array.strides)
        tensors[name] = _Rebuild(storage(key, array), 0, array.shape, strides, False, OrderedDict())
    if extra is not None:
        tensors["extra"] = extra
    with open(path, "wb") as file:
        for part in (MAGIC, 1001, {"little_endian": True}):
            pickle.dump(part, file, protocol=2)
        _Writer(file, protocol=2).dump(tensors)
        pickle.dump(list(arrays), file, protocol=2)
        for array in arrays.values():
            file.write(np.int64(array.size).tobytes() + array.tobytes())
    return path


VALUES = {
    "weight": np.arange(12, dtype=np.float32).reshape(3, 4),
    "steps": np.array(7, np.int64),
    "bias": np.linspace(-1, 1, 5, dtype=np.float32),
}


def test_tensors_come_back(tmp_path):
    found = read_torch_file(write(tmp_path / "a.pth", VALUES))
    assert list(found) == list(VALUES)
    for name, value in VALUES.items():
        np.testing.assert_array_equal(found[name], value)


class _Evil:
    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return os.system, (f"touch '{self.mark}'",)


def test_nothing_is_run(tmp_path):
    with pytest.raises(ModelError, match="posix system', which is refused"):
        read_torch_file(write(tmp_path / "evil.pth", VALUES, extra=_Evil(tmp_path / "was-run")))
    assert not (tmp_path / "was-run").exists()


@pytest.mark.parametrize("share", [0.0, 0.1, 0.6, 0.9, 0.99])
def test_a_truncated_file_is_named(tmp_path, share):
    data = write(tmp_path / "a.pth", VALUES).read_bytes()
    (tmp_path / "b.pth").write_bytes(data[: int(share * len(data))])
    with pytest.raises(ModelError, match=r"b\.pth are not a state dictionary"):
        read_torch_file(tmp_path / "b.pth")


def test_a_tensor_beyond_its_storage_is_refused(tmp_path):
    values = {"a": np.lib.stride_tricks.as_strided(np.zeros(2, np.float32), (2, 2), (4, 4))}
    path = write(tmp_path / "a.pth", values)
    data = path.read_bytes().replace(np.int64(4).tobytes(), np.int64(2).tobytes())
    path.write_bytes(data[: len(data) - 8])
    with pytest.raises(ModelError, match="beyond its storage"):
        read_torch_file(path)


@pytest.mark.parametrize("data", [b"PK\x03\x04", b"not at all", pickle.dumps([1, 2])])
def test_another_format_is_named(tmp_path, data):
    (tmp_path / "a.pth").write_bytes(data)
    with pytest.raises(ModelError, match="not a state dictionary"):
        read_torch_file(tmp_path / "a.pth")
    with pytest.raises(ModelError, match="cannot be opened"):
        read_torch_file(tmp_path / "none.pth")
