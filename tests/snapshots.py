"""Whether a user's model is as it was: everything about a module that a method could leave changed."""

from __future__ import annotations

from typing import Any

from torch import nn


def snapshot(module: nn.Module) -> dict[str, Any]:
    """Everything about a module that a method could leave changed."""
    seen: dict[str, Any] = {}
    for path, part in module.named_modules():
        seen[f"{path} keys"] = sorted(vars(part))
        seen[f"{path} training"] = part.training
        seen[f"{path} inplace"] = getattr(part, "inplace", None)
        for key, value in vars(part).items():
            if "hooks" in key:
                seen[f"{path} {key}"] = list(value)
    for path, tensor in [*module.named_parameters(), *module.named_buffers()]:
        seen[f"{path} value"] = tensor.detach().numpy().tobytes()
        seen[f"{path} state"] = (id(tensor), tensor.data_ptr(), tensor._version, tensor.requires_grad, tensor.grad)
    return seen


def differences(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    return [key for key in before.keys() | after.keys() if before.get(key) != after.get(key)]


def hooks(replica: nn.Module) -> list[str]:
    """Modules of the private replica where hooks or replaced forwards wait for the next call."""
    return [
        f"{path} {key}"
        for path, part in replica.named_modules()
        for key, value in vars(part).items()
        if key == "forward" or ("hooks" in key and value)
    ]


def assert_same(before: dict[str, Any], after: dict[str, Any]) -> None:
    assert differences(before, after) == []


def assert_no_hooks(replica: nn.Module) -> None:
    assert hooks(replica) == []
