"""The errors this package raises on purpose, each with a message for a person.

The command line prints them without a traceback and exits with their `exit_status`.
"""

from typing import ClassVar


class EdgeError(Exception):
    """Something went wrong at run time; the message says what, where and what to do."""

    exit_status: ClassVar[int] = 1


class ConfigError(EdgeError):
    """The configuration or the command's own words are wrong; nothing was started."""

    exit_status: ClassVar[int] = 2


class ModelError(EdgeError):
    """A model file cannot be opened, or does not fit what is asked of it."""


class BatchError(ModelError):
    """A model cannot run several frames in one forward pass; one at a time it can."""


class GoldenError(ModelError):
    """A model answers its golden inputs otherwise than its golden file says."""


class GoldenFileError(ConfigError):
    """A golden file cannot be read, or does not fit the model."""


class CardError(ModelError):
    """A model's card or catalogue cannot be read, or its folder is not what the card says."""


class SignatureError(ModelError):
    """A model is not signed by whom it should be, or a key is none."""


class FetchError(EdgeError):
    """A file cannot be fetched; nothing was changed."""


class UnreachableError(FetchError):
    """No server answers by now: it is off, or its name is not known, or our clock is not set."""


class BrokenOffError(FetchError):
    """A transfer ended before its end; another try may get further."""


class EngineError(EdgeError):
    """No interpreter is installed that can do what is asked."""


class AcceleratorError(EdgeError):
    """An accelerator cannot be used, or gave up; on the CPU the model may run all the same."""

    def __init__(self, message: str, cause: str = "failed") -> None:
        """`cause` is one of `edge.accelerators.base.Cause`."""
        super().__init__(message)
        self.cause = cause


class SourceError(EdgeError):
    """A source cannot deliver: absent, unreadable, gone. A state, not an end."""


class FrameError(EdgeError):
    """One frame is unusable; the next may be good."""


class DecodeError(EdgeError):
    """The decoder or the labels do not fit the model: the configuration is wrong."""

    exit_status: ClassVar[int] = 2


class CacheError(ConfigError):
    """The cache asked for does not fit the model."""


class SinkError(EdgeError):
    """Results cannot be handed on."""


class ServiceError(EdgeError):
    """The service cannot be installed, started or asked how it is."""
