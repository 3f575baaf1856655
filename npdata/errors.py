"""Every error that npdata raises, each also the builtin that a user would catch.

A message says what was got, what was expected, where (file, field, index) and what to do. A missing
path is the builtin `FileNotFoundError`, a folder the builtin `IsADirectoryError`. Warnings name the
line that called npdata.
"""

import importlib
import re
import sys
import warnings
from types import FrameType
from typing import Any


class NpdataError(Exception):
    """Base of every error of this package."""


class ArgumentError(NpdataError, TypeError, ValueError):
    """A function was called with arguments that it does not have, or without one that it needs.

    A TypeError as Python raises it, and a ValueError as all that is wrong with an argument.
    """


class ConversionError(NpdataError, TypeError, ValueError):
    """The array cannot become a tensor, or not in the way that was asked for.

    A ValueError too, as NumPy and torch raise where a copy cannot be avoided.
    """


class SettingError(NpdataError, ValueError):
    """An environment variable that npdata reads holds no value that it can use."""


class SourceError(NpdataError, ValueError):
    """The data cannot be read as rows."""


class FormatError(SourceError):
    """The file is not what its name, its header or its directory says."""


class TruncatedError(FormatError):
    """The file holds fewer bytes than its header declares."""


class MemberNotFoundError(SourceError, KeyError):
    """The file has no such member or dataset; the message lists those that it has."""

    def __str__(self) -> str:
        """Give the message itself, where KeyError would give its repr."""
        return str(self.args[0]) if self.args else ""


class UnsupportedSourceError(SourceError, TypeError):
    """The argument is no source of rows."""


class ExternalDataError(SourceError):
    """The file points at other files, which was not allowed, or which are not there."""


class DirectAccessError(SourceError):
    """The dataset cannot be read without h5py, and `access="direct"` was given."""


class FileLockError(SourceError):
    """The file cannot be locked for reading."""


class ChangedFileError(NpdataError, RuntimeError):
    """The file is not, or no longer, the one that was opened."""


class ClosedError(NpdataError, ValueError):
    """A dataset, source or loader, or an iteration of it, was used after `close()`."""


class FieldError(NpdataError, ValueError):
    """The fields make no dataset together: lengths, names or options do not agree."""


class RowIndexError(NpdataError, IndexError):
    """A row number is outside the dataset."""


class RowIndexTypeError(NpdataError, TypeError):
    """An index is not a row number: a float, a string, a tuple, a bool alone."""


class UnequalShapesError(NpdataError, ValueError, RuntimeError):
    """Samples of different shapes were to be stacked into one batch."""


class MaskLostError(NpdataError, ValueError):
    """A batch that has a mask was taken apart into samples or rows, which cannot mark padding."""


class SampleWrittenError(NpdataError, RuntimeError):
    """A transform wrote into its sample, and `copy=False` promised that it does not."""


class BatchTransformError(NpdataError, ValueError):
    """What `batch_transform` gave has not one row for each sample, and samples were asked for."""


class SamplerError(NpdataError, ValueError):
    """The order, the batches or the ranks asked for cannot be."""


class StateError(NpdataError, ValueError):
    """The saved state does not belong to this sampler, or is none."""


class StateWarning(UserWarning):
    """A loaded state contradicts `set_epoch`, or a state counts other batches than a loop had."""


class WindowWarning(UserWarning):
    """A window that was asked for holds more decoded chunks than there is memory for."""


class BordersWarning(UserWarning):
    """Borders may be lengths, flags, or a number for each row; they are taken as borders."""


class CacheWarning(UserWarning):
    """Decoded rows are not kept: the disk is full, or their file is cut or out of reach."""


class RandomnessWarning(UserWarning):
    """Random numbers of transforms that are alike in all epochs, or depend on the threads."""


class PaddingWarning(UserWarning):
    """A trainer predicts, and some of the predictions are of rows that came before."""


class LoaderError(NpdataError, ValueError):
    """The options of a loader cannot be, contradict each other, or would be ignored."""


class NotBatchedError(LoaderError, TypeError):
    """A dataset without `__getitems__`, which reads no batches, or a sample in place of a batch."""


class DeviceError(LoaderError, RuntimeError):
    """The device asked for is not there, or cannot hold the values."""


class DoesNotFitError(LoaderError, MemoryError):
    """The rows that were to be resident are more than the memory that they may take."""


class MissingExtraError(LoaderError, ImportError):
    """An optional package is not installed; the message names the extra."""


class ThreadError(NpdataError, RuntimeError):
    """The system gives fewer threads than are needed, or one has died."""


class ForkError(NpdataError, RuntimeError):
    """An iterator with threads was used in a process that was forked later."""


def threads_refused(asked: int, given: int, instead: str = "") -> ThreadError:
    """Give the error for threads that the system refused; `instead` says how to do with fewer.

    Examples:
        >>> raise threads_refused(2, 1)
        Traceback (most recent call last):
        npdata.errors.ThreadError: the system gave 1 of 2 threads: raise the limit ...
    """
    return ThreadError(
        f"the system gave {given} of {asked} threads: raise the limit of threads (`ulimit -u`) "
        f"or of memory (`ulimit -v`){instead and ', or ' + instead}"
    )


def warn(message: str, category: type[Warning]) -> None:
    """Issue a warning at the line that called npdata, through however many functions."""
    frame, level = sys._getframe(1), 2
    while frame.f_back is not None and _is_within(frame):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)


def _is_within(frame: FrameType) -> bool:
    """Tell whether a frame is of npdata, or of a context manager that it enters."""
    return frame.f_globals.get("__name__", "").partition(".")[0] in ("npdata", "contextlib")


def an(kind: str) -> str:
    """Give the name of a type as a sentence has it.

    Examples:
        >>> [an(kind) for kind in ("int64", "uint8", "Unbatched", "ndarray", "list")]
        ['an int64', 'a uint8', 'an Unbatched', 'an ndarray', 'a list']
    """
    return f"{'an' if _VOWEL.match(kind) else 'a'} {kind}"


_VOWEL = re.compile("(?i)(?!one|u(int|ni|se|uid|func))[aeioux]|nd|h5")
"""How names begin that are spoken with a vowel."""


def require(module: str, *, extra: str, purpose: str) -> Any:
    """Import the optional `module`, part of `extra`; `purpose` begins the error's sentence.

    Raises `MissingExtraError` (an ImportError).

    Examples:
        >>> require("nowhere", extra="plot", purpose="--plot")
        Traceback (most recent call last):
        npdata.errors.MissingExtraError: --plot needs nowhere, ...: pip install 'npdata[plot]'
    """
    package = module.partition(".")[0]
    try:
        importlib.import_module(package)
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtraError(
            f"{purpose} needs {package}, which is not installed: pip install 'npdata[{extra}]'"
        ) from error
