"""Ask a vision-language model about images: a model and images in; a table of predictions out.

vlm = breastus.build_vlm("llava-med")
report = ask_vlm(vlm, data="path/to/BUSI", controls=True)
report.table         # the columns of a trained model's predictions, and the answers
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from tqdm import tqdm

from breastus.config.schema import Config
from breastus.data.manifest.schema import included
from breastus.errors import ConfigError, RunError
from breastus.evaluation.options import EvaluationOptions
from breastus.evaluation.predictions import check_predictions
from breastus.labels import LABELS, LUMP
from breastus.reporting.vlm_texts import answers_summary, controls_summary
from breastus.utils.files import write_csv, write_json
from breastus.vlm.asking import THRESHOLD, Answer, Vlm
from breastus.vlm.controls import run_controls
from breastus.vlm.pixels import noise_image
from breastus.workflows.prepare import Places, prepare_manifest, prepare_splits, with_settings

_FACTS = ("image_id", "split", "group_id", "finding", "label")


class VlmReport(NamedTuple):
    """Answers about images.

    Attributes:
        table: one row an image that could be read.
        errors: why the others could not be read.
        controls: result of `run_controls`; None if they were not asked for.
        out: the file of the table; the controls lie beside it, as `NAME.controls.json`.
    """

    table: pd.DataFrame
    errors: list[str]
    controls: dict[str, Any] | None
    out: Path

    @property
    def summary(self) -> str:
        """The answers, and what the controls say about them, in a few lines."""
        lines = [answers_summary(self.table)]
        return "\n".join([*lines, controls_summary(self.controls)] if self.controls else lines)


def ask_vlm(
    vlm: Vlm,
    images: Sequence[str | os.PathLike] = (),
    *,
    data: Places | None = None,
    history: str | None = None,
    controls: bool = False,
    out: str | os.PathLike = "predictions.csv",
    config: Config | None = None,
    **settings: Any,
) -> VlmReport:
    """Ask about images, and write the answers as predictions.

    The table has the columns of a trained model's predictions, so that `breastus.score`,
    `Decision.fit` and `evaluate_predictions` take it, and of each answer `log_odds`,
    `blank_log_odds`, `answer_mass`, `abstained`, `text_label`, `explanation`, `recommendation`,
    `text` and `prompts`. Images that are named alone have no label, group and split.

    Args:
        vlm: a model, as from `breastus.build_vlm`.
        images: image files.
        data: instead of images: a data set, see `breastus.train`. All images that it includes are
            asked about; nothing is trained, so that each may be tested.
        history: clinical history, the same for all images.
        controls: true to run the controls as well, see `run_controls`; needs `data`.
        out: a new CSV file.
        config: all settings, with `data`; None takes the defaults. `data`, `evaluation`
            and `seed` count.
        **settings: single settings by name, such as `split="kfold"`.

    Raises:
        ConfigError: without images and data, or with both; for controls without data; or if a
            setting is unknown.
        RunError: if a file exists.
        DataError: if the data cannot be found or split.
    """
    given = data is not None or config is not None  # a config names a data set
    if bool(images) == given:
        raise ConfigError("Give either image files or --data, and not both.")
    if controls and not given:
        raise ConfigError("--controls needs --data, because it needs labels.")
    out = Path(out)
    controls_file = out.with_suffix(".controls.json")
    for file in (out, *([controls_file] if controls else ())):
        if file.exists():
            raise RunError(f"{file} exists. Choose another --out, or delete it.")
    config = with_settings(config or Config(), data, settings)
    rows = _labelled(config) if given else _unlabelled(images)
    answers = vlm.ask(tqdm(rows["path"], "asking", disable=None), history)
    table = _table(rows, answers, vlm)
    if given:
        check_predictions(table, "the predictions")
    found = None
    if controls:
        found = _controls(vlm, table, answers, history, config)
        write_json(controls_file, found)
    write_csv(out, table)
    return VlmReport(table, [one.error for one in answers if one.error], found, out)


def _labelled(config: Config) -> pd.DataFrame:
    manifest = prepare_manifest(config)
    splits = prepare_splits(config, manifest)
    return included(manifest).merge(splits, on="image_id")[[*_FACTS, "path"]]


def _unlabelled(images: Sequence[str | os.PathLike]) -> pd.DataFrame:
    paths = [os.fspath(image) for image in images]
    return pd.DataFrame({"image_id": paths, **dict.fromkeys(_FACTS[1:], ""), "path": paths})


def _table(rows: pd.DataFrame, answers: list[Answer], vlm: Vlm) -> pd.DataFrame:
    """Return one row for each answer without an error."""
    read = np.array([not answer.error for answer in answers], bool)
    found = [answer for answer in answers if not answer.error]
    probability = [answer.probability for answer in found]
    return rows.loc[read, [*_FACTS]].assign(
        predicted=[answer.label for answer in found],
        probability=probability,
        probability_uncalibrated=probability,
        threshold=THRESHOLD,
        log_odds=[answer.log_odds.mean() for answer in found],
        blank_log_odds=[answer.blank_log_odds for answer in found],
        answer_mass=[answer.answer_mass for answer in found],
        abstained=[answer.abstained for answer in found],
        text_label=[answer.text_label for answer in found],
        explanation=[answer.explanation for answer in found],
        recommendation=[answer.recommendation for answer in found],
        text=[answer.text for answer in found],
        prompts=vlm.prompts.label,
    )


def _controls(
    vlm: Vlm, table: pd.DataFrame, answers: list[Answer], history: str | None, config: Config
) -> dict[str, Any]:
    """Ask about noise and a blank image, and compare."""
    fitted, _ = vlm.fit_history(history)
    size = vlm.model.image_size
    noise = [
        vlm.log_odds(noise_image(size, seed), fitted)
        for seed in tqdm(range(len(table)), "asking about noise", disable=None)
    ]
    return {
        "prompts": vlm.prompts.label,
        **run_controls(
            (table["label"] == LABELS[LUMP]).to_numpy(int),
            table["group_id"].tolist(),
            np.stack([answer.log_odds for answer in answers if not answer.error]),
            blank=vlm.blank_log_odds(fitted),
            noise=np.stack(noise),
            options=EvaluationOptions.from_settings(config.evaluation, seed=config.seed),
        ),
    }
