"""The errors whose exit code differs from a usage error."""


class DataError(Exception):
    """A file that a run needs is missing, corrupt, or may not be fetched (exit code 3)."""


class MissingData(DataError):
    """It is not there at all."""


class RunError(Exception):
    """A run started and failed (exit code 1)."""
