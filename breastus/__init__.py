"""breastus: lump or no lump in a breast ultrasound image, and how far the answer can be trusted.

Research software, not a medical device. The public names are imported at first use, so that
`import breastus` does not import TensorFlow.
"""

import importlib
import os

__version__ = "0.1.0"

_PUBLIC = {
    "Config": "breastus.config.schema",
    "Predictor": "breastus.deploy.predictor",
    "Run": "breastus.runs.run",
    "build_model": "breastus.models.registry",
    "cross_validate": "breastus.workflows.cross_validate",
    "default_config": "breastus.config.presets",
    "evaluate_external": "breastus.workflows.validate_externally",
    "export_ensemble": "breastus.workflows.ensemble",
    "export_recalibrated": "breastus.workflows.recalibrate",
    "list_models": "breastus.models.registry",
    "list_sources": "breastus.data.sources.registry",
    "load_manifest": "breastus.data.manifest.build",
    "pretrain": "breastus.workflows.pretrain",
    "pretraining_config": "breastus.config.presets",
    "register_model": "breastus.models.registry",
    "register_source": "breastus.data.sources.registry",
    "register_split_scheme": "breastus.data.splits.scheme",
    "evaluate_robustness": "breastus.workflows.evaluate_robustness",
    "train": "breastus.workflows.train",
}

__all__ = ["__version__", *sorted(_PUBLIC)]

# Keras reads this once, at its import; what was chosen before stands.
os.environ.setdefault("KERAS_BACKEND", "tensorflow")


def __getattr__(name: str):
    if name not in _PUBLIC:
        raise AttributeError(f"module 'breastus' has no attribute {name!r}")
    value = getattr(importlib.import_module(_PUBLIC[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
