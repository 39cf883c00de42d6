"""breastus: find lumps in breast ultrasound images, and report how far each score can be trusted.

Research software, not a medical device. The public names are imported when they are first used, so
that `import breastus` does not import TensorFlow.
"""

import importlib
import os

__version__ = "0.1.0"

_PUBLIC = {
    "Config": "breastus.config.schema",
    "Predictor": "breastus.deploy.predictor",
    "Run": "breastus.runs.run",
    "ask_vlm": "breastus.workflows.ask_vlm",
    "audit": "breastus.workflows.audit",
    "build_model": "breastus.models.registry",
    "build_vlm": "breastus.vlm.models",
    "check": "breastus.workflows.check",
    "compare_runs": "breastus.workflows.compare",
    "cross_validate": "breastus.workflows.cross_validate",
    "default_config": "breastus.config.presets",
    "evaluate_external": "breastus.workflows.validate_externally",
    "evaluate_robustness": "breastus.workflows.evaluate_robustness",
    "evaluate_run": "breastus.workflows.evaluate",
    "explain_images": "breastus.workflows.explain",
    "export_ensemble": "breastus.workflows.ensemble",
    "export_recalibrated": "breastus.workflows.recalibrate",
    "export_splits": "breastus.workflows.export_splits",
    "external_lesion_maps": "breastus.workflows.explain",
    "list_models": "breastus.models.registry",
    "list_sources": "breastus.data.sources.registry",
    "load_manifest": "breastus.data.manifest.build",
    "measure_lesion_maps": "breastus.workflows.explain",
    "prepare": "breastus.workflows.prepare",
    "pretrain": "breastus.workflows.pretrain",
    "pretraining_config": "breastus.config.presets",
    "probe_vlm": "breastus.workflows.probe_vlm",
    "register_callback": "breastus.training.callbacks.registry",
    "register_loss": "breastus.training.losses",
    "register_model": "breastus.models.registry",
    "register_source": "breastus.data.sources.registry",
    "register_split_scheme": "breastus.data.splits.scheme",
    "score": "breastus.workflows.score",
    "train": "breastus.workflows.train",
}
# Rooms and modules.
_WITHOUT_TENSORFLOW = (
    *("config", "runs", "data", "workflows.export_splits", "workflows.score"),
    "deploy.predictor",  # which imports it if it is the runtime
)

__all__ = ["__version__", *sorted(_PUBLIC)]

# Keras reads this once, when it is imported; an earlier choice of the user stays.
os.environ.setdefault("KERAS_BACKEND", "tensorflow")


def __getattr__(name: str):
    if name not in _PUBLIC:
        raise AttributeError(f"module 'breastus' has no attribute {name!r}")
    module = _PUBLIC[name]
    if not module.removeprefix("breastus.").startswith(_WITHOUT_TENSORFLOW):
        importlib.import_module("breastus.utils.quiet").import_tensorflow()
    value = getattr(importlib.import_module(module), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
