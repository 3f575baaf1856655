"""Every error that npdata raises, each also the builtin that a user would catch.

A message says what was got, what was expected, where (file, field, index) and what to do.

    NpdataError
    ├── ArgumentError (TypeError, ValueError) a call with arguments that the function has not
    ├── ConversionError (TypeError, ValueError) an array that no tensor can hold, or not as asked
    ├── SettingError (ValueError)          an environment variable that holds no usable value
    ├── SourceError (ValueError)           data that cannot be read as rows
    │   ├── FormatError                    a file that is not what it says it is
    │   │   └── TruncatedError             a file that holds less than it declares
    │   ├── MemberNotFoundError (KeyError) a member or dataset that is not there
    │   ├── UnsupportedSourceError (TypeError) an argument that is no source of rows
    │   ├── ExternalDataError              data that a file keeps in other files
    │   ├── DirectAccessError              a dataset that only h5py can read, and it was ruled out
    │   └── FileLockError                  a file whose lock the system or a writer refuses
    ├── ChangedFileError (RuntimeError)    a file that is not the one that was opened
    ├── ClosedError (ValueError)           use after close()
    ├── FieldError (ValueError)            fields that make no dataset together
    ├── RowIndexError (IndexError)         a row that is not there
    ├── RowIndexTypeError (TypeError)      an index that is not a row number
    ├── UnequalShapesError (ValueError, RuntimeError) samples that cannot be stacked
    ├── MaskLostError (ValueError)         a batch with a mask taken apart into samples
    ├── SampleWrittenError (RuntimeError)  a transform that writes in spite of copy=False
    ├── BatchTransformError (ValueError)   a batch_transform whose result has no samples
    ├── SamplerError (ValueError)          an order, batch or rank that cannot be
    ├── StateError (ValueError)            a saved state that does not belong to this sampler
    ├── LoaderError (ValueError)           options of a loader that cannot be, or not together
    │   ├── NotBatchedError (TypeError)    a dataset without __getitems__
    │   ├── DeviceError (RuntimeError)     a device that is not there
    │   ├── DoesNotFitError (MemoryError)  rows that are more than the memory for them
    │   └── MissingExtraError (ImportError) an optional package that is not installed
    └── ForkError (RuntimeError)           an iterator with threads, used in a forked process

`StateWarning` (UserWarning) names a state that `set_epoch` contradicts, or that counts too much.
`RandomnessWarning` (UserWarning) names random numbers that are alike, or depend on the threads.
`PaddingWarning` (UserWarning) names rows that a trainer's predictions repeat.
`WindowWarning` (UserWarning) names a window of more decoded chunks than memory holds.
`BordersWarning` (UserWarning) names borders of windows that may be lengths; none is changed.
`CacheWarning` (UserWarning) names a cache that is full or was cut short; rows stay right.
A missing path is the builtin `FileNotFoundError`, a folder the builtin `IsADirectoryError`.

Below the classes is what words the errors of calls that Python refuses: `explained` passes a call
on untouched, and only where its arguments do not fit says what to type. It checks no values.
"""

import functools
import importlib
import inspect
from collections.abc import Callable, Container, Iterable, Mapping
from difflib import get_close_matches
from inspect import Parameter
from types import MappingProxyType
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")
V = TypeVar("V")

_NONE: Mapping[str, str] = MappingProxyType({})
_POSITIONAL = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
_OPEN = (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)


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
    """The dataset or source was used after `close()`."""


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
    """A loaded state contradicts `set_epoch`, or a state counts batches that no loop received."""


class WindowWarning(UserWarning):
    """A window that was asked for holds more decoded chunks than there is memory for."""


class BordersWarning(UserWarning):
    """Borders of recordings may be lengths, or a number for each row; they are taken as borders."""


class CacheWarning(UserWarning):
    """Decoded rows are no longer kept: the disk is full, or somebody cut the file of the cache."""


class RandomnessWarning(UserWarning):
    """Random numbers of transforms that are alike in all epochs, or depend on the threads."""


class PaddingWarning(UserWarning):
    """A trainer predicts, and some of the predictions are of rows that came before."""


class LoaderError(NpdataError, ValueError):
    """The options of a loader cannot be, contradict each other, or would be ignored."""


class NotBatchedError(LoaderError, TypeError):
    """A dataset without `__getitems__`, which reads no batches, or a sample in place of a batch."""


class DeviceError(LoaderError, RuntimeError):
    """The device asked for is not there."""


class DoesNotFitError(LoaderError, MemoryError):
    """The rows that were to be resident are more than the memory that they may take."""


class MissingExtraError(LoaderError, ImportError):
    """An optional package is not installed; the message names the extra."""


class ForkError(NpdataError, RuntimeError):
    """An iterator with threads was used in a process that was forked later."""


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


def explained(
    words: Mapping[str, str] = _NONE, *, usage: str = "", by_name: str = ""
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Decorate a function so that a call with arguments it does not have says what to type.

    `words` are arguments of other libraries, one or several with blanks between, with the argument
    of ours or a sentence in their place. `usage` is the call to write where an argument is missing,
    and `by_name` where too many came without their names; without these the signature is shown.

    Raises `ArgumentError` (a TypeError and a ValueError).

    Examples:
        >>> @explained({"size": "length"})
        ... def windows(length, *, stride=1): ...
        >>> windows(16, 4)
        Traceback (most recent call last):
        npdata.errors.ArgumentError: windows() takes length by position, and the rest by name: ...
        >>> windows(size=16)
        Traceback (most recent call last):
        npdata.errors.ArgumentError: windows() has no argument size=; write length=16
    """
    words = each_word(words)

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(function)
        def call(*args: P.args, **options: P.kwargs) -> R:
            try:
                return function(*args, **options)
            except TypeError as error:
                # No frame below this one: the call itself was refused.
                if error.__traceback__ is None or error.__traceback__.tb_next is not None:
                    raise
                text = _refusal(function, args, options, words, usage, by_name) or str(error)
            raise ArgumentError(text)

        return call

    return decorate


def each_word(table: Mapping[str, V]) -> dict[str, V]:
    """Give a table by the single words of its keys, each of which may hold several.

    Examples:
        >>> each_word({"size window": "length"})
        {'size': 'length', 'window': 'length'}
    """
    return {word: value for words, value in table.items() for word in words.split()}


def near(word: object, known: Iterable[str], end: str = "=") -> str:
    """Give a question for the word that was meant, or nothing where none is like it.

    Examples:
        >>> near("dtypes", ["dtype", "axis"]), near("xyz", ["dtype"])
        ('; did you mean dtype=?', '')
    """
    found = get_close_matches(str(word), list(known), 1, 0.62)
    return f"; did you mean {found[0]}{end}?" if found else ""


def no_attribute(owner: object, name: str, words: Mapping[str, str] = _NONE) -> AttributeError:
    """Give the error for an attribute that `owner` has not, with what takes its place.

    Raises what a property of that name raised, which Python would hide.

    Examples:
        >>> no_attribute(3, "bit_lenght")
        AttributeError("'int' object has no attribute 'bit_lenght'; did you mean bit_length?")
    """
    if hasattr(type(owner), name):
        object.__getattribute__(owner, name)
    text = f"{type(owner).__name__!r} object has no attribute {name!r}"
    if name.startswith("_"):  # asked by programs; to look for a like one takes 45 µs
        return AttributeError(text)
    public = (each for each in dir(type(owner)) if not each.startswith("_"))
    cure = f"; {words[name]}" if name in words else near(name, public, "")
    return AttributeError(text + cure)


def refuse_to_set(owner: object, name: str, options: Container[str]) -> None:
    """Raise AttributeError where an option is set on what was made without it.

    It would be an attribute that nobody reads.

    Examples:
        >>> refuse_to_set(3, "seed", ("seed",))
        Traceback (most recent call last):
        AttributeError: seed= is given where an int is made, and changes nothing in this one: ...
    """
    if name in options:
        kind = type(owner).__name__
        article = "an" if kind[0] in "aeiou" else "a"
        raise AttributeError(
            f"{name}= is given where {article} {kind} is made, and changes nothing in this one: "
            f"make another, {kind}(..., {name}=...)"
        )


def _refusal(
    function: Callable[..., Any],
    args: tuple[Any, ...],
    options: Mapping[str, Any],
    words: Mapping[str, str],
    usage: str,
    named: str,
) -> str:
    """Say what does not fit, and what to write; nothing where that cannot be seen."""
    known = inspect.signature(function).parameters
    parameters = list(known.values())
    name = function.__name__
    if parameters[0].name in ("self", "cls") and args:
        owner, *args = args  # type: ignore[assignment]
        name = type(owner).__name__ if name == "__init__" else name
        del parameters[0]
    name = f"{name}()"
    by_position = [each for each in parameters if each.kind in _POSITIONAL]
    by_name = [each.name for each in parameters if each.kind == Parameter.KEYWORD_ONLY]
    everything = [each.name for each in parameters if each.kind not in _OPEN]
    free = {each.kind for each in parameters} & set(_OPEN)
    if Parameter.VAR_KEYWORD not in free:
        for word, value in options.items():
            if word not in everything:
                cure = _cure(word, value, words, everything)
                return f"{name} has no argument {word}={cure}"
    if len(args) > len(by_position) and Parameter.VAR_POSITIONAL not in free:
        return _too_many(name, args, by_position, by_name, named)
    given = [each.name for each in by_position[: len(args)]]
    twice = next((each for each in given if each in options and known[each].kind != 0), None)
    if twice is not None:
        return f"{name} has {twice}= twice: by position and by name; give it once"
    missing = [
        each.name
        for each in parameters
        if each.default is each.empty
        and each.kind not in _OPEN
        and each.name not in given
        and (each.kind == Parameter.POSITIONAL_ONLY or each.name not in options)
    ]
    if not missing:
        return ""
    needs = ", ".join(f"{each}=" if each in by_name else each for each in missing)
    shown = usage or f"{name[:-1]}{', '.join(each.name for each in by_position)})"
    return f"{name} needs {needs}: write {shown}"


def _cure(word: str, value: object, words: Mapping[str, str], known: list[str]) -> str:
    ours = words.get(word)
    if ours in known:
        return f"; write {ours}={_shown(value, '...')}"
    if ours is not None:
        return f"; {ours}"
    return near(word, known) or f" (it has {', '.join(known)})"


def _too_many(
    name: str, args: tuple[Any, ...], by_position: list[Parameter], by_name: list[str], named: str
) -> str:
    places = ", ".join(each.name for each in by_position) or "no argument"
    if not by_name:
        return f"{name} takes {places}, and got {len(args)} arguments"
    fitting = [_shown(value, each.name) for value, each in zip(args, by_position, strict=False)]
    first = f"{by_name[0]}={_shown(args[len(by_position)], '...')}"
    shown = named or f"{name[:-1]}{', '.join([*fitting, first])})"
    return f"{name} takes {places} by position, and the rest by name: write {shown}"


def _shown(value: object, name: str) -> str:
    """Give a short value as it is typed, for anything else its name."""
    plain = isinstance(value, str | int | float | tuple) or value is None
    return repr(value) if plain and len(repr(value)) <= 40 else name
