"""The errors that this project raises on purpose.

Each message is written for the person in front of the screen: it says what is wrong and what to do,
and never holds a path of the machine it runs on. Anything else that surfaces is a bug.
"""


class LggError(Exception):
    """Base of every error below; catch it to show `str(error)` to a user."""


class SliceError(LggError):
    """An image cannot be read, or cannot be used as an MRI slice."""


class SeriesError(SliceError):
    """Files cannot be put together to one patient's series."""


class WeightsError(LggError):
    """A weights folder is missing, damaged, foreign or made for another network."""


class PublishError(LggError):
    """What was to be published is not fit for it, or the Hub did not take it."""


class DataError(LggError):
    """A training or evaluation folder is not what the data set's layout promises."""


class DiskError(LggError):
    """A file cannot be written: the disk is full, or not ours to write on."""
