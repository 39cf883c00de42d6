"""The vision-language models that breastus knows by name, and how a name or a folder is loaded."""

import contextlib
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from breastus.errors import HubError, ModelError, WeightsError, did_you_mean
from breastus.utils.hub import cached_folder, download
from breastus.vlm.checkpoint import PATTERNS, Checkpoint
from breastus.vlm.prompts import DEFAULT

if TYPE_CHECKING:
    from breastus.vlm.asking import Vlm

NOT_CLINICAL = "Research software: not a medical device, and not for clinical use."


@dataclass(frozen=True)
class KnownModel:
    """A published model.

    Attributes:
        repo: its repository on the Hugging Face hub.
        gigabytes: size of the download, 10^9 bytes.
        licence: licence and intended use, as the model card states them.
    """

    repo: str
    gigabytes: float
    licence: str


KNOWN = {
    "llava-med": KnownModel(
        "microsoft/llava-med-v1.5-mistral-7b",
        15.1,
        "Apache-2.0 by its model card, released for research only",
    )
}


def find_checkpoint(model: str | os.PathLike) -> Checkpoint:
    """Return the checkpoint that a name or a folder means, downloaded if it is not cached.

    Raises:
        ModelError: if the name is unknown.
        WeightsError: if the model is neither cached nor within reach, or a file is missing.
    """
    if Path(model).is_dir():
        return Checkpoint(Path(model))
    if (known := KNOWN.get(str(model))) is None:
        raise ModelError(
            f"The model must be one of {', '.join(KNOWN)}, or the folder of a checkpoint."
            f"{did_you_mean(model, KNOWN)} Received: {os.fspath(model)!r}"
        )
    if (folder := cached_folder(known.repo, PATTERNS, kind="model")) is not None:
        # A download that broke off is continued below.
        with contextlib.suppress(WeightsError):
            return Checkpoint(folder)
    print(f"breastus: downloading {known.repo}, {known.gigabytes} GB", file=sys.stderr)
    try:
        return Checkpoint(download(known.repo, PATTERNS, kind="model"))
    except HubError as error:
        raise WeightsError(
            f"{model} is not in the cache and could not be downloaded: {error} It has "
            f"{known.gigabytes} GB; licence: {known.licence}. Where there is a network, run: "
            f"hf download {known.repo} --local-dir {model} ; then copy the folder here and name "
            f"it: --model {model}"
        ) from error


def licence_notice(model: str | os.PathLike) -> str:
    """Return the licence of a model, and that it is not for clinical use."""
    known = KNOWN.get(str(model))
    licence = known.licence if known else "see the model card of the checkpoint"
    return f"{os.fspath(model)}: licence: {licence}. {NOT_CLINICAL}"


def build_vlm(
    model: str | os.PathLike,
    *,
    prompts: str | os.PathLike = DEFAULT,
    subtract_blank: bool = False,
    reports: bool = True,
    precision: str = "bfloat16",
    quantize: str = "none",
    tower: str = "checkpoint",
) -> "Vlm":
    """Load a vision-language model, ready to be asked.

    Licence and intended use are printed to stderr.

    Args:
        model: `llava-med`, or the folder of a checkpoint in the layout of
            microsoft/llava-med-v1.5-mistral-7b or of llava-hf.
        prompts: name of a prompt set (`phrasings`, `study`, `birads`), or a YAML file.
        subtract_blank: true if each image's log odds are reduced by those of a blank image.
        reports: true to generate text as well.
        precision: bfloat16 (as published), float16 or float32.
        quantize: `none`, or `int8` for the language model.
        tower: `checkpoint`, `clip` (OpenAI's weights, which the original code loads) or the folder
            of a KerasHub preset of CLIP.

    Raises:
        ModelError: if the name is unknown.
        HardwareError: if the model does not fit into memory.
        WeightsError: if the checkpoint cannot be found, or is not whole.
        ConfigError: if the prompts or an option are invalid.
    """
    # Before anything is downloaded.
    from breastus.vlm.asking import Vlm
    from breastus.vlm.prompts import read_prompts

    asked = read_prompts(prompts)
    checkpoint = find_checkpoint(model)
    print(f"breastus: {licence_notice(model)}", file=sys.stderr)

    from breastus.vlm.llava import LlavaMed

    loaded = LlavaMed(checkpoint, precision=precision, quantize=quantize, tower=tower)
    return Vlm(loaded, prompts=asked, subtract_blank=subtract_blank, reports=reports)
