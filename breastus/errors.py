"""Every error breastus raises on purpose.

    BreastusError
    ├── ConfigError          a setting: unknown, of the wrong type, out of range
    │   └── HardwareError    the machine does not have what a setting asks for
    ├── DataError            a data set: not found, no images, one class only
    │   ├── ImageError       one image file: empty, truncated, not an image, too large
    │   ├── HubError         the data hub: out of reach, checksum differs
    │   └── SplitError       the images cannot be split as asked
    ├── ModelError           a model: unknown name, impossible size
    │   └── WeightsError     pretrained weights: out of reach, not whole, of another network, leaky
    ├── RunError             a run folder: exists, belongs to other settings, cannot be saved
    │   └── TrainingError    training itself: the loss is not finite
    └── BundleError          a bundle folder: missing parts, not one of ours

Each message names the argument or file, states the rule and the way out, and where a value was
passed ends with `Received: ...`. They are ValueErrors, since each is about a value somebody gave.
"""


class BreastusError(ValueError):
    """Base of all errors raised on purpose; the command line prints it without a traceback."""


class ConfigError(BreastusError):
    """A setting is unknown, of the wrong type or out of range."""


class HardwareError(ConfigError):
    """The machine does not have what a setting asks for: a GPU, devices, memory."""


class DataError(BreastusError):
    """A data set is missing, empty or cannot be used as asked."""


class ImageError(DataError):
    """One image file cannot be read."""


class HubError(DataError):
    """The data hub cannot be reached or delivered damaged files."""


class SplitError(DataError):
    """The images cannot be split as asked."""


class ModelError(BreastusError):
    """A model name is unknown or its arguments are impossible."""


class WeightsError(ModelError):
    """Pretrained weights cannot be had, are not whole, are of another network, or have seen a test.

    The last: images that a run holds out were among those the weights were learned from.
    """


class RunError(BreastusError):
    """A run folder cannot be created, resumed or saved."""


class TrainingError(RunError):
    """Training cannot go on: the loss or the weights are not finite."""


class BundleError(BreastusError):
    """A folder is not a usable bundle."""


class UndefinedMetricWarning(UserWarning):
    """A metric, or its interval, is NaN because the data do not define it."""


class FewGroupsWarning(UserWarning):
    """An estimate is unreliable because it is fitted on too few patients or scenes."""


class StaleResultWarning(UserWarning):
    """A stored result belongs to other predictions and is discarded."""


class DataWarning(UserWarning):
    """A data set has a flaw that does not stop the work, such as an unreadable file."""
