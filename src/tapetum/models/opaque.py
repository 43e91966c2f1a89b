"""Wraps networks without modules to look into: TorchScript, exported programs, ONNX, functions of images."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator, Mapping
from typing import Any, Literal, TypeGuard, cast

import numpy as np
import torch
from torch import Tensor, nn

from tapetum.files import shown
from tapetum.models.reaching import reach
from tapetum.types import ModelError
from tapetum.types.refusals import imported

Shows = Literal["answers", "gradients", "operations"]
"""What methods can use of a network; each level includes those before it."""

ANSWERS = "occlusion, rise, lime or kernel_shap"
WITH_GRADIENTS = "occlusion, rise, lime, saliency or integrated_gradients"


class Held:
    """Holds a value, such as a session or a compiled program, that copies of its owner share and nothing looks into."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __deepcopy__(self, memo: Any) -> Held:
        return self


class Opaque(nn.Module):
    """Network that is only known as a function of images (n, c, h, w).

    words     kind of network, for error messages
    sees      what methods can use: answers, gradients too, or operations too
    batch     how many images it takes at once; None: any number
    shape     (channels, (height, width)) of its images; None for each that the network does not state
    tensors   {name: tensor} on which its answer depends, for the hash of its weights; None: those that can be found
    """

    def __init__(
        self,
        function: Any,
        words: str,
        sees: Shows,
        *,
        like: Tensor | None = None,
        batch: int | None = None,
        shape: tuple[int | None, tuple[int, int] | None] = (None, None),
        tensors: Mapping[str, Tensor] | None = None,
    ) -> None:
        super().__init__()
        self.function, self.words, self.sees, self.batch, self.shape = function, words, sees, batch, shape
        self.tensors = Held(tensors)
        self.register_buffer("like", torch.empty(0) if like is None else torch.empty(0, dtype=like.dtype, device=like.device))

    def forward(self, images: Tensor, **extra: Tensor) -> Any:
        """Runs the network; if it takes a fixed number of images, on as many at a time, the last image repeated to fill up."""
        if self.batch is None or len(images) == self.batch:
            return self._answered(images, extra)
        parts = []
        for start in range(0, len(images), self.batch):
            rows = [min(row, len(images) - 1) for row in range(start, start + self.batch)]
            parts.append(self._answered(images[rows], {name: one[rows] for name, one in extra.items()}))
        return _joined(parts, len(images))

    def _answered(self, images: Tensor, extra: dict[str, Tensor]) -> Any:
        function = self.function.value if isinstance(self.function, Held) else self.function
        try:
            return _numbers(function(images, **extra), self.words)
        except (RuntimeError, TypeError):
            if not images.requires_grad:
                raise
            return _numbers(function(images.detach(), **extra), self.words)  # numpy takes no tensor with a gradient

    def named_numbers(self) -> Iterator[tuple[str, Tensor]]:
        """Yields (name, tensor) for the tensors that the answer depends on, as far as they can be found."""
        if self.tensors.value is not None:
            yield from self.tensors.value.items()
        else:
            yield from ((str(i), tensor) for i, tensor in enumerate(reach(self.function).tensors))

    def refusal(self, name: str, needs: str) -> str:
        """Error message for a method that needs layers or gradients, which this network hides; it names methods that work."""
        usable = ANSWERS if self.sees == "answers" else WITH_GRADIENTS
        return f"{name} runs as {self.words}, which has no {needs} to look at: use {usable}"


def _numbers(answer: Any, words: str) -> Any:
    """Converts arrays, lists and numbers in a network's answer to tensors; keeps mappings and tuples around them."""
    if isinstance(answer, Tensor):
        return answer
    if isinstance(answer, (np.ndarray, np.generic)):
        return torch.as_tensor(np.ascontiguousarray(answer))
    if isinstance(answer, Mapping):
        return {key: _numbers(one, words) for key, one in answer.items()}
    if isinstance(answer, (list, tuple)):
        if answer and all(isinstance(one, (bool, int, float, list)) for one in answer):
            try:
                return torch.tensor(answer)
            except (TypeError, ValueError):
                raise ModelError(f"{words} answers with a list that is no table of numbers: give (n, k)") from None
        return type(answer)(_numbers(one, words) for one in answer)
    if hasattr(answer, "logits"):
        return answer
    raise ModelError(f"{words} answers with {type(answer).__name__}, not with numbers: give a tensor or an array (n, k)")


def _joined(parts: list[Any], n: int) -> Any:
    first = parts[0]
    if isinstance(first, Tensor):
        return torch.cat(parts)[:n]
    if isinstance(first, Mapping):
        return {key: _joined([part[key] for part in parts], n) for key in first}
    return type(first)(_joined([part[i] for part in parts], n) for i in range(len(first)))


# --- what users give


def opaque(given: Any) -> Opaque | None:
    """Wraps a TorchScript module, an exported program, an ONNX file or session, or a function; None for a plain module."""
    if isinstance(given, torch.jit.ScriptModule):
        return _scripted(given)
    if isinstance(given, torch.export.ExportedProgram):
        return _exported(cast("torch.fx.GraphModule", given.module()), dict(given.state_dict))
    if isinstance(given, nn.Module):
        return _exported(given, dict(given.state_dict())) if _is_exported(given) else None
    if is_onnx_file(given) or type(given).__module__.partition(".")[0] in ("onnx", "onnxruntime"):
        return _onnx(given)
    if callable(given) and not isinstance(given, type):
        weights = (weight for part in reach(given).modules for weight in part.parameters())
        return Opaque(given, "a function", "operations", like=next((one for one in weights if one.is_floating_point()), None))
    return None


def is_onnx_file(given: Any) -> bool:
    """Checks whether a value is the path of an ONNX file."""
    return isinstance(given, (str, os.PathLike)) and os.fspath(given).endswith(".onnx")


def _scripted(module: torch.jit.ScriptModule) -> Opaque:
    quiet = module
    if any(part.training for part in module.modules()):
        quiet = copy.deepcopy(module).eval()  # the user's own stays in training mode
    state = dict(quiet.state_dict())
    weight = next((one for one in state.values() if one.ndim == 4), None)
    like = next((one for one in state.values() if one.is_floating_point()), None)
    channels = None if weight is None else int(weight.shape[1])
    return Opaque(Held(quiet), "TorchScript", "gradients", like=like, shape=(channels, None), tensors=state)


def _exported(module: torch.fx.GraphModule, state: dict[str, Tensor]) -> Opaque:
    """Wraps the module of an exported program, which has no modes and refuses eval()."""
    first: Any = next(node.meta.get("val") for node in module.graph.nodes if node.op == "placeholder")
    shape = [one if isinstance(one, int) else None for one in first.shape]  # a side that is not an int may vary
    like = next((one for one in state.values() if one.is_floating_point()), None)
    return Opaque(
        Held(module), "an exported program", "gradients", like=like, batch=shape[0], shape=_shape(shape), tensors=state
    )


def _is_exported(module: nn.Module) -> TypeGuard[torch.fx.GraphModule]:
    """Checks whether a module comes from `ExportedProgram.module()`: a graph whose modes were replaced by a refusal."""
    return isinstance(module, torch.fx.GraphModule) and {"train", "eval"} <= vars(module).keys()


def _onnx(given: Any) -> Opaque:
    why = "ONNX networks run by onnxruntime, which is not there: pip install tapetum[onnx]"
    onnxruntime = imported("onnxruntime", why, ModelError)
    session = given
    if not isinstance(given, onnxruntime.InferenceSession):
        source = os.fspath(given) if is_onnx_file(given) else given.SerializeToString()
        if isinstance(source, str) and not os.path.isfile(source):
            raise ModelError(f"{shown(source)}: there is no such file")
        try:  # without fallback, which prints and would try the same provider again
            session = onnxruntime.InferenceSession(source, providers=["CPUExecutionProvider"], enable_fallback=0)
        except Exception as error:  # its errors have no common type
            raise ModelError(f"onnxruntime cannot read the network ({shown(error)})") from error
    if not session.get_inputs():
        raise ModelError("the network takes no images: it has no input at all")
    inputs, names = session.get_inputs(), [one.name for one in session.get_outputs()]
    kinds = {"tensor(float)": torch.float32, "tensor(double)": torch.float64, "tensor(float16)": torch.float16}
    if inputs[0].type not in kinds or len(inputs[0].shape) != 4:
        raise ModelError(f"the first input '{inputs[0].name}' is {inputs[0].type} {inputs[0].shape}, not images (n, c, h, w)")
    shape = [one if isinstance(one, int) else None for one in inputs[0].shape]

    def run(images: Tensor, **extra: Tensor) -> Any:
        fed = {inputs[0].name: images, **extra}
        found = session.run(None, {name: one.detach().cpu().numpy() for name, one in fed.items()})
        return found[0] if len(found) == 1 else dict(zip(names, found, strict=True))

    weights = {"file": torch.frombuffer(bytearray(_bytes_of(session, given)), dtype=torch.uint8)}
    return Opaque(
        Held(run), "ONNX", "answers", like=torch.empty(0, dtype=kinds[inputs[0].type]), batch=shape[0], shape=_shape(shape),
        tensors=weights,
    )  # fmt: skip


def _bytes_of(session: Any, given: Any) -> bytes:
    """Returns the bytes of an ONNX network for its hash: from its file, or what the user's session has kept of it."""
    path = os.fspath(given) if is_onnx_file(given) else getattr(session, "_model_path", None)
    if path and os.path.isfile(path):
        with open(path, "rb") as file:
            return file.read()
    return getattr(session, "_model_bytes", None) or repr(given).encode()


def _shape(shape: list[int | None]) -> tuple[int | None, tuple[int, int] | None]:
    height, width = shape[2:]
    return shape[1], None if height is None or width is None else (height, width)


def unseen(module: nn.Module, name: str, needs: Literal["layers", "operations", "gradients"]) -> str | None:
    """Error message for a method that needs layers, operations or gradients that this network does not show; else None."""
    if isinstance(module, Opaque):
        order: tuple[Shows, ...] = ("answers", "gradients", "operations")
        shown = needs != "layers" and order.index(module.sees) >= order.index(needs)
        return None if shown else module.refusal(name, needs)
    if any(".quantized" in type(part).__module__ and type(part).__module__.startswith("torch.") for part in module.modules()):
        return f"{name} runs with quantised weights, through which there are no gradients: use {ANSWERS}"
    return None
