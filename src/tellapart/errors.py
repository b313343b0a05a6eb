"""Every error that tellapart raises on purpose, on one page.

::

    TellapartError
    ├── ConfigError          an option or argument that cannot be used
    ├── DataError            the images or their labels
    │   ├── EmptyDataset     no usable image was found
    │   ├── ManifestError    a CSV/Parquet/DataFrame manifest that cannot be used
    │   ├── UnreadableImage  one file that cannot become pixels
    │   ├── TooFewImages     a class, or the number of classes, is too small
    │   ├── FetchError       an address that may not be asked, or did not answer with an image
    │   ├── SplitError       a split that cannot be made, or that was given and does not fit
    │   └── JournalError     the label journal cannot be used, or is not as it was written
    │       └── LabelConflict  others changed a label first
    ├── StaleList            places in a list of images that is no longer known
    ├── ReadOnly             something was to be changed where everything may only be read
    ├── ModelError           networks, weights and bundles
    │   ├── UnknownBackbone  no network of that name
    │   ├── WeightsError     weights that cannot be fetched or do not fit
    │   ├── BundleError      a folder that is not a usable model bundle
    │   └── ClassMismatch    a dataset whose classes the model does not know
    ├── TrainingError        a run that cannot go on (diverged, or cannot be resumed)
    ├── ServiceError         a service that cannot start, cannot be reached or refuses
    │   └── DeploymentError  a deployment that does not exist, exists already or is gone
    │       ├── Unreachable  the cluster that may run it does not answer
    │       └── PortTaken    another program listens where it should
    ├── CacheError           the folder of things that can be computed again
    ├── ExportError          an exported model that does not agree with the trained one
    └── MissingExtra         a part of tellapart that is not installed

A message says what we got, what we accept, and what to type next. Only the command line turns
these into an exit status; libraries' own errors are translated where the library is called.
"""

from typing import Any


class TellapartError(Exception):
    """Base of every error that tellapart raises on purpose."""


class ConfigError(TellapartError, ValueError):
    """An option or argument that cannot be used."""


class DataError(TellapartError, ValueError):
    """Something is wrong with the images or their labels."""


class EmptyDataset(DataError):
    """No usable image was found."""


class ManifestError(DataError):
    """A manifest lacks a column, names a missing file or cannot be read."""


class UnreadableImage(DataError):
    """One file that cannot become pixels; its message is the reason, without the path."""


class TooFewImages(DataError):
    """A class has too few images, or there are fewer than two classes."""


class SplitError(DataError):
    """A split cannot be made, or the one that was given does not fit the data."""


class FetchError(DataError):
    """An address may not be asked, or does not answer with what was wanted.

    Attributes
    ----------
    status
        What a service answers with to whoever named the address.
    """

    status: int = 400


class JournalError(DataError):
    """The journal of labels cannot be read or written, or is not as it was written."""


class LabelConflict(JournalError):
    """What was to be changed is no longer what the writer saw; nothing was written.

    Attributes
    ----------
    clashes
        What does not fit, `tellapart.data.label_events.Clash` each.
    """

    clashes: tuple[Any, ...] = ()


class StaleList(TellapartError):
    """Images were named by their places in a list that is no longer known; nothing was done."""


class ReadOnly(TellapartError):
    """Something was to be changed where everything may only be read."""


class ModelError(TellapartError):
    """Something is wrong with a network, its weights or a bundle."""


class UnknownBackbone(ModelError, ValueError):
    """No network has that name."""


class WeightsError(ModelError):
    """Weights cannot be fetched, read, or do not fit the network."""


class BundleError(ModelError):
    """A folder is not a model bundle that this version can use."""


class ClassMismatch(ModelError, ValueError):
    """The dataset has classes that the model does not know."""


class TrainingError(TellapartError):
    """A training run cannot go on."""


class ServiceError(TellapartError):
    """A service cannot start, cannot be reached, or refuses what it was asked."""


class DeploymentError(ServiceError):
    """A deployment of that name does not exist, exists already, or its process is gone."""


class Unreachable(DeploymentError):
    """The cluster that may run a deployment does not answer: what it runs is not known."""


class PortTaken(DeploymentError):
    """Another program listens where a deployment should."""


class CacheError(TellapartError):
    """The cache cannot be read or written."""


class ExportError(TellapartError):
    """An exported model does not agree with the model it was made from."""


class MissingExtra(TellapartError, ImportError):
    """A part of tellapart that is not installed."""
