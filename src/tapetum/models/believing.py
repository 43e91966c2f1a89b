"""Compares the private copy of a network with the user's: it must give the same answer, and run none of the user's modules.

Also finds out whether an image's answer is the same every time and beside other images. The comparison is made once for each
structure of a network, on one image, in a thread of its own, where no torch mode or hook of the library is on. The user's
module runs once, with its training flags off; afterwards its flags, attributes, lists and statistics are restored, and so is
torch's random state.
"""

from __future__ import annotations

import sys
import threading
from collections import Counter
from collections.abc import Callable, Generator, Mapping
from concurrent.futures import Future
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_pre_hook

from tapetum.models.operations.nested import outputs, tensors
from tapetum.models.reaching import TELLING, reach
from tapetum.models.replica import part_with

T = TypeVar("T")

RunModule = Callable[[nn.Module, Tensor], Any]
"""Runs a network on images."""

RANDOM = (
    "the network answers differently every time, since something random runs in it although it is in eval mode: the map is "
    "that of one draw"
)
BATCH = (
    "an image's answer depends on the other images of its pass, since the network computes statistics of the batch: batch= and "
    "whatever repeats or hides images changes the map"
)
WORKS = "give its parts as attributes of the module, or wrap a function, tp.wrap(lambda images: ...), which is shown no layers"


@dataclass(frozen=True)
class Believed:
    """Result of comparing the private copy with the user's network.

    doubts          why the copy is not the same network as the user's; empty where it is
    notes           what a reader of every map of this network must know
    changes_images  whether the network writes into its input, so that it must be given a clone
    written         ids of the user's tensors that the network writes into while it runs; the replica has copies of these
    one_by_one      whether a part runs once for each image of a batch, so that a layer's output holds one image at a time
    """

    doubts: str = ""
    notes: tuple[str, ...] = ()
    changes_images: bool = False
    written: frozenset[int] = frozenset()
    one_by_one: bool = False


def apart(work: Callable[[], T]) -> T:
    """Runs `work` in a new thread, where no torch mode, hook or context of the calling thread is on, and returns its result.

    Ctrl-C does not wait for the new thread, which runs to its end and restores what it changed.
    """
    made: Future[T] = Future()

    def finish() -> None:
        try:
            made.set_result(work())
        except BaseException as error:  # any error is raised again in the calling thread
            made.set_exception(error)

    threading.Thread(target=finish, name="tapetum-compares", daemon=True).start()
    return made.result()


def compared(module: nn.Module, twin: nn.Module, run: RunModule, image: Tensor) -> Believed:
    """Compares the user's module with its copy on one image (1, c, h, w)."""
    if image.is_meta or any(tensor.is_meta for tensor in twin.parameters()):
        return Believed()
    image, theirs = _told_apart(image), reach(module)
    with torch.no_grad(), torch.random.fork_rng(devices=[image.device] if image.device.type == "cuda" else []):
        given = image.clone()
        with _calls() as first:
            answer = _seeded(run, twin, given, 0)
        with _calls() as second:
            again = _seeded(run, twin, image.clone(), 1)
        doubts = _strangers(theirs.modules, twin, first.modules, second.modules)
        pairs = zip(module.buffers(), twin.buffers(), strict=True)
        written = frozenset(id(one) for one, ours in pairs if id(ours) in first.written | second.written)
        part_with(twin, module, written)
        rounding = max(first.rounding, second.rounding)
        repeats = alike(answer, again, rounding)
        if not doubts:
            doubts = _difference(module, twin, run, image, answer, rounding)
        notes = () if repeats else (RANDOM,)
        with _calls() as beside:
            alone = _alone(run, twin, image, answer, rounding)
        if repeats and not alone:
            notes = (BATCH,)
        one_by_one = any(beside.times.get(key, 0) >= 2 * times for key, times in first.times.items())
    return Believed(doubts, notes, not torch.equal(given, image), written, one_by_one)


def _told_apart(image: Tensor) -> Tensor:
    """Returns the image, or noise in place of a blank image, for which different networks may give the same answer."""
    if bool((image == image.flatten()[0]).all()):
        noise = torch.randn(image.shape, generator=torch.Generator().manual_seed(0))
        return noise.to(image.device, image.dtype)
    return image


def _seeded(run: RunModule, module: nn.Module, images: Tensor, seed: int) -> Any:
    torch.manual_seed(seed)
    return run(module, images)


@dataclass
class _Calls:
    """Record of a pass: modules called, how often, buffers written into (all by id), and the coarsest machine eps of inputs."""

    modules: dict[int, nn.Module] = field(default_factory=dict)
    written: set[int] = field(default_factory=set)
    times: dict[int, int] = field(default_factory=Counter)
    rounding: float = 0.0


@contextmanager
def _calls() -> Generator[_Calls]:
    """Records the modules that this thread calls inside the block, and restores their buffers afterwards."""
    calls, before, here = _Calls(), list[tuple[Tensor, Tensor]](), threading.get_ident()

    def note(module: nn.Module, inputs: Any) -> None:
        if threading.get_ident() != here:
            return
        calls.times[id(module)] += 1
        if id(module) not in calls.modules:
            calls.modules[id(module)] = module
            calls.rounding = max(calls.rounding, *(torch.finfo(one.dtype).eps for _, one in outputs(inputs)), 0.0)
            before.extend((one, one.detach().clone()) for one in module.buffers())

    try:
        with register_module_forward_pre_hook(note):
            yield calls
    finally:
        calls.written.update(_put_tensors_back(before))


def _put_tensors_back(before: list[tuple[Tensor, Tensor]]) -> set[int]:
    """Restores tensors from (tensor, old value) pairs, the first pair of each; returns the ids of changed tensors."""
    changed = set[int]()
    for tensor, old in reversed(before):
        if tensor.shape == old.shape and not _close(tensor, old, exactly=True):
            changed.add(id(tensor))
            tensor.copy_(old)
    return changed


def _strangers(
    theirs: list[nn.Module], twin: nn.Module, first: Mapping[int, nn.Module], second: Mapping[int, nn.Module]
) -> str:
    """Names the module that the copy wrongly runs: the user's, or one in training mode that it does not hold; "" if none."""
    users, own = {id(part) for part in theirs}, {id(part) for part in reach(twin).modules}
    shared = [part for key, part in first.items() if key in users and key not in own]
    if shared:
        return f"its copy still runs the module's own {type(shared[0]).__name__}"
    elsewhere = [part for key, part in first.items() if key in second and key not in own]  # others are made by each pass
    training = [
        part for part in elsewhere
        if part.training and ("Dropout" in type(part).__name__ or any("running_mean" in name for name in part._buffers))
    ]  # fmt: skip
    if training:
        return f"it runs a {type(training[0]).__name__} that it does not hold, which is in training mode"
    return ""


def _difference(module: nn.Module, twin: nn.Module, run: RunModule, image: Tensor, answer: Any, rounding: float) -> str:
    """Describes how the answer of the user's module differs from its copy's; "" where it does not."""
    try:
        with _left_alone(module), _uncompiled():
            expected = _seeded(run, module, image.clone(), 0)
    except Exception as error:
        return f"the module itself fails where its copy answers ({type(error).__name__}: {' '.join(str(error).split())[:200]})"
    if alike(expected, answer, rounding) or not alike(answer, _seeded(run, twin, image.clone(), 0), rounding):
        return ""  # the copy itself answers differently each time: its randomness is not torch's, so nothing can be compared
    return "its copy gives another answer"


def _uncompiled() -> AbstractContextManager[Any]:
    """Runs parts under torch.compile uncompiled inside the block; does not import torch's compiler if nobody has used it."""
    return torch.compiler.set_stance("force_eager") if "torch._dynamo" in sys.modules else nullcontext()


_ONE_AT_A_TIME = threading.Lock()
"""Held while a module's flags are changed: of two threads at it, one would restore the other's changed flags."""


@contextmanager
def _left_alone(module: nn.Module) -> Generator[None]:
    """Sets the training flags of the user's module to False inside the block; afterwards restores everything it holds."""
    with _ONE_AT_A_TIME:
        found = reach(module)
        attributes = [(vars(part), dict(vars(part))) for part in found.modules]
        tables = [(vars(part)[name], dict(vars(part)[name])) for part in found.modules for name in TELLING]
        containers = [(one, one.copy()) for one in found.containers]
        buffers = [(one, one.detach().clone()) for part in found.modules for one in part._buffers.values() if one is not None]
        try:
            for part in found.modules:
                vars(part)["training"] = False
            yield
        finally:
            for now, before in [*attributes, *tables, *containers]:
                now.clear()
                (now.extend if isinstance(now, list) else now.update)(before)
            _put_tensors_back(buffers)


def _alone(run: RunModule, twin: nn.Module, image: Tensor, answer: Any, rounding: float) -> bool:
    """Checks whether an image gets the same answer in a batch of two as alone; True if the network takes only single images."""
    both = torch.cat([image, image.flip(-1) * 0.5 + image.mean()])
    try:
        beside = _seeded(run, twin, both, 0)
    except Exception:
        return True  # the network takes single images only
    first = [one[:1] for one in tensors(beside) if one.ndim and len(one) == 2]
    single = [one for one in tensors(answer) if one.ndim and len(one) == 1]
    return len(first) != len(single) or all(_close(a, b, rounding) for a, b in zip(first, single, strict=True))


def alike(one: Any, other: Any, rounding: float = 0.0) -> bool:
    """Checks whether two answers hold the same tensors, up to rounding of their type, or a coarser machine eps `rounding`."""
    ours, theirs = list(tensors(one)), list(tensors(other))
    return len(ours) == len(theirs) and all(_close(a, b, rounding) for a, b in zip(ours, theirs, strict=True))


def _close(a: Tensor, b: Tensor, rounding: float = 0.0, *, exactly: bool = False) -> bool:
    if exactly and a.is_floating_point():
        return bool(torch.allclose(a, b, rtol=0, atol=0, equal_nan=True))
    if a.shape != b.shape or not a.is_floating_point():
        return a.shape == b.shape and bool(torch.equal(a, b))
    # half of the digits must agree: a larger difference does not come from rounding
    allowed = max(torch.finfo(a.dtype).eps, rounding) ** 0.5 * float(b.abs().nan_to_num(0, 0, 0).max() if b.numel() else 0)
    return bool(torch.allclose(a, b.to(a.dtype), rtol=0, atol=allowed, equal_nan=True))
