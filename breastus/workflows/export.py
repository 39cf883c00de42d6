"""Export bundles: one run, several runs averaged, or a model recalibrated for another hospital."""

import os
from collections.abc import Sequence
from pathlib import Path

from breastus.deploy.bundle import publish
from breastus.errors import BundleError, ConfigError
from breastus.runs.cross_validation import CrossValidation
from breastus.runs.run import Run
from breastus.workflows.ensemble import export_ensemble
from breastus.workflows.model_artifact import ModelArtifact
from breastus.workflows.recalibrate import export_recalibrated, recalibrated_name

MODELS = Path("models")


def export(
    models: Sequence[str | os.PathLike],
    *,
    out: str | os.PathLike | None = None,
    recalibrated: str | os.PathLike | None = None,
) -> Path:
    """Write a new bundle.

    Args:
        models: finished runs, or folders of a cross-validation; several networks are averaged.
            With `recalibrated` one model, also a bundle.
        out: the bundle folder, which must not exist; None takes `models/<model>`, or
            `models/<model>-<data set>` of a recalibrated one.
        recalibrated: folder of `evaluate_external(model, ..., recalibrate=N)`.
    """
    if recalibrated is not None:
        if len(models) > 1:
            raise ConfigError(
                f"--recalibrated takes one run or bundle. Received: {len(models)} of them"
            )
        model = ModelArtifact.load(models[0])
        out = _new(out, recalibrated_name(model, recalibrated))
        return export_recalibrated(model, recalibrated, out)
    runs = [run for path in models for run in CrossValidation(Path(path)).runs or [Run.load(path)]]
    out = _new(out, runs[0].config.model.name)
    return publish(runs[0].bundle, out) if len(runs) == 1 else export_ensemble(runs, out)


def _new(out: str | os.PathLike | None, name: str) -> Path:
    path = Path(out) if out is not None else MODELS / name
    if path.exists():
        raise BundleError(f"{path} exists. Choose another --out, or delete it.")
    return path
