"""Tensors of a PyTorch checkpoint, read without running its pickle: a file in, NumPy arrays out.

`torch.save` writes a pickle, and unpickling can run anything. Here the pickle's opcodes are read as
data by an interpreter that knows dictionaries, tuples, numbers, texts and two constructors;
whatever else the file asks for is refused. PyTorch is not needed.

Reads the format that `torch.save` wrote before version 1.6 (`pytorch/torch/serialization.py`,
`_legacy_save`): magic number, protocol version, system facts, the object, the storages' keys, and
then each storage as its length (int64) and its raw little-endian values.
"""

import os
import pickletools
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from breastus.errors import WeightsError

_MAGIC = 0x1950A86A20F9469CFC6C
_DTYPES = {
    "torch FloatStorage": "<f4",
    "torch DoubleStorage": "<f8",
    "torch HalfStorage": "<f2",
    "torch LongStorage": "<i8",
    "torch IntStorage": "<i4",
}
_DICTIONARY = "collections OrderedDict"
_TENSOR = "torch._utils _rebuild_tensor_v2"
_MARK = object()
# Opcodes that push a constant, those that push an empty container, those that do nothing here.
_CONSTANTS = {"BININT", "BININT1", "BININT2", "LONG1", "BINUNICODE", "BINFLOAT"}
_NAMED = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}


@dataclass(frozen=True)
class _Tensor:
    """A tensor whose values come later; `storage` is (_, type, key, device, size, _)."""

    storage: tuple
    offset: int
    shape: tuple
    strides: tuple  # in elements

    def array(self, storages: dict[str, np.ndarray]) -> np.ndarray:
        values = storages[self.storage[2]]
        last = self.offset + sum(
            (size - 1) * step for size, step in zip(self.shape, self.strides, strict=True)
        )
        if min(self.offset, last, *self.strides, 0) < 0 or last >= len(values):
            raise ValueError("a tensor reaches beyond its storage")
        strides = [step * values.itemsize for step in self.strides]
        view = np.lib.stride_tricks.as_strided(values[self.offset :], self.shape, strides)
        return view.copy()


def read_torch_file(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """Return the tensors of a checkpoint that holds a state dictionary.

    Args:
        path: a `.pth` file in the format of PyTorch before 1.6.

    Returns:
        Name to array.

    Raises:
        WeightsError: when the file cannot be read, is of another format, is truncated, or asks for
            more than tensors.
    """
    try:
        with Path(path).open("rb") as file:
            if _load(file) != _MAGIC:
                raise ValueError("it does not start with PyTorch's number")
            _load(file)  # protocol version
            _load(file)  # facts about the machine that wrote it
            tensors = _load(file)
            keys = _load(file)
            kinds = {t.storage[2]: _DTYPES[t.storage[1]] for t in tensors.values()}
            storages = {key: _read_storage(file, np.dtype(kinds[key])) for key in keys}
        return {name: tensor.array(storages) for name, tensor in tensors.items()}
    except OSError as error:
        raise WeightsError(f"The weights {path} cannot be opened: {error.strerror}.") from error
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise WeightsError(
            f"The weights {path} are not a state dictionary as PyTorch wrote it before 1.6, or are "
            f"damaged: {error}. Install or fetch them again."
        ) from error


def _load(file: BinaryIO) -> Any:
    """Interpret one pickle, up to its STOP, with nothing but the opcodes below."""
    stack: list[Any] = []
    memo: dict[int, Any] = {}
    for opcode, argument, _ in pickletools.genops(file):
        name = opcode.name
        if name in _CONSTANTS:
            stack.append(argument)
        elif name in _NAMED:
            stack.append(_NAMED[name])
        elif name == "GLOBAL":
            if argument not in (_DICTIONARY, _TENSOR, *_DTYPES):
                raise ValueError(f"it asks for {argument!r}, which is refused")
            stack.append(argument)
        elif name in ("EMPTY_DICT", "EMPTY_LIST", "EMPTY_TUPLE"):
            stack.append({"EMPTY_DICT": {}, "EMPTY_LIST": [], "EMPTY_TUPLE": ()}[name])
        elif name == "MARK":
            stack.append(_MARK)
        elif name in ("BINPUT", "LONG_BINPUT"):
            memo[argument] = stack[-1]
        elif name in ("BINGET", "LONG_BINGET"):
            stack.append(memo[argument])
        elif name == "TUPLE":
            stack.append(tuple(_since_mark(stack)))
        elif name in ("TUPLE1", "TUPLE2", "TUPLE3"):
            count = int(name[-1])
            stack[-count:] = [tuple(stack[-count:])]
        elif name == "APPEND":
            item = stack.pop()
            stack[-1].append(item)
        elif name == "APPENDS":
            items = _since_mark(stack)
            stack[-1].extend(items)
        elif name == "SETITEM":
            value, key = stack.pop(), stack.pop()
            stack[-1][key] = value
        elif name == "SETITEMS":
            items = _since_mark(stack)
            stack[-1].update(zip(items[::2], items[1::2], strict=True))
        elif name == "BINPERSID":
            stack.append(stack.pop())  # a storage's description stays a description
        elif name == "REDUCE":
            arguments, constructor = stack.pop(), stack.pop()
            stack.append(_construct(constructor, arguments))
        elif name == "BUILD":
            stack.pop()  # attributes of the dictionary, such as its version
        elif name not in ("PROTO", "STOP"):
            raise ValueError(f"it uses the opcode {name}, which is refused")
    return stack.pop()


def _since_mark(stack: list) -> list:
    position = max(i for i, item in enumerate(stack) if item is _MARK)
    items = stack[position + 1 :]
    del stack[position:]
    return items


def _construct(constructor: Any, arguments: tuple) -> Any:
    if constructor == _DICTIONARY and arguments == ():
        return {}
    if constructor == _TENSOR:
        return _Tensor(*arguments[:4])
    raise ValueError(f"it calls {constructor!r}, which is refused")


def _read_storage(file: BinaryIO, dtype: np.dtype) -> np.ndarray:
    (count,) = np.frombuffer(file.read(8), "<i8")
    data = file.read(int(count) * dtype.itemsize) if count >= 0 else b""
    if len(data) != count * dtype.itemsize:
        raise ValueError("it ends too early")
    return np.frombuffer(data, dtype)
