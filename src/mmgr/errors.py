"""Errors that a user can mend: one message each, shown without a traceback."""


class MmgrError(Exception):
    """Bad input or a bad state, with what, where and what to do in its message."""


class ConfigError(MmgrError):
    """A configuration that cannot be used."""


class InputError(MmgrError):
    """A file that is missing, empty, unreadable or of the wrong form."""


class ImageryError(InputError):
    """Imagery from which no patch can be cut."""


class RegionError(InputError):
    """Regions that cannot be made or used."""


class PoiError(InputError):
    """Points of interest that cannot be used."""


class LabelError(InputError):
    """Labels that cannot be used."""


class SplitError(MmgrError):
    """A split that cannot be made, as with fewer blocks than folds."""


class ArtefactError(MmgrError):
    """An artefact of an earlier stage that is missing, torn or of another version."""


class OtherTrainingError(ArtefactError):
    """A folder with the checkpoints of another training: other data, recipe or software."""


class BusyError(MmgrError):
    """An output folder that another run is writing."""


class StorageError(MmgrError):
    """A file that cannot be written, as on a full disk."""
