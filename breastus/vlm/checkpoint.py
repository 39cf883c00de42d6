"""A checkpoint folder of the Hugging Face layout: config, safetensors shards, index, tokenizer.

Names and shapes come from the headers of the shards, so that a checkpoint is checked before a
weight is read. Each tensor is read once, when it is asked for.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from breastus.errors import WeightsError

CONFIG_FILE, INDEX_FILE, SINGLE_FILE = (
    "config.json",
    "model.safetensors.index.json",
    "model.safetensors",
)
TOKENIZER_FILE, TOKENIZER_CONFIG_FILE = "tokenizer.model", "tokenizer_config.json"
PATTERNS = ("*.json", "*.safetensors", TOKENIZER_FILE)  # of the files that are downloaded
_WEIGHTS = ("F32", "F16", "BF16")  # safetensors' names


@dataclass(frozen=True)
class Tensor:
    """A tensor as the header of its shard describes it."""

    shape: tuple[int, ...]
    dtype: str  # safetensors' name, such as BF16
    file: Path

    @property
    def size(self) -> int:
        """Number of weights."""
        return math.prod(self.shape)


class Checkpoint:
    """The files of one checkpoint.

    Attributes:
        folder: the folder.
        config: content of config.json.
        tokenizer_config: content of tokenizer_config.json; empty without that file.
        tensors: name to `Tensor`. Integer buffers such as `position_ids`, which older versions of
            `transformers` wrote, do not count.

    Raises:
        WeightsError: if a file is missing, damaged or truncated, or if the shards and their index
            disagree.
    """

    def __init__(self, folder: Path):
        self.folder = Path(folder)
        self.config = self._json(CONFIG_FILE)
        has_options = (self.folder / TOKENIZER_CONFIG_FILE).is_file()
        self.tokenizer_config = self._json(TOKENIZER_CONFIG_FILE) if has_options else {}
        self.tensors: dict[str, Tensor] = {}
        for file, names in self._files().items():
            found = _headers(file)
            if names is not None and (differ := sorted(names ^ set(found))):
                where = "the index" if differ[0] in found else "the shard"
                raise WeightsError(
                    f"{file} and {INDEX_FILE} disagree: {differ[0]} is missing from {where}. "
                    "Download the checkpoint again."
                )
            self.tensors |= {name: one for name, one in found.items() if one.dtype in _WEIGHTS}

    @property
    def tokenizer_file(self) -> Path:
        """The SentencePiece model. Raises WeightsError if it is missing."""
        path = self.folder / TOKENIZER_FILE
        if not path.is_file():
            raise WeightsError(
                f"{self.folder} has no {TOKENIZER_FILE}. Copy the file from the repository of the "
                "original model; a tokenizer.json alone is not read."
            )
        return path

    def read(self, name: str) -> np.ndarray:
        """Return one tensor with its own dtype; bfloat16 is the dtype of `ml_dtypes`."""
        import ml_dtypes  # noqa: F401  # registers bfloat16 with NumPy
        from safetensors import SafetensorError, safe_open

        file = self.tensors[name].file
        try:
            with safe_open(file, framework="np") as shard:
                return shard.get_tensor(name)
        except (SafetensorError, OSError) as error:
            raise _damaged(file, error) from error

    def check(self, expected: Mapping[str, tuple[int, ...]]) -> None:
        """Compare names and shapes of all tensors with the expected ones.

        Raises:
            WeightsError: names a missing tensor, a spare one, or one of another shape.
        """
        missing = expected.keys() - self.tensors.keys()
        spare = self.tensors.keys() - expected.keys()
        for found, what in ((missing, "lacks"), (spare, "holds more than this model needs:")):
            if names := sorted(found):
                more = f" and {len(names) - 1} more" if len(names) > 1 else ""
                raise WeightsError(
                    f"The checkpoint {self.folder} {what} {names[0]}{more}. Download it again, or "
                    "check that its config.json belongs to its shards."
                )
        for name, shape in expected.items():
            if (got := self.tensors[name].shape) != shape:
                raise WeightsError(
                    f"{name} of the checkpoint {self.folder} must have the shape {list(shape)} by "
                    f"its config.json. Received: {list(got)}"
                )

    def _json(self, name: str) -> dict[str, Any]:
        path = self.folder / name
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise WeightsError(
                f"{self.folder} is not a checkpoint: it has no {name}. Name the folder that holds "
                "config.json and the .safetensors files."
            ) from error
        except (OSError, ValueError) as error:
            raise WeightsError(f"{path} cannot be read: {error}") from error
        if not isinstance(content, dict):
            raise WeightsError(f"{path} must be a JSON object. Received: {type(content).__name__}")
        return content

    def _files(self) -> dict[Path, set[str] | None]:
        """Return the shards with the names that the index gives them, None without an index."""
        if not (self.folder / INDEX_FILE).is_file():
            if not (self.folder / SINGLE_FILE).is_file():
                raise WeightsError(
                    f"{self.folder} has neither {INDEX_FILE} nor {SINGLE_FILE}. Files of another "
                    "format, such as pytorch_model.bin, are not read."
                )
            return {self.folder / SINGLE_FILE: None}
        places = self._json(INDEX_FILE).get("weight_map")
        if not isinstance(places, dict) or not places:
            raise WeightsError(f"{self.folder / INDEX_FILE} has no weight_map.")
        files: dict[Path, set[str] | None] = {}
        for name, file in places.items():
            # An index must not lead out of its folder.
            files.setdefault(self.folder / Path(str(file)).name, set()).add(name)
        return files


def _headers(file: Path) -> dict[str, Tensor]:
    """Return the tensors of one shard."""
    from safetensors import SafetensorError, safe_open

    if not file.is_file():
        raise WeightsError(
            f"The shard {file} is missing. Download the checkpoint again: finished files are kept."
        )
    try:
        with safe_open(file, framework="np") as shard:
            slices = {name: shard.get_slice(name) for name in shard.keys()}  # noqa: SIM118
            return {
                name: Tensor(tuple(one.get_shape()), one.get_dtype(), file)
                for name, one in slices.items()
            }
    except (SafetensorError, OSError) as error:
        raise _damaged(file, error) from error


def _damaged(file: Path, error: Exception) -> WeightsError:
    return WeightsError(f"{file} is damaged or truncated: {error}. Download it again.")
