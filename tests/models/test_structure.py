"""Whether a network is still the one about which facts were found out: looked at once per call, exactly."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from tapetum.models.structure import Structure


class Settings:
    """An object that is no module and holds a tensor."""

    def __init__(self) -> None:
        self.scale = torch.ones(1)


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)
        self.hidden, self.table, self.settings = [nn.ReLU()], {"scale": torch.ones(1)}, Settings()
        held = [nn.Linear(4, 2)]
        self.held, self.head = held, lambda maps: held[0](maps.mean((2, 3)))


CHANGES: dict[str, Callable[[Net], object]] = {
    "a setting": lambda net: setattr(net.first, "stride", (2, 2)),
    "a new setting": lambda net: setattr(net, "more", 1),
    "a part": lambda net: setattr(net, "second", nn.BatchNorm2d(4)),
    "the order of parts": lambda net: net._modules.update(first=net._modules.pop("first")),
    "the name of a part": lambda net: setattr(net, "third", net._modules.pop("second")),
    "a patched forward": lambda net: setattr(net.first, "forward", nn.Identity().forward),
    "a hook": lambda net: net.second.register_forward_hook(lambda *_: None),
    "the type of numbers": lambda net: net.double(),
    "the storage of a weight": lambda net: setattr(net.first.weight, "data", net.first.weight.detach().clone()),
    "a buffer": lambda net: setattr(net.second, "running_mean", torch.zeros(4)),
    "a module in a list": lambda net: net.hidden.append(nn.ReLU()),
    "a tensor in a table": lambda net: net.table.update(scale=torch.ones(1)),
    "a tensor of an object": lambda net: setattr(net.settings, "scale", torch.ones(1)),
    "a module in a closure": lambda net: net.held.__setitem__(0, nn.Linear(4, 2)),
}

NO_CHANGES: dict[str, Callable[[Net], object]] = {
    "nothing": lambda net: None,
    "another mode": lambda net: net.train(not net.training),
    "trained weights": lambda net: net.first.weight.detach().add_(1),
    "a gradient": lambda net: setattr(net.first.weight, "grad", torch.ones_like(net.first.weight)),
}


@pytest.mark.parametrize("what", CHANGES)
def test_whatever_is_replaced_ends_it(what: str) -> None:
    net = Net()
    known = Structure(net)
    CHANGES[what](net)
    assert not known.stands()
    assert Structure(net).stands()


@pytest.mark.parametrize("what", NO_CHANGES)
def test_modes_and_values_of_weights_do_not(what: str) -> None:
    net = Net()
    known = Structure(net)
    NO_CHANGES[what](net)
    assert known.stands()
