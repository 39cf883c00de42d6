"""Every error and warning that breastus raises on purpose.

    BreastusError            (a ValueError)
    ├── ConfigError          a setting: unknown, of the wrong type, out of range
    │   └── HardwareError    hardware that a setting asks for and the machine does not have
    ├── DataError            a data set: not found, no images, one class only
    │   ├── ImageError       one image file: empty, truncated, not an image, too large
    │   ├── HubError         the Hugging Face hub: no such repository, checksum differs
    │   │   └── HubUnreachableError  the hub does not answer
    │   └── SplitError       the images cannot be split as asked
    ├── ModelError           a model: unknown name, impossible size
    │   └── WeightsError     pretrained weights: out of reach, not whole, of another network, leaky
    ├── RunError             a run folder: exists, belongs to other settings, cannot be saved
    │   └── TrainingError    training itself: the loss is not finite
    └── BundleError          a bundle folder: missing parts, not one of ours
        └── ExportError      a graph for another runtime that cannot be made, or answers otherwise

    BreastusWarning                   (a UserWarning)
    ├── DataWarning                   images or files left out of a data set or a split
    ├── PretrainedWeightsWarning      random weights instead of pretrained ones
    ├── PretrainingLeakageWarning     pretrained weights that have seen val or test images
    ├── UndefinedMetricWarning        a metric or interval that is NaN
    ├── FewGroupsWarning              an estimate from too few patients or scenes
    └── StaleResultWarning            a stored result that belongs to other predictions

Each message names the argument or file, states the rule and what to do, and ends with
`Received: ...` if a value was passed.
"""

import difflib
from collections.abc import Iterable


class BreastusError(ValueError):
    """Base of all errors; the command line prints it without a traceback."""


class ConfigError(BreastusError):
    """A setting is unknown, of the wrong type or out of range."""


class HardwareError(ConfigError):
    """The machine does not have what a setting asks for: a GPU, devices, memory."""


class DataError(BreastusError):
    """A data set is missing, empty or cannot be used as asked."""


class ImageError(DataError):
    """One image file cannot be read."""


class HubError(DataError):
    """A repository on the Hugging Face hub does not exist, or a download is damaged."""


class HubUnreachableError(HubError):
    """The Hugging Face hub does not answer."""


class SplitError(DataError):
    """The images cannot be split as asked."""


class ModelError(BreastusError):
    """A model name is unknown or its arguments are impossible."""


class WeightsError(ModelError):
    """Pretrained weights cannot be loaded, are of another network, or have seen held-out images."""


class RunError(BreastusError):
    """A run folder cannot be created, resumed or saved."""


class TrainingError(RunError):
    """A training cannot continue, because the loss or the weights are not finite."""


class BundleError(BreastusError):
    """A folder is not a usable bundle."""


class ExportError(BundleError):
    """A network cannot be converted for a runtime, or answers otherwise there."""


class BreastusWarning(UserWarning):
    """Base of all warnings; the command line prints their message only."""


class DataWarning(BreastusWarning):
    """Images or files of a data set are excluded."""


class PretrainedWeightsWarning(BreastusWarning):
    """A network starts from random weights, because its pretrained ones cannot be loaded."""


class PretrainingLeakageWarning(BreastusWarning):
    """The initial weights were pretrained on images that the run holds out."""


class UndefinedMetricWarning(BreastusWarning):
    """A metric, or its interval, is NaN because the data do not define it."""


class FewGroupsWarning(BreastusWarning):
    """An estimate is unreliable because it is fitted on too few patients or scenes."""


class StaleResultWarning(BreastusWarning):
    """A stored result belongs to other predictions and is discarded."""


def did_you_mean(received: object, known: Iterable[str]) -> str:
    """Return " Did you mean ...?" for the message about an unknown name, or "" if none is close."""
    near = difflib.get_close_matches(str(received), list(known), n=1)
    return f" Did you mean {near[0]}?" if near else ""
