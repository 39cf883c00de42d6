"""Check a vision-language checkpoint before it is loaded: a folder in, facts and fit out."""

import os
from typing import NamedTuple

from breastus.errors import HardwareError
from breastus.reporting.vlm_texts import check_summary
from breastus.vlm.llava_config import LlavaConfig
from breastus.vlm.memory import QUANTIZATIONS, Memory, check_memory, needed_memory
from breastus.vlm.models import find_checkpoint, licence_notice

_PRECISION = "bfloat16"  # in which checkpoints are published and loaded


class VlmCheck(NamedTuple):
    """A checkpoint whose tensors are all there, once each, with the right shapes.

    Attributes:
        layout: `original` or `converted`.
        tensors, shards, parameters: their numbers.
        config: sizes of its networks.
        memory: bytes needed, by quantization.
        refusals: reason by quantization why it does not fit into this machine; "" if it fits.
        licence: licence and intended use.
    """

    layout: str
    tensors: int
    shards: int
    parameters: int
    config: LlavaConfig
    memory: dict[str, Memory]
    refusals: dict[str, str]
    licence: str

    @property
    def fits(self) -> bool:
        """Whether it can be loaded here, quantized or not."""
        return not all(self.refusals.values())

    @property
    def summary(self) -> str:
        """All facts in a few lines."""
        return check_summary(self)


def check_vlm(model: str | os.PathLike) -> VlmCheck:
    """Check the files of a checkpoint, without reading its weights.

    Args:
        model: argument of `breastus.build_vlm`.

    Raises:
        ModelError: if the name is unknown.
        WeightsError: if a file or a tensor is missing, spare, damaged or of another shape.
    """
    checkpoint = find_checkpoint(model)
    config = LlavaConfig.of(checkpoint)
    checkpoint.check(config.shapes())
    _ = checkpoint.tokenizer_file  # it must be there
    memory, refusals = {}, {}
    for quantize in QUANTIZATIONS:
        options = {"precision": _PRECISION, "quantize": quantize}
        memory[quantize], refusals[quantize] = needed_memory(config, **options), ""
        try:
            check_memory(config, **options)
        except HardwareError as error:
            refusals[quantize] = str(error)
    found = checkpoint.tensors.values()
    return VlmCheck(
        layout="original" if checkpoint.config["model_type"] == "llava_mistral" else "converted",
        tensors=len(found),
        shards=len({one.file for one in found}),
        parameters=sum(one.size for one in found),
        config=config,
        memory=memory,
        refusals=refusals,
        licence=licence_notice(model),
    )
