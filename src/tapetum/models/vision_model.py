"""`VisionModel`: a user's module with its preprocessing and class names, as all methods of this library take it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from torch import Tensor, nn

from tapetum.data.preprocessing import Preprocessing
from tapetum.models import fitting
from tapetum.models.layers import Survey, resolve, survey
from tapetum.models.opaque import Opaque
from tapetum.models.reader import Reader
from tapetum.notes import note
from tapetum.types import ImageError, LayerError, Layers, Outputs
from tapetum.types.text import as_text

LayersLike: TypeAlias = str | nn.Module | Sequence[str | nn.Module]
"""Layers, given by names, globs or the network's own modules; one, or a sequence."""

Head: TypeAlias = int | str | None
"""Names one of several outputs by its key, its attribute or its index; None: the only output, or the one that is the answer."""


class VisionModel(Reader):
    """Any `nn.Module` that takes images, with all that methods need to explain it; `Network` and `Reader` list more fields.

    labels         class names, or None
    source         argument with which `load` builds the model again
    weights        "default" (as published, or as the module came), "random", or the file they were read from
    settings       what differs from `load(source, weights)`, as plain data
    encode_text    (module, texts) -> embeddings (m, d) in the space of the images' embeddings; None: no text tower
    outputs        kind of the answer's numbers ("auto": found out), or {head: kind} for several outputs
    head           which of several outputs is the answer; None: found by name, labels and shape
    head_labels    {head: class names} of outputs beside the answer
    """

    def __init__(
        self,
        module: nn.Module,
        name: str,
        preprocessing: Preprocessing,
        labels: Sequence[str] | None = None,
        source: str | None = None,
        *,
        call: Callable[..., Any] | None = None,
        extra: Mapping[str, Tensor] | None = None,
        encode_text: Callable[[nn.Module, Sequence[str]], Tensor] | None = None,
        outputs: Outputs | Mapping[Head, Outputs] = "auto",
        head: Head = None,
        head_labels: Mapping[Head, Sequence[str]] | None = None,
    ) -> None:
        super().__init__(module, name, preprocessing, call, extra)
        self.labels = None if labels is None else tuple(labels)
        self.source = source or name
        self.weights = "default"
        self.notes: tuple[str, ...] = ()
        self.frames: int | None = None
        self.settings: Mapping[str, Any] = {}
        self.encode_text = encode_text
        self.outputs: Outputs | Mapping[Head, Outputs] = outputs
        self.head = head
        self.head_labels = {key: tuple(names) for key, names in (head_labels or {}).items()}
        self._warned: set[str] = set()

    def around(self, module: nn.Module, name: str | None = None) -> VisionModel:
        """Makes a model of another module (a copy, or one with other weights) with this model's preprocessing, labels etc."""
        twin = VisionModel.__new__(VisionModel)
        twin.__setstate__({**self.__getstate__(), "module": module, "name": name or self.name})
        return twin

    def __repr__(self) -> str:
        classes = "no labels" if self.labels is None else f"{len(self.labels)} labels"
        return f"VisionModel({self.name}, {as_text(self.preprocessing.size)} px, {classes})"

    # --- the answer

    def __call__(self, images: Tensor, rows: Sequence[int] | None = None) -> Any:
        """Returns the network's output in eval mode; None when a probe stopped the pass early.

        Refuses an output (rows, k) whose rows are not as many as the images, as `view(-1, 400)` gives it for images of a wrong
        size; not while an observer may change layers, which can change the batch size. rows: as of `Network`, for each image
        of the pass the index of the explained image whose further inputs it gets; None: those of the images in their order.
        """
        output = super().__call__(images, rows)
        if isinstance(output, Tensor) and output.ndim == 2 and len(output) != len(images) and not self.passes.edited:
            images_of = f"{len(images)} image{'s' * (len(images) > 1)} of {as_text(self.passes.image_size)} px"
            raise fitting.refusal(self, self.passes.image_size) or ImageError(
                f"{self.name} gives {len(output)} rows for {images_of}, so no row is one image's: it is "
                "built for another size, or tp.wrap(..., call=...) must turn its answer"
            )
        return output

    def labels_of(self, head: Head) -> tuple[str, ...] | None:
        """Returns the class names of one of several outputs; None where there are none."""
        return self.head_labels.get(head, self.labels if head == self.head else None)

    def outputs_of(self, head: Head) -> Outputs:
        """Returns the kind of numbers that one of several outputs gives."""
        return self.outputs.get(head, "auto") if isinstance(self.outputs, Mapping) else self.outputs

    # --- layers

    @property
    def survey(self) -> Survey:
        """Layers as one recorded pass showed them, at the size of the images a method was given, or else the model's own."""
        return self.remember("survey", lambda: self._surveyed(self.size))

    def survey_at(self, size: tuple[int, int]) -> Survey:
        """Returns the layers for images of size (h, w): grids depend on it, and fields if the padding does."""
        return self.remember("survey", lambda: self._surveyed(size), size)

    def _surveyed(self, size: tuple[int, int]) -> Survey:
        with fitting.in_plain_words(self, size):
            return survey(self.replica, self.blank(size=size), self.name, self.run)

    def layers(self) -> Layers:
        """Lists every layer that runs: name, kind, output shape, parameters, theoretical receptive field and stride."""
        return Layers(self.survey.layers)

    def find_layers(self, patterns: LayersLike) -> list[str]:
        """Returns the layer names that names or globs such as "layer*" mean; a `LayerError` for an unknown name suggests some.

        "trunk[0]" is one run of a layer that runs several times, "backbone/1" one output of a layer that gives several. A
        module of the network stands for its name.
        """
        found = self.named(patterns)
        exact = [patterns] if isinstance(patterns, str) else patterns
        for name in found:
            if not isinstance(exact, nn.Module) and name in exact:
                for sentence in self.runs_of(name):
                    note(sentence)
        return found

    def named(self, patterns: LayersLike) -> list[str]:
        """Returns layer names as `find_layers` does, without its note on layers that run several times."""
        if isinstance(self.module, Opaque):
            raise LayerError(self.module.refusal(self.name, "layers"))
        wanted = [patterns] if isinstance(patterns, (str, nn.Module)) else patterns
        names = (self.name_of(one) if isinstance(one, nn.Module) else one for one in wanted)
        return list(dict.fromkeys(name for pattern in names for name in resolve(self.survey, pattern)))

    def name_of(self, module: nn.Module) -> str:
        """Returns the name of a module inside the network; a `LayerError` for any other."""
        name = next((name for name, part in self.module.named_modules() if part is module), None)
        if not name:
            what = "the network itself" if module is self.module else f"no module of {self.name}"
            raise LayerError(f"this {type(module).__name__} is {what}: a layer is a module inside it, or its name")
        return name

    def runs_of(self, name: str) -> tuple[str, ...]:
        """Returns a note if the layer runs several times and its name means no single run, else ()."""
        runs = self.survey.runs(name)
        if len(runs) == 1:
            return ()
        return (f"{name} runs {len(runs)} times; this is its last run: {runs[0]} to {runs[-1]} name one each",)
