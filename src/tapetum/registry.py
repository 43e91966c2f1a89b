"""The registry of all methods, filled on first use by importing the modules that register them.

The command line, the documentation, reports, the studio and tests read it.
"""

from __future__ import annotations

import difflib
import functools
import importlib
import inspect
import math
import numbers
import types
import typing
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Any, Literal

from tapetum.types import Method, MethodError, Range, TapetumWarning


@dataclass(frozen=True)
class Parameter:
    """One keyword of a method: its default, type, allowed range, and description from the docstring or the annotation."""

    name: str
    default: Any
    type: Any
    range: Range | None
    choices: tuple[str, ...]
    help: str


NEEDED = inspect.Parameter.empty
"""Default of a keyword that must be given."""

_methods: dict[str, Method] = {}


HOMES = ("tapetum.families", "tapetum.atlas.activation_atlas")
"""Modules that register our own methods. Other packages name theirs as entry points of the group "tapetum"."""


@functools.cache
def _load_ours() -> None:
    for home in HOMES:
        importlib.import_module(home)


@functools.cache
def _load() -> None:
    """Imports every module that registers methods; if another package's module fails to import, warns and continues."""
    _load_ours()
    for entry in entry_points(group="tapetum"):
        try:
            entry.load()
        except Exception as error:  # whatever another package raises, all other methods stay available
            words = f"the methods of '{entry.name}' ({entry.value}) are missing, since it fails to import: {error}"
            warnings.warn(words, TapetumWarning, stacklevel=2)


def add(method: Method) -> None:
    """Adds a method to the registry; refuses a name that another method has."""
    if not method.function.__module__.startswith("tapetum."):
        _load_ours()  # so that a clash with the name of a built-in method is noticed
    if method.name in _methods:
        raise MethodError(f"two methods are called '{method.name}'")
    _methods[method.name] = method


def lookup(name: str) -> Method:
    """Returns the method of that name; raises a `MethodError` that suggests similar names if there is none."""
    if name not in _methods:
        _load()
    if name not in _methods:
        close = difflib.get_close_matches(name, _methods, 3, 0.5)
        hint = f"close names: {', '.join(close)}" if close else f"there are {', '.join(_methods)}"
        raise MethodError(f"no method '{name}'; {hint}")
    return _methods[name]


class Table(tuple[Method, ...]):
    """Tuple of methods that prints as a table: name, family and summary, one method per line."""

    def __str__(self) -> str:
        width = max((len(method.name) for method in self), default=0)
        return "\n".join(f"{method.name:<{width}}  {method.family:<13} {method.summary}" for method in self)


def methods(*, kind: str | None = None, family: str | None = None) -> Table:
    """Lists methods in the order of registration; `kind` is attribution, rendering, inspection, metric or survey."""
    _load()
    chosen = (m for m in _methods.values() if kind in (None, m.kind) and family in (None, m.family))
    return Table(chosen)


def places(method: Method) -> tuple[str, ...]:
    """Returns the names of a method's positional parameters, such as model, images and target."""
    signature = inspect.signature(method.function)
    return tuple(p.name for p in signature.parameters.values() if p.kind is not p.KEYWORD_ONLY)


LIVE = "live"
"""Law (property) of methods that show watchers their map while it is made."""


def live(method: Method) -> bool:
    """Returns whether watchers see the result grow: the pictures of every rendering, the maps of methods that declare it."""
    return method.kind == "rendering" or LIVE in method.laws


def parameters(method: Method) -> tuple[Parameter, ...]:
    return keywords(method.function)


@functools.cache
def keywords(function: Callable[..., Any]) -> tuple[Parameter, ...]:
    """Returns a function's keyword-only parameters, read from its signature and the `Args:` of its docstring."""
    words = argument_help(function.__doc__ or "")
    signature = inspect.signature(function, eval_str=True)
    return tuple(_parameter(p, words) for p in signature.parameters.values() if p.kind is p.KEYWORD_ONLY)


@functools.cache
def _defaults(method: Method) -> Mapping[str, Any]:
    """Returns {keyword: checked default} for a call without keywords; empty if some keyword has no default."""
    own = parameters(method)
    needed = any(one.default is NEEDED for one in own)
    return {} if needed else {one.name: _checked(method, one, one.default) for one in own}


def _parameter(parameter: inspect.Parameter, words: Mapping[str, str]) -> Parameter:
    bare, extras = _unwrapped(parameter.annotation)
    limits = next((extra for extra in extras if isinstance(extra, Range)), None)
    help_ = next((extra for extra in extras if isinstance(extra, str)), "")
    return Parameter(parameter.name, parameter.default, bare, limits, _choices(bare), words.get(parameter.name, help_))


def _unwrapped(hint: Any) -> tuple[Any, tuple[Any, ...]]:
    """Splits `Annotated` types into (bare type, metadata), also inside unions such as `Annotated[int, Range(1, 9)] | None`."""
    if typing.get_origin(hint) is typing.Annotated:
        return typing.get_args(hint)[0], hint.__metadata__
    if typing.get_origin(hint) not in (typing.Union, types.UnionType):
        return hint, ()
    parts = [_unwrapped(one) for one in typing.get_args(hint)]
    return typing.Union[tuple(bare for bare, _ in parts)], tuple(extra for _, extras in parts for extra in extras)  # noqa: UP007 (of any number of parts)


def _choices(hint: Any) -> tuple[str, ...]:
    if typing.get_origin(hint) is typing.Literal:
        return tuple(str(value) for value in typing.get_args(hint))
    return tuple(choice for part in typing.get_args(hint) for choice in _choices(part))


def help_of(function: Callable[..., Any]) -> str:
    """Returns a function's docstring without its `Args:` and `Example:`."""
    text = inspect.cleandoc(function.__doc__ or "")
    return text.partition("\nArgs:")[0].partition("\nExample:")[0].strip()


def argument_help(docstring: str) -> dict[str, str]:
    """Returns {parameter: description} from the indented `Args:` block of a docstring."""
    lines = inspect.cleandoc(docstring).splitlines()
    if "Args:" not in lines:
        return {}
    found: dict[str, str] = {}
    name = ""
    for line in lines[lines.index("Args:") + 1 :]:
        if not line.startswith("    "):
            break
        if not line.startswith("     "):
            name, _, text = line.strip().partition(":")
            found[name] = text.strip()
        else:
            found[name] = f"{found[name]} {line.strip()}"
    return found


def check_parameters(method: Method, given: Mapping[str, Any]) -> dict[str, Any]:
    """Returns {keyword: value}, given or default; refuses unknown names, numbers out of range, words that are not a choice."""
    if not given and (defaults := _defaults(method)):
        return dict(defaults)
    known = {parameter.name: parameter for parameter in parameters(method)}
    for name in given:
        if name not in known:
            close = difflib.get_close_matches(name, known, 1, 0.5)
            hint = f"did you mean '{close[0]}'?" if close else f"it has {', '.join(known) or 'none'}"
            raise MethodError(f"{method.name} has no parameter '{name}'; {hint}")
    missing = [name for name, one in known.items() if one.default is NEEDED and name not in given]
    if missing:
        raise MethodError(f"{method.name} needs {', '.join(missing)}")
    return {name: _checked(method, one, given.get(name, one.default)) for name, one in known.items()}


def _checked(method: Method, parameter: Parameter, value: Any) -> Any:
    """Returns the value, with numbers as Python int or float; refuses a wrong type, a number out of range, an unknown word."""
    kinds = typing.get_args(parameter.type) or (parameter.type,)
    if value is None and (parameter.default is None or type(None) in kinds):
        return None
    whole = int in kinds and float not in kinds
    only_numbers = parameter.range is not None or parameter.type in (int, float)
    if not isinstance(value, bool) and isinstance(value, numbers.Real):  # numbers of Python and numpy
        return _checked_number(method, parameter, value, whole) if only_numbers or whole or float in kinds else value
    if only_numbers:
        raise MethodError(f"{method.name}: {parameter.name} is a {_wanted(parameter, whole)}, not {value!r}")
    other = not isinstance(value, str) and all(map(_is_plain, kinds))  # tensors or functions may be given in place of a choice
    if parameter.choices and (other or (isinstance(value, str) and value not in parameter.choices)):
        raise MethodError(f"{method.name}: {parameter.name} is one of {', '.join(parameter.choices)}, not {value!r}")
    return value


def _is_plain(kind: Any) -> bool:
    """Returns whether a member of a union is int, float, None or a choice of words, and no tensor or function."""
    return isinstance(kind, str) or kind in (int, float, type(None)) or typing.get_origin(kind) is Literal


def _checked_number(method: Method, parameter: Parameter, value: Any, whole: bool) -> int | float:
    finite = abs(value) <= LARGEST if isinstance(value, int) else math.isfinite(value)
    if (whole or isinstance(value, int)) and not (finite and int(value) == value):
        raise MethodError(f"{method.name}: {parameter.name} is a {_wanted(parameter, whole)}, not {value!r}")
    if parameter.range is not None and not parameter.range.low <= value <= parameter.range.high:
        raise MethodError(f"{method.name}: {parameter.name} must be{_from_to(parameter)}, not {value:g}")
    return int(value) if whole else float(value)


LARGEST = 1e300
"""Largest magnitude of a whole number that is accepted: it still fits into a float."""


def _wanted(parameter: Parameter, whole: bool) -> str:
    return f"{'whole number' if whole else 'number'}{_from_to(parameter)}"


def _from_to(parameter: Parameter) -> str:
    return "" if parameter.range is None else f" from {parameter.range.low:g} to {parameter.range.high:g}"
