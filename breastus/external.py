"""Judge a run on images from elsewhere: a run and a data set in, a report out. Nothing is fitted.

    elsewhere = evaluate_external("runs/compact", data="path/to/BUS-UCLM")
    elsewhere.metrics["test"]["roc_auc"]

    runs/compact/external/bus_uclm/
      manifest.csv, predictions.csv, metrics.json, report.html, figures/

Calibration, threshold and referral are those the run came with: what happens to them at another
hospital is the question. Images that took part in training are left out, and so are those that
the data set's own curation leaves out.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from breastus.data.manifest import included, load_manifest, summary, write_manifest
from breastus.errors import DataError
from breastus.evaluation.decision import Decision
from breastus.evaluation.judgement import judgement
from breastus.evaluation.plots import save_figures
from breastus.evaluation.predictions import lump_probability, write_predictions
from breastus.evaluation.report import write_report
from breastus.files import read_json, write_json
from breastus.judging import attributes, notices, worst_errors
from breastus.labels import LABELS, LUMP
from breastus.setting_texts import join_sources
from breastus.training.run import DECISION_FILE, MANIFEST_FILE, METRICS_FILE, Run
from breastus.training.seen_images import pretraining_seen
from breastus.training.trainer import Trainer

FOLDER = "external"


@dataclass(frozen=True)
class External:
    """A run judged on images from elsewhere.

    Attributes:
        path: the folder of the report.
        metrics: as in its metrics.json: as from `judge`, of "test" alone, and `left_out`, how many
            images were left out as they took part in training.
    """

    path: Path
    metrics: dict[str, Any]


def evaluate_external(
    run: Run | str | os.PathLike,
    data: str | os.PathLike | Sequence[str | os.PathLike],
    *,
    out: str | os.PathLike | None = None,
) -> External:
    """Predict a data set with a run's network and judge it as the run's test images were.

    Args:
        run: a finished run.
        data: as for `breastus.train`.
        out: a folder; None takes `external/<sources>` in the run.

    Raises:
        RunError: when the run is not finished.
        DataError: when no image with a label is left.

    Warns:
        UndefinedMetricWarning: for what one class or few groups leave undefined.
    """
    run = run if isinstance(run, Run) else Run.load(run)
    config, decision = run.config, Decision.from_dict(read_json(run.file(DECISION_FILE)))
    manifest = load_manifest(join_sources(data), settings=config.data, seed=config.seed)
    manifest, seen = _without_seen(manifest, run)
    rows = included(manifest).reset_index(drop=True)
    if rows.empty:
        raise DataError(
            f"No image of {join_sources(data)} is left to test on: {seen} took part in training, "
            "the others are left out or have no label. Name another data set."
        )
    folder = Path(out) if out is not None else _folder(run, rows)
    trainer = Trainer(run.path, config, {"test": rows})
    table = rows[["image_id", "group_id", "finding", "label"]].assign(split="test")
    table["raw"] = lump_probability(trainer.predict(trainer.best_model(), "test"))
    table = decision.apply(table)
    metrics = judgement(
        {"test": table},
        decision,
        attributes=attributes(manifest, table["image_id"]),
        model=f"{config.model.name}, elsewhere",
        color=config.preprocessing.color,
        settings=config.evaluation,
        seed=config.seed,
    )
    metrics["left_out"] = seen
    write_manifest(manifest, folder / MANIFEST_FILE)
    write_predictions(table, folder / "predictions.csv")
    write_json(folder / METRICS_FILE, metrics)
    figures = save_figures(
        folder / "figures", metrics=metrics, predictions={"test": table}, seed=config.seed
    )
    write_report(
        folder / "report.html",
        metrics=metrics,
        config=config.to_dict(),
        environment=run.environment,
        notices=[*notices(run, manifest), _notice(rows, seen)],
        data_summary=summary(manifest),
        worst=worst_errors(table, manifest),
        figures=figures,
    )
    return External(folder, metrics)


def _without_seen(manifest: pd.DataFrame, run: Run) -> tuple[pd.DataFrame, int]:
    """Exclude images that the run trained or was chosen by; return how many there were."""
    own = pd.read_csv(run.file(MANIFEST_FILE), dtype=str, keep_default_na=False)
    splits = pd.read_csv(run.file("splits.csv"), dtype=str).set_index("image_id")["split"]
    used = own[own["image_id"].map(splits).isin(("train", "val"))]["sha256"]
    used = {*used, *pretraining_seen(run.path)}
    seen = manifest["sha256"].isin(used) & (manifest["sha256"] != "")
    fresh = seen & (manifest["excluded"] == "")
    return (
        manifest.assign(
            excluded=manifest["excluded"].mask(fresh, "duplicate: took part in training")
        ),
        int(fresh.sum()),
    )


def _folder(run: Run, rows: pd.DataFrame) -> Path:
    return run.path / FOLDER / "-".join(sorted(set(rows["source"])))


def _notice(rows: pd.DataFrame, seen: int) -> str:
    lumps = int((rows["label"] == LABELS[LUMP]).sum())
    sources = ", ".join(sorted(set(rows["source"])))
    text = (
        f"Images from elsewhere: {len(rows)} of {sources} ({lumps} with a lump). Calibration, "
        "threshold and referral are those that the model came with; nothing was fitted here."
    )
    if seen:
        text += f" {seen} images that took part in training were left out."
    return text
