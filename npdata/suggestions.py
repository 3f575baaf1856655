"""What to type in place of a call that Python refuses, and of a name that is not there.

Idea: users bring the words of other libraries, and misspell ours; tables of words and the names
that there are give a cure to go with the error. Invariant: a call that fits is passed on untouched,
and an error from inside it is left as it is. No value is checked here.
"""

import functools
import inspect
from collections.abc import Callable, Container, Iterable, Mapping
from difflib import get_close_matches
from inspect import Parameter
from types import MappingProxyType
from typing import Any, ParamSpec, TypeVar

from npdata.errors import ArgumentError, an

P = ParamSpec("P")
R = TypeVar("R")
V = TypeVar("V")

_NONE: Mapping[str, str] = MappingProxyType({})
BACK_IN_UNITS = (
    'of what normalize(found) made, write y * torch.from_numpy(found["y"].std) + '
    'torch.from_numpy(found["y"].mean)'
)
"""How what a model predicts of normalized values gets the units of the data."""
_POSITIONAL = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
_OPEN = (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)


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
    """Give a table by the single words of its keys, each of which may hold several."""
    return {word: value for words, value in table.items() for word in words.split()}


def did_you_mean(word: object, known: Iterable[str], end: str = "=") -> str:
    """Give a question for the word that was meant, or nothing where none is like it.

    Examples:
        >>> did_you_mean("dtypes", ["dtype", "axis"]), did_you_mean("xyz", ["dtype"])
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
    cure = f"; {words[name]}" if name in words else did_you_mean(name, public, "")
    return AttributeError(text + cure)


def refuse_to_set(
    owner: object,
    made: type,
    name: str,
    value: object,
    options: Container[str] = (),
    words: Mapping[str, str] = _NONE,
) -> None:
    """Raise AttributeError where setting an attribute would change nothing, or cannot be.

    In `made` itself an option that it was made without, a word of `words` and an epoch would be
    attributes that nobody reads; a subclass may read them. A property without a setter is refused
    by Python, which says no cure.

    Examples:
        >>> refuse_to_set(3, int, "seed", 1, ("seed",))
        Traceback (most recent call last):
        AttributeError: seed= is given where an int is made, and changes nothing in this one: ...
    """
    kind, known = type(owner).__name__, getattr(type(owner), name, None)
    if type(owner) is not made:
        options, words = (), _NONE
    elif name == "epoch" and hasattr(owner, "set_epoch"):
        raise AttributeError(f"epoch={value!r} chooses no epoch: set_epoch({value!r}) does")
    if name in options or words.get(name) in options:
        ours = name if name in options else words[name]
        text = (
            f"{ours}= is given where {an(kind)} is made, and changes nothing in this one: "
            f"make another, {kind}(..., {ours}=...)"
        )
    elif name in words:
        text = f"setting {name} changes nothing: {words[name]}"
    elif isinstance(known, property) and known.fset is None:
        text = f"{name} of {an(kind)} can only be read; an attribute of your own needs another name"
    else:
        return
    raise AttributeError(text)


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
    return did_you_mean(word, known) or f" (it has {', '.join(known) or 'none'})"


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
