"""One recorded pass of a network: its operations, each with the module that runs it, and what gradients come through."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from tapetum.engines.feeding import magnitude
from tapetum.models.hooks import hooked
from tapetum.models.operations.call import Call
from tapetum.models.operations.following import Following
from tapetum.models.operations.kinds import CASTS, MATRIX_PRODUCTS, words
from tapetum.models.operations.nested import outputs, tensors
from tapetum.models.untrained import torch_seed
from tapetum.models.vision_model import VisionModel

STEPS = words("round floor ceil trunc sign heaviside floor_divide argmax argmin one_hot")
"""Operations whose derivative is zero almost everywhere."""

DRAWS = words("rand randn rand_like randn_like randint randint_like randperm bernoulli normal uniform exponential multinomial")
SEARCHES = words("grad backward")
"""Operations that draw random numbers, and those by which a network differentiates inside its own pass."""


@dataclass(frozen=True, eq=False)
class Operation:
    """One operation of a pass.

    name, kind   its plain name, and its kind as backward rules know it, or None
    module       the innermost module that ran it, "" for the network itself
    in_place     whether it overwrites its input
    cuts         whether it gets a tensor with a gradient and gives floating or cast numbers without one
    signals      number of its inputs that depend on the image
    training     the argument `training` of a dropout; False for others
    shape        of the output of a matrix product; () for others
    """

    name: str
    kind: str | None
    module: str
    in_place: bool
    cuts: bool
    signals: int
    training: bool = False
    shape: tuple[int, ...] = ()

    @property
    def stops(self) -> bool:
        """Whether no gradient comes through this operation."""
        return self.cuts or self.name in STEPS

    @property
    def place(self) -> str:
        """Where it ran, in words."""
        return f"`{self.name}` in {self.module}" if self.module else f"`{self.name}` in the forward of the network itself"


@dataclass(eq=False)
class Recording:
    """What a pass showed.

    operations   in the order in which they ran
    finished     layers in the order in which their last runs finished, each with the number of operations before its end
    gradients    {layer: whether any gradient of the answer reaches its main output}; layers without a graph are missing
    image        whether any gradient reaches the image
    failure      the error of the backward pass, in one line; "" where it worked
    decides      whether the answer holds whole numbers only, which have no gradient by themselves
    """

    operations: list[Operation] = field(default_factory=list)
    finished: dict[str, int] = field(default_factory=dict)
    gradients: dict[str, bool] = field(default_factory=dict)
    image: bool = False
    failure: str = ""
    decides: bool = False

    def stop_before(self, count: int) -> Operation | None:
        """Returns the last of the first `count` operations that lets no gradient through."""
        return next((one for one in reversed(self.operations[:count]) if one.stops), None)

    def stop_after(self, count: int) -> Operation | None:
        """Returns the first operation after the first `count` that lets no gradient through."""
        return next((one for one in self.operations[count:] if one.stops), None)


class _Watch(Following):
    """Records every operation that gets tensors, with the module that is running."""

    def __init__(self) -> None:
        super().__init__()
        self.running: list[str] = []
        self.operations: list[Operation] = []

    def on(self, call: Call) -> Any:
        signals, overwrites = len(call.signals), call.pure() is not None
        training = call.name.endswith("dropout") and bool(call.get(2, "training", True))
        output = call()
        made = [one for one in tensors(output) if one.is_floating_point() or call.name in CASTS]
        if signals or call.name in DRAWS | SEARCHES:
            cuts = bool(signals and made) and not any(one.requires_grad for one in made)
            module = self.running[-1] if self.running else ""
            shape = tuple(output.shape) if call.name in MATRIX_PRODUCTS and isinstance(output, Tensor) else ()
            self.operations.append(Operation(call.name, call.operation, module, overwrites, cuts, signals, training, shape))
        return output


def record(model: VisionModel, images: Tensor) -> Recording:
    """Runs the network once with gradients, and reports its operations and which layers the gradient of the answer reaches."""
    found, watch, kept = Recording(), _Watch(), dict[str, Tensor]()
    leaf = images.detach().clone().requires_grad_()

    def end(name: str, _inputs: Any, output: Any) -> None:
        watch.running.pop()
        found.finished.pop(name, None)
        found.finished[name] = len(watch.operations)
        main = next((tensor for _, tensor in outputs(output)), None)
        if main is not None and main.requires_grad:
            kept[name] = main

    inside = [(name, part) for name, part in model.replica.named_modules() if part is not model.replica]
    with torch.enable_grad(), torch_seed(0, model.device):
        with hooked(inside, watch.running.append, end), watch:
            output = model(leaf)
        found.operations = watch.operations
        _differentiate(found, output, leaf, kept)
    return found


def _differentiate(found: Recording, output: Any, leaf: Tensor, kept: dict[str, Tensor]) -> None:
    found.decides = not any(one.ndim for _, one in outputs(output))
    values = None if found.decides else magnitude(output)
    if values is None or not values.requires_grad:
        found.gradients = dict.fromkeys(kept, False)
        return
    try:
        grads = torch.autograd.grad(values.sum(), [leaf, *kept.values()], allow_unused=True)
    except (RuntimeError, TypeError) as error:  # an operation without a backward pass
        found.failure = " ".join(str(error).split())[:200]
        return
    reached = [grad is not None and bool((grad != 0).any()) for grad in grads]
    found.image, found.gradients = reached[0], dict(zip(kept, reached[1:], strict=True))


def signal_products(found: Recording) -> dict[str, list[Operation]]:
    """Returns {module: its matrix products of two tensors that both depend on the image}, as attention makes them."""
    products: dict[str, list[Operation]] = {}
    for one in found.operations:
        if one.name in MATRIX_PRODUCTS and one.signals >= 2:
            products.setdefault(one.module, []).append(one)
    return products
