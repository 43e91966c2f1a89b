"""`VisionModel`: a user's module with what travels with it (preprocessing, class names); all else here sees this."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from torch import Tensor, nn

from tapetum.data.preprocessing import Preprocessing, as_text
from tapetum.models import fitting
from tapetum.models.layers import Survey, resolve, survey
from tapetum.models.opaque import Opaque
from tapetum.models.reader import Reader
from tapetum.notes import note
from tapetum.types import ImageError, LayerError, Layers, Outputs

LayersLike: TypeAlias = str | nn.Module | Sequence[str | nn.Module]
"""Names or globs, or modules of the network themselves."""

Head: TypeAlias = int | str | None
"""One of several outputs: its key, its attribute or its place; None: the only one, or the one that is the answer."""


class VisionModel(Reader):
    """Any `nn.Module` that takes images; further fields are those of `Network` and `Reader`.

    labels         class names, or None
    source         argument of `load` that builds it again
    weights        "default" (as published, or as the module came), "random", or the file they were read from
    settings       settings on top of what `load(source, weights)` gives, as plain data
    encode_text    (module, texts) -> embeddings (m, d) that are alike to those of images; None: no text tower
    outputs        kind of the answer's numbers ("auto": found out), or {head: that} for several outputs
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
        """All that is known of this model, of another module: a copy, or the same architecture with other weights."""
        twin = VisionModel.__new__(VisionModel)
        twin.__setstate__({**self.__getstate__(), "module": module, "name": name or self.name})
        return twin

    def __repr__(self) -> str:
        classes = "no labels" if self.labels is None else f"{len(self.labels)} labels"
        return f"VisionModel({self.name}, {as_text(self.preprocessing.size)} px, {classes})"

    # --- the answer

    def __call__(self, images: Tensor) -> Any:
        """The network's own output in eval mode; None when a probe stopped the pass early.

        Refuses a table of other than one row per image: `view(-1, 400)` of another size gives that. Where somebody changes
        layers, the batch may have become another on the way.
        """
        output = super().__call__(images)
        if isinstance(output, Tensor) and output.ndim == 2 and len(output) != len(images) and not self.passes.edited:
            images_of = f"{len(images)} image{'s' * (len(images) > 1)} of {as_text(self.passes.image_size)} px"
            raise fitting.refusal(self, self.passes.image_size) or ImageError(
                f"{self.name} gives {len(output)} rows for {images_of}, so no row is one image's: it is "
                "built for another size, or tp.wrap(..., call=...) must turn its answer"
            )
        return output

    def labels_of(self, head: Head) -> tuple[str, ...] | None:
        """The class names of one head, by its key."""
        return self.head_labels.get(head, self.labels if head == self.head else None)

    def outputs_of(self, head: Head) -> Outputs:
        """Kind of the numbers of one head."""
        return self.outputs.get(head, "auto") if isinstance(self.outputs, Mapping) else self.outputs

    # --- layers

    @property
    def survey(self) -> Survey:
        """Layers as one pass showed them, at the size of the images that a method was given, else at the model's own."""
        return self.remember("survey", lambda: self._surveyed(self.size))

    def survey_at(self, size: tuple[int, int]) -> Survey:
        """Layers for images of another (h, w): grids, and fields where the padding goes by the image's size."""
        return self.remember("survey", lambda: self._surveyed(size), size)

    def _surveyed(self, size: tuple[int, int]) -> Survey:
        with fitting.in_plain_words(self, size):
            return survey(self.replica, self.blank(size=size), self.name, self.run)

    def layers(self) -> Layers:
        """Every layer that runs: name, kind, output shape, parameters, theoretical receptive field and stride."""
        return Layers(self.survey.layers)

    def find_layers(self, patterns: LayersLike) -> list[str]:
        """The names that globs such as "layer*" or "blocks.3" mean; a `LayerError` names close ones.

        "trunk[0]" is one run of a layer that runs several times, "backbone/1" one output of a layer that gives several. A
        module of the network means its own name.
        """
        found = self.named(patterns)
        exact = [patterns] if isinstance(patterns, str) else patterns
        for name in found:
            if not isinstance(exact, nn.Module) and name in exact:
                for sentence in self.runs_of(name):
                    note(sentence)
        return found

    def named(self, patterns: LayersLike) -> list[str]:
        """As `find_layers`, without a note on layers that run several times."""
        if isinstance(self.module, Opaque):
            raise LayerError(self.module.refusal(self.name, "layers"))
        wanted = [patterns] if isinstance(patterns, (str, nn.Module)) else patterns
        names = (self.name_of(one) if isinstance(one, nn.Module) else one for one in wanted)
        return list(dict.fromkeys(name for pattern in names for name in resolve(self.survey, pattern)))

    def name_of(self, module: nn.Module) -> str:
        """Name of a module inside the network."""
        name = next((name for name, part in self.module.named_modules() if part is module), None)
        if not name:
            what = "the network itself" if module is self.module else f"no module of {self.name}"
            raise LayerError(f"this {type(module).__name__} is {what}: a layer is a module inside it, or its name")
        return name

    def runs_of(self, name: str) -> tuple[str, ...]:
        """A note on a layer that runs several times, where no run was chosen."""
        runs = self.survey.runs(name)
        if len(runs) == 1:
            return ()
        return (f"{name} runs {len(runs)} times; this is its last run: {runs[0]} to {runs[-1]} name one each",)
