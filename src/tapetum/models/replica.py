"""Makes the private replica: a second module tree that shares the user's weights, so that the user's own is never touched.

Hooks, patches, eval mode and `requires_grad=False` are set on the replica. Nothing can be left behind on the user's model, no
parameter gradient is ever computed, and batch-norm statistics do not change. `believing.py` checks that the replica computes
the same as the user's module.
"""

from __future__ import annotations

import copy
import functools
import hashlib
from collections.abc import Callable, Collection
from types import CellType, FunctionType, MethodType
from typing import Any

import torch
from torch import Tensor, nn

from tapetum.models.opaque import Opaque
from tapetum.models.reaching import CONTAINERS, TELLING, cell_content, parts_of, reach

Memo = dict[int, Any]
"""{id of an original: its copy}, the memo of `copy.deepcopy`."""

UNCOPYABLE = (TypeError, NotImplementedError, copy.Error)
"""Errors of a deep copy that meets a lock, a file or a generator."""


def replicate(module: nn.Module, own: Collection[int] = ()) -> nn.Module:
    """Returns a copy of the module tree in eval mode, whose tensors share the storage of `module`'s: no weights are copied.

    own: ids of tensors that are copied all the same, since the network writes into them while it runs.
    """
    changing = changing_modes(module)
    twin = _evaluated(copied(module, _aliasing({*own, *map(id, changing)})))
    if not changing or any(not _same(a, b) for a, b in zip(changing, changing_modes(twin), strict=True)):
        return twin  # eval mode changed weights, as LoRA merges its own: this copy has its own tensors for that
    return _evaluated(copied(module, _aliasing(own)))


def _aliasing(own: Collection[int]) -> Callable[[Tensor], Tensor]:
    def become(tensor: Tensor) -> Tensor:
        copies = tensor.is_inference() or id(tensor) in own  # inference tensors refuse gradients
        return tensor.detach().clone() if copies else tensor.detach()

    return become


def _evaluated(twin: nn.Module) -> nn.Module:
    """Puts a copy into eval mode, modules in lists too; turns off parameter gradients, in-place activations and compilers."""
    found, registered = reach(twin), set(twin.modules())
    for part in (twin, *(one for one in found.modules if one not in registered)):
        _evaluate(part)
    for tensor in found.tensors:
        if tensor.requires_grad and tensor.is_leaf:
            tensor.requires_grad_(False)
    for part in found.modules:
        if getattr(part, "inplace", None) is True:
            # an in-place activation would overwrite what a hook captured
            part.inplace = False  # pyright: ignore[reportArgumentType] (torch types all attributes as tensors or modules)
        _run_eagerly(part)
    return twin


def _evaluate(part: nn.Module) -> None:
    try:
        part.eval()
    except NotImplementedError:  # the module of an exported program refuses eval(); the export fixed its mode
        for one in part.modules():
            one.training = False


def part_with(twin: nn.Module, module: nn.Module, written: Collection[int]) -> None:
    """Gives a replica its own copies of buffers that it shares with the user's module and writes into.

    written: ids of these buffers in the user's module.
    """
    for theirs, ours in zip(module.buffers(), twin.buffers(), strict=True):
        if id(theirs) in written and theirs.data_ptr() == ours.data_ptr():
            ours.data = ours.detach().clone()


def copied(module: nn.Module, become: Callable[[Tensor], Tensor]) -> nn.Module:
    """Copies a module with all it holds; `become` makes the copy of each tensor, from a detached one if it has a history."""
    memo: Memo = {}
    for tensor in reach(module).tensors:
        made = become(tensor.detach() if not tensor.is_leaf else tensor).detach()
        memo[id(tensor)] = nn.Parameter(made, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else made
    twin = _twin(module, memo)
    _rebind(twin, memo, _are_copies(memo))
    return twin


def _are_copies(memo: Memo) -> set[int]:
    """Enters all copies into the memo as copies of themselves, so that none is copied again; returns the copies' ids."""
    copies = {id(one): one for one in memo.values()}
    memo.update(copies)
    return set(copies)


def _twin(module: nn.Module, memo: Memo) -> nn.Module:
    """Deep-copies a module; if a module's own `__deepcopy__` shares or loses a part, copies attribute by attribute instead."""
    tried = dict(memo)
    try:
        twin = copy.deepcopy(module, tried)
    except UNCOPYABLE:
        seen: set[int] = set()
        for part in parts_of(module):
            _share_what_cannot_be_copied(part, memo, seen)
        tried = dict(memo)
        twin = copy.deepcopy(module, tried)
    if _kinds(twin) == _kinds(module) and not set(module.modules()) & set(twin.modules()):
        memo.update(tried)
        return twin
    for part in module.modules():
        if hasattr(type(part), "__deepcopy__"):
            memo[id(part)] = object.__new__(type(part))
    for part in module.modules():
        if hasattr(type(part), "__deepcopy__"):
            vars(memo[id(part)]).update(copy.deepcopy(vars(part), memo))
    return copy.deepcopy(module, memo)


def _share_what_cannot_be_copied(value: Any, memo: Memo, seen: set[int]) -> None:
    """Enters locks, files, generators and similar objects inside a value into the memo, so that the copy shares them."""
    if id(value) in seen or id(value) in memo or _is_copied(value, memo):
        return
    seen.add(id(value))
    for part in parts_of(value):
        _share_what_cannot_be_copied(part, memo, seen)
    if not _is_copied(value, memo):
        memo[id(value)] = value


def _is_copied(value: Any, memo: Memo) -> bool:
    try:
        copy.deepcopy(value, dict(memo))
    except UNCOPYABLE:
        return False
    return True


def _kinds(module: nn.Module) -> list[tuple[str, str, str]]:
    """Names of all modules inside and of their classes; by name, since torch.fx makes a new class for each of its modules."""
    found = module.named_modules(remove_duplicate=False)
    return [(name, type(part).__module__, type(part).__qualname__) for name, part in found]


# --- functions: a deep copy shares them, so their closures still hold the user's modules


def _rebind(value: Any, memo: Memo, copies: set[int]) -> None:
    """Replaces functions that a copy shares with the user's module by ones of its own, wherever the copy holds them."""
    done: dict[int, Any] = {}
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if id(one) in done or isinstance(one, (Tensor, FunctionType, type)):
            continue
        done[id(one)] = one
        held = one if isinstance(one, (dict, list)) else getattr(one, "__dict__", None)
        if isinstance(held, (dict, list)):
            _rebind_in(held, memo)
        # other objects are shared with the user's module, so nothing inside them may change
        waiting += [part for part in parts_of(one) if isinstance(part, (nn.Module, *CONTAINERS)) or id(part) in copies]
        if isinstance(one, nn.Module):
            waiting += [vars(one)[name] for name in TELLING]


def _rebind_in(held: dict[Any, Any] | list[Any], memo: Memo) -> None:
    for key, one in list(held.items() if isinstance(held, dict) else enumerate(held)):
        if isinstance(one, (FunctionType, MethodType, functools.partial, tuple)):
            other = _rebound(one, memo)
            if other is not one:
                held[key] = other


def _rebound(value: Any, memo: Memo) -> Any:
    """Rebuilds a function, bound method or partial, or a tuple of these, with the copy's modules in place of the user's.

    Returns the value itself where nothing is to replace.
    """
    if isinstance(value, FunctionType):
        return _function(value, memo)
    if isinstance(value, MethodType):
        function, owner = _rebound(value.__func__, memo), _of_copy(value.__self__, memo)
        same = function is value.__func__ and owner is value.__self__
        return value if same else MethodType(function, owner)
    if type(value) is functools.partial:
        function = _rebound(value.func, memo)
        return value if function is value.func else functools.partial(function, *value.args, **value.keywords)
    if type(value) is tuple:
        parts = tuple(_rebound(one, memo) for one in value)
        return value if all(a is b for a, b in zip(parts, value, strict=True)) else parts
    return value


def _function(function: FunctionType, memo: Memo) -> FunctionType:
    if id(function) in memo or not (function.__closure__ or function.__defaults__ or function.__kwdefaults__):
        return memo.get(id(function), function)
    cells = tuple(memo.setdefault(id(cell), CellType()) for cell in function.__closure__ or ())
    twin = FunctionType(function.__code__, function.__globals__, function.__name__, None, cells)
    memo[id(function)] = memo[id(twin)] = twin  # entered before its cells are filled: a cell may hold the function itself
    twin.__defaults__ = function.__defaults__ and tuple(_of_copy(one, memo) for one in function.__defaults__)
    defaults = function.__kwdefaults__
    twin.__kwdefaults__ = defaults and {name: _of_copy(one, memo) for name, one in defaults.items()}
    vars(twin).update(vars(function))
    for old, new in zip(function.__closure__ or (), cells, strict=True):
        if new is not old and cell_content(new) is None:
            new.cell_contents = _of_copy(cell_content(old), memo)
    return twin


def _of_copy(value: Any, memo: Memo) -> Any:
    """Returns a value as the copy holds it: functions rebuilt, modules, tensors and containers copied, all else shared."""
    if isinstance(value, (FunctionType, MethodType, functools.partial)):
        return _rebound(value, memo)
    if id(value) in memo:  # it has a copy or is one; functions in copies are rebuilt elsewhere
        return memo[id(value)]
    if not isinstance(value, (nn.Module, Tensor, *CONTAINERS)) and not reach(value).modules:
        return value
    try:
        copied = copy.deepcopy(value, memo)
    except Exception:
        return value  # it holds a lock or a file; if it also holds a module of the user's, the comparison finds this
    _rebind(copied, memo, _are_copies(memo))
    return copied


class _Eager(nn.Module):
    """Stand-in for a module under torch.compile, with its names, that runs the module uncompiled, so that hooks work."""

    def forward(self, *inputs: Any, **named: Any) -> Any:
        return self._orig_mod(*inputs, **named)  # pyright: ignore[reportCallIssue] (torch types attributes as tensors or modules)

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(vars(self)["_modules"]["_orig_mod"], name)


def _run_eagerly(part: nn.Module) -> None:
    for name, child in part.named_children():
        if type(child).__name__ == "OptimizedModule" and "_orig_mod" in child._modules:
            eager = _Eager()
            eager.train(False)
            vars(eager).update({key: one for key, one in vars(child).items() if key in vars(eager)})
            part._modules[name] = eager


# --- modes that write into weights


def changing_modes(module: nn.Module) -> list[Tensor]:
    """Returns the tensors of modules that override `train` or `eval`, which may write into them (LoRA merges its weights)."""
    plain = nn.Module
    own = [one for one in module.modules() if type(one).train is not plain.train or type(one).eval is not plain.eval]
    return [tensor for part in own for tensor in (*part.parameters(), *part.buffers())]


def _same(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and (a.is_meta or bool(torch.equal(a.detach(), b.detach())))


def weights_sha256(module: nn.Module) -> str:
    """SHA-256, in hex, of the names, shapes, types and bytes of all parameters and buffers."""
    digest = hashlib.sha256()
    named = module.named_numbers() if isinstance(module, Opaque) else [*module.named_parameters(), *module.named_buffers()]
    for name, tensor in named:
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()
