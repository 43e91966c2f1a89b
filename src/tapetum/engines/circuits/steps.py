"""Numbers the operations of a pass, so that the same operation can be found, read and replaced in the next pass.

Operations are counted, not modules, so functional calls, fused modules and modules that run twice are treated alike.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

from tapetum.engines.attention import entered
from tapetum.engines.backward.modes import OperationMode
from tapetum.models.operations.call import Call
from tapetum.models.vision_model import VisionModel


class Steps(OperationMode):
    """Function mode that numbers the operations of each pass of a model from 0 and passes each with its number to `at`.

    Reading an attribute (`x.shape`) does not count. Operations inside of `multi_head_attention_forward` do, in place of itself.
    Where gradients are recorded, nothing is overwritten in place.
    """

    def __init__(self, model: VisionModel) -> None:
        super().__init__(self._counted)
        self.model, self.step = model, -1
        self.before = self.counted = model.passes.this

    @abstractmethod
    def at(self, step: int, call: Call) -> Any:
        """Runs the operation with this number and returns its output."""

    def on(self, call: Call) -> Any:
        if call.name == "multi_head_attention_forward":
            with self:
                return entered(call.function)(*call.args, **call.kwargs)
        return super().on(call)

    def _counted(self, call: Call) -> Any:
        current = self.model.passes.this
        if current is self.before or getattr(call.function, "__name__", "") == "__get__":
            return call()  # what comes before the pass, such as a look at the weights, is not of it
        if current is not self.counted:
            self.counted, self.step = current, -1
        self.step += 1
        return self.at(self.step, call)
