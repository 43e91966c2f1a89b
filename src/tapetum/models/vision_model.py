"""`VisionModel`: a user's module with what travels with it (preprocessing, class names); all else here sees this."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, TypeAlias, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from tapetum.data.planes import from_batch, viewable
from tapetum.data.preprocessing import Preprocessing, Size, as_text
from tapetum.data.strips import Strips
from tapetum.models import fitting
from tapetum.models.believing import WORKS, Believed, apart, compared
from tapetum.models.checkpointing import uncheckpointed
from tapetum.models.extra import beside
from tapetum.models.folding import folded
from tapetum.models.gradients import SoundGradients
from tapetum.models.layers import Survey, resolve, survey
from tapetum.models.opaque import Opaque
from tapetum.models.passes import Passes, StopForward, ToTheEnd
from tapetum.models.reaching import reach
from tapetum.models.remembering import Checked, Photos
from tapetum.models.replica import fingerprint, part_with, replicate, weights_sha256
from tapetum.notes import RAW, caution, is_caution, note
from tapetum.types import ImageError, LayerError, Layers, ModelError, Outputs

T = TypeVar("T")

LayersLike: TypeAlias = str | nn.Module | Sequence[str | nn.Module]
"""Names or globs, or modules of the network themselves."""

Head: TypeAlias = int | str | None
"""One of several outputs: its key, its attribute or its place; None: the only one, or the one that is the answer."""


class VisionModel:
    """Any `nn.Module` that takes images.

    module         the user's own module: never changed
    name, labels   labels is a tuple of class names, or None
    source         what `load` takes to build it again
    weights        "default" (as published, or as the module came), "random", or the file they were read from
    preprocessing  from pixels in [0, 1] to model-ready images
    call           (module, images) -> output, where `module(images)` is not enough: another method, a fixed input
    extra          further inputs by keyword, (n, ...): one row for each image that is explained, or one for all
    notes          what a reader of its results must know, such as what `untrained` could not draw again
    settings       what it was told on top of what `load(source, weights)` gives, as plain data
    frames         of a network of films and volumes, how many frames are folded into the channels; None of images
    encode_text    (module, texts) -> embeddings (m, d) that are alike to those of images; None: no text tower
    outputs        what the numbers of the answer are ("auto": found out), or {head: that} for several outputs
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
        self.module = module
        self.name = name
        self.preprocessing = preprocessing
        self.labels = None if labels is None else tuple(labels)
        self.source = source or name
        self.weights = "default"
        self.notes: tuple[str, ...] = ()
        self.frames: int | None = None
        self.settings: Mapping[str, Any] = {}
        self._warned: set[str] = set()
        self.call = call
        self.extra = dict(extra or {})
        self.encode_text = encode_text
        self.outputs: Outputs | Mapping[Head, Outputs] = outputs
        self.head = head
        self.head_labels = {key: tuple(names) for key, names in (head_labels or {}).items()}
        self.passes = Passes()
        self._local = threading.local()  # each thread has its own replica, so two can work at the same time
        self._facts: dict[str, tuple[object, Any]] = {}
        self._comparison: tuple[object, Believed] = None, Believed()
        self._hash: tuple[object, str] | None = None
        self.photos, self._checked = Photos(), Checked()

    def __getstate__(self) -> dict[str, Any]:
        """What travels to another process: not this one's replicas, nor what was found out with them."""
        fresh = {
            "_local": None,
            "_facts": {},
            "_hash": None,
            "_comparison": (None, Believed()),
            "photos": None,
            "_checked": None,
        }
        return {**vars(self), **fresh}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update({**state, "_local": threading.local(), "photos": Photos(), "_checked": Checked()})

    def around(self, module: nn.Module, name: str | None = None) -> VisionModel:
        """All that is known of this model, of another module: a copy, or the same architecture with other weights."""
        twin = VisionModel.__new__(VisionModel)
        twin.__setstate__({**self.__getstate__(), "module": module, "name": name or self.name})
        return twin

    def __repr__(self) -> str:
        classes = "no labels" if self.labels is None else f"{len(self.labels)} labels"
        return f"VisionModel({self.name}, {as_text(self.preprocessing.size)} px, {classes})"

    # --- the answer

    def labels_of(self, head: Head) -> tuple[str, ...] | None:
        """The class names of one head, by its key."""
        return self.head_labels.get(head, self.labels if head == self.head else None)

    def outputs_of(self, head: Head) -> Outputs:
        """What the numbers of one head are."""
        return self.outputs.get(head, "auto") if isinstance(self.outputs, Mapping) else self.outputs

    @property
    def channels(self) -> int:
        """How many an image has."""
        return len(self.preprocessing.mean)

    # --- the network

    @property
    def replica(self) -> nn.Module:
        """The private module tree in eval mode that shares the user's weights; made again when those were replaced."""
        if self._print() != getattr(self._local, "replicated", None):
            self._local.replica, self._local.replicated = self._replicate(), self._print()
        return self._local.replica

    @contextmanager
    def pinned(self) -> Generator[None]:
        """A method's work: the module is looked at once, not each pass, and what watches from outside ends no pass of it."""
        with self._looked_at_once(), self.passes.watched(ToTheEnd()):
            yield

    @contextmanager
    def _looked_at_once(self) -> Generator[None]:
        """Inside the block the user's module is taken not to be rebuilt."""
        outer = getattr(self._local, "pinned", None)
        self._local.pinned = outer or fingerprint(self.module)
        try:
            yield
        finally:
            self._local.pinned = outer

    @contextmanager
    def seeing(self, images: Any) -> Generator[None]:
        """Inside the block the size of these images counts, for this thread: what is found out about layers is so there."""
        outer = getattr(self._local, "given", None)
        if isinstance(images, Tensor) and images.ndim == 4:
            self._local.given = int(images.shape[-2]), int(images.shape[-1])
        try:
            yield
        finally:
            self._local.given = outer

    @property
    def size(self) -> Size:
        """(h, w) of the images that a method was given; elsewhere the model's own."""
        return getattr(self._local, "given", None) or self.preprocessing.size

    def _print(self) -> tuple[object, ...]:
        return getattr(self._local, "pinned", None) or fingerprint(self.module)

    def _replicate(self) -> nn.Module:
        structure, known = self._comparison
        try:
            written = known.written if structure == self._print() else ()
            # apart: copying is no operation of the network, for no mode that is on, and begins with a whole stack to go down
            return apart(lambda: replicate(self.module, written))
        except Exception as error:
            why = f"{type(error).__name__}: {' '.join(str(error).split())}"
            raise ModelError(f"{self.name} cannot be copied privately ({why}): {WORKS}") from error

    def _believed(self, images: Tensor) -> Believed:
        """What comparing the replica with the user's module shows, once; a refusal where the replica is another network."""
        if self._comparison[0] != self._print():
            row, image = (getattr(self._local, "rows", None) or (0,))[0], images[:1].detach().clone()
            self._comparison = self._print(), apart(lambda: self._compared(image, row))
        known = self._comparison[1]
        if known.written:
            part_with(self.replica, self.module, known.written)
        if known.doubts:
            raise ModelError(f"{self.name} cannot be copied privately: {known.doubts}; {WORKS}")
        for sentence in known.notes:
            note(sentence)
        return known

    @property
    def one_by_one(self) -> bool:
        """Whether a part of the network runs once for each image of a pass, in a loop."""
        return self._believed(self.blank()).one_by_one

    def _compared(self, image: Tensor, row: int) -> Believed:
        self.passes.begin(image.shape)
        with self.at_rows([row]):
            return compared(self.module, self.replica, self.run, image)

    def __call__(self, images: Tensor) -> Any:
        """The network's own output in eval mode; None when a probe stopped the pass early."""
        with self._looked_at_once():
            return self._passed(images)

    def _passed(self, images: Tensor) -> Any:
        if self._believed(images).changes_images:
            images = images.clone()
        self.passes.begin(images.shape)
        try:
            with SoundGradients() if torch.is_grad_enabled() else nullcontext():
                return self._one_row_each(self.run(self.replica, images), images)
        except StopForward:
            return None

    def _one_row_each(self, output: Any, images: Tensor) -> Any:
        """The output, unless it is a table of other than one row per image: `view(-1, 400)` of another size gives that.

        Where somebody changes layers, the batch may have become another on the way.
        """
        if not self.passes.edited and isinstance(output, Tensor) and output.ndim == 2 and len(output) != len(images):
            size = as_text(self.image_size)
            images_of = f"{len(images)} image{'s' * (len(images) > 1)} of {size} px"
            raise fitting.refusal(self, self.image_size) or ImageError(
                f"{self.name} gives {len(output)} rows for {images_of}, so no row is one image's: it is "
                "built for another size, or tp.wrap(..., call=...) must turn its answer"
            )
        return output

    def run(self, module: nn.Module, images: Tensor) -> Any:
        """The output of any copy of the module, with the further inputs that it needs."""
        rows = beside(self.extra, getattr(self._local, "rows", None), len(images), images)
        with uncheckpointed():
            return module(images, **rows) if self.call is None else self.call(module, images, **rows)

    @contextmanager
    def at_rows(self, rows: Sequence[int] | None) -> Generator[None]:
        """Inside the block each image of a pass is that of these, among the images that were given; None: as outside."""
        outer = getattr(self._local, "rows", None)
        self._local.rows = outer if rows is None else tuple(rows)
        try:
            yield
        finally:
            self._local.rows = outer

    def singly(self, images: Tensor) -> Iterator[Tensor]:
        """Each image (1, c, h, w) alone, and while it is looked at its own further inputs beside it."""
        rows = getattr(self._local, "rows", None) or range(len(images))
        for i, row in enumerate(rows):
            with self.at_rows([row]):
                yield images[i : i + 1]

    @property
    def image_size(self) -> tuple[int, int]:
        """(h, w) of the images that this thread's last pass was given: what hooks inside the network go by."""
        return self.passes.image_size

    def laid_out(self, images: Tensor) -> Tensor:
        """The same images in the memory layout that convolutions like best (channels last), if this network takes it.

        Quicker for passes without gradients; the numbers differ in the last bits. A network that reshapes with `.view`
        after a convolution refuses that layout: tried once on a blank image.
        """
        like_best = self.remember("channels last", self._takes_channels_last)
        return images.contiguous(memory_format=torch.channels_last) if like_best else images

    def _takes_channels_last(self) -> bool:
        try:
            with torch.no_grad():
                self(self.blank(2).contiguous(memory_format=torch.channels_last))
        except RuntimeError:
            return False
        return True

    @property
    def device(self) -> torch.device:
        return next((tensor.device for tensor in self._tensors()), torch.device("cpu"))

    @property
    def dtype(self) -> torch.dtype:
        floats = (tensor.dtype for tensor in self._tensors() if tensor.is_floating_point())
        return next(floats, torch.float32)

    def _tensors(self) -> Iterator[Tensor]:
        """Those that are registered, then those of modules that hide in lists and closures."""
        registered = itertools.chain(self.module.parameters(), self.module.buffers())
        return itertools.chain(registered, (tensor for part in reach(self.module).modules for tensor in part.parameters()))

    @property
    def weights_sha256(self) -> str:
        """The hash of the weights as they are now (kept until one of them changes)."""
        versions = fingerprint(self.module), tuple(tensor._version for tensor in self.module.state_dict().values())
        if self._hash is None or self._hash[0] != versions:
            self._hash = versions, weights_sha256(self.module)
        return self._hash[1]

    # --- images

    def blank(self, n: int = 1, size: Size | None = None) -> Tensor:
        """Model-ready zeros (n, c, h, w), without `size` as large as the images that are given, or as the model's own."""
        height, width = size or self.size
        return torch.zeros(n, self.preprocessing.channels, height, width, device=self.device, dtype=self.dtype)

    def noise(self, n: int = 1, seed: int = 0, size: Size | None = None) -> Tensor:
        """Model-ready images (n, c, h, w) of unit noise: the same for the same seed, on every device."""
        shape = n, self.preprocessing.channels, *(size or self.size)
        return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(self.device, self.dtype)

    def preprocess(self, pictures: Any) -> Tensor:
        """Pictures to model-ready images (n, c, h, w) on the model's device.

        pictures: a batch (n, 3, H, W) or (n, H, W, 3) of what `read_image` takes as arrays and tensors; anything that
            `read_image` takes; or a list of those, of any sizes. Networks of other than one or three channels take arrays,
            tensors and .npy files of theirs; with `tp.wrap(..., range=(low, high))` the values are raw.
        """
        if isinstance(pictures, Tensor) and pictures.ndim == 5:
            pictures = folded(pictures, self.preprocessing.channels, self.frames)
        if isinstance(pictures, (Tensor, np.ndarray)) and pictures.ndim == 4:
            how = self.preprocessing
            last = isinstance(pictures, np.ndarray)
            batch = torch.from_numpy(np.ascontiguousarray(pictures)) if isinstance(pictures, np.ndarray) else pictures
            return self.prepared(from_batch(batch, how.channels, how.range, last))
        many = pictures if isinstance(pictures, (list, tuple)) else [pictures]
        if not many:
            raise ImageError("no images were given")
        _refuse_labels(many)
        return self.photos.joined(list(map(self._ready, many)))

    def _ready(self, source: Any) -> Tensor:
        """One picture, of which no more floats are held than its crop needs."""
        with self.preprocessing.opened(source) as pixels:
            return self.prepared(pixels)

    def prepared(self, pixels: Tensor | Strips) -> Tensor:
        """Pixels in [0, 1], as `model.preprocessing` reads or opens them, to model-ready images on the model's device."""
        self.caution(self.notes)
        ready = self.preprocessing(pixels).to(self.device, self.dtype)
        return self.photos.cut(ready, (int(pixels.shape[-2]), int(pixels.shape[-1])), self.preprocessing)

    def denormalize(self, images: Tensor) -> Tensor:
        """Model-ready images back to pixels in [0, 1] (n, 3, h, w): what the model saw; of many bands the mean, in grey."""
        if self.frames is not None:
            note(f"pictures show the mean over the {self.frames} frames")
            return viewable(self.preprocessing.pixels(images).unflatten(1, (-1, self.frames)).mean(2))
        if images.shape[1] not in (1, 3):
            note(f"pictures show the mean over the {images.shape[1]} bands, in grey")
        return self.preprocessing.denormalize(images)

    def as_images(self, source: Any) -> Tensor:
        """A model-ready tensor (n, c, h, w) as it is; whatever else `preprocess` takes, such as uint8 batches, preprocessed."""
        if isinstance(source, Tensor) and source.ndim == 5:
            source = folded(source, self.preprocessing.channels, self.frames)
        if isinstance(source, Tensor) and source.ndim == 4 and source.is_floating_point():
            return self._ready_batch(source)
        if isinstance(source, Tensor) and source.ndim == 3:
            self._refuse_one_image(source)
        return self.preprocess(source)

    def _refuse_one_image(self, image: Tensor) -> None:
        """One picture in [0, 1] is preprocessed; normalised values without the batch's axis are neither."""
        if not image.is_floating_point() or not image.numel() or not torch.isfinite(image).all() or self.preprocessing.range:
            return
        low, high = (float(end) for end in image.detach().aminmax())
        if image.shape[0] == self.preprocessing.channels and (low < 0 or 1 < high <= 20):
            raise ImageError(
                f"a tensor {tuple(image.shape)} with values from {low:.3g} to {high:.3g} is no picture in [0, 1]; model-ready "
                "images have a batch axis: x[None]"
            )

    def _ready_batch(self, images: Tensor) -> Tensor:
        """The images, checked once: a batch that was returned from here is returned as it is."""
        raw = self._checked.raw(images)
        if raw is None or images.device != self.device or images.dtype != self.dtype:
            raw = self._check(images)
            images = self.photos.keep(images.detach().to(self.device, self.dtype), self.photos.of(images))
            self._checked.add(images, raw)
        if raw:
            self.caution([RAW])
        return images

    def _check(self, images: Tensor) -> bool:
        """Refuses what is no batch of images; whether they look like pixels that were not normalised."""
        if len(images) == 0:
            raise ImageError("an empty batch was given: no images")
        channels = self.preprocessing.channels
        if images.shape[1] != channels:
            hint = "; their channels are last: x.permute(0, 3, 1, 2)" if images.shape[-1] == channels else ""
            raise ImageError(
                f"{self.name} takes {channels} channels, these images {tuple(images.shape)} have {images.shape[1]}{hint}"
            )
        if not torch.isfinite(images).all():
            raise ImageError("the images contain NaN or infinity")
        pixels = self._unclipped(images)
        if pixels > 20:  # 8-bit values that were not divided by 255 end near 58 with the usual constants
            what = "0..255" if self.preprocessing.range is None else "raw"
            raise ImageError(f"the images look like {what} values; use model.preprocess, which makes them model-ready")
        # a bright picture normalised by .5 and .5 lies in [0, 1], too, but hardly reaches down to 0
        return self.looks_raw(images) and float(images.min()) < 0.1 and float(images.max()) > 0.5

    def looks_raw(self, images: Tensor) -> bool:
        """Whether these are pixels in [0, 1], although the model expects normalised values: the commonest silent mistake."""
        mean, std = self.preprocessing.mean, self.preprocessing.std
        normalised = all(m == 0 for m in mean) and all(s == 1 for s in std)
        return not normalised and images.numel() > 0 and float(images.min()) >= 0 and float(images.max()) <= 1

    def caution(self, notes: Sequence[str]) -> None:
        """Warns of those that may mean that results are wrong, each once for this model."""
        for sentence in filter(is_caution, notes):
            caution(sentence, self._warned)

    def _unclipped(self, images: Tensor) -> float:
        """The largest value as a pixel, where a picture has 1."""
        means, stds = self.preprocessing.mean, self.preprocessing.std
        return max(float(images[:, i].max()) * std + mean for i, (mean, std) in enumerate(zip(means, stds, strict=True)))

    # --- layers

    @property
    def survey(self) -> Survey:
        """What one pass showed of every layer, at the size of the images that a method was given, else at the model's own."""
        return self.survey_at(self.size)

    def survey_at(self, size: tuple[int, int]) -> Survey:
        """The same for images of another (h, w): grids, and fields where the padding goes by the image's size."""
        return self.remember(f"survey at {as_text(size)}", lambda: self._surveyed(size))

    def _surveyed(self, size: Size) -> Survey:
        with fitting.in_plain_words(self, size):
            return survey(self.replica, self.blank(size=size), self.name, self.run)

    def remember(self, fact: str, find_out: Callable[[], T]) -> T:
        """A fact about the structure at a size: found out once, and again when modules or tensors were replaced.

        Images of any kind will do for that, with the further inputs of the first.
        """
        structure, fact = self._print(), f"{fact}, {self.size}"
        if self._facts.get(fact, (None, None))[0] != structure:
            with self.at_rows([0]), self.passes.aside():
                self._facts[fact] = structure, find_out()
        return self._facts[fact][1]

    def recall(self, fact: str) -> Any:
        """The fact if somebody has found it out, else None."""
        structure, found = self._facts.get(f"{fact}, {self.size}", (None, None))
        return found if structure == self._print() else None

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
                self.note_runs(name)
        return found

    def named(self, patterns: LayersLike) -> list[str]:
        """As `find_layers`, without a word on layers that run several times."""
        if isinstance(self.module, Opaque):
            raise LayerError(self.module.refusal(self.name, "layers"))
        wanted = [patterns] if isinstance(patterns, (str, nn.Module)) else patterns
        names = (self.name_of(one) if isinstance(one, nn.Module) else one for one in wanted)
        return list(dict.fromkeys(name for pattern in names for name in resolve(self.survey, pattern)))

    def name_of(self, module: nn.Module) -> str:
        """What a module of the network is called in it."""
        name = next((name for name, part in self.module.named_modules() if part is module), None)
        if not name:
            what = "the network itself" if module is self.module else f"no module of {self.name}"
            raise LayerError(f"this {type(module).__name__} is {what}: a layer is a module inside it, or its name")
        return name

    def note_runs(self, name: str) -> None:
        """Says so where a layer runs several times and no run was chosen."""
        runs = self.survey.runs(name)
        if len(runs) > 1:
            note(f"{name} runs {len(runs)} times; this is its last run: {runs[0]} to {runs[-1]} name one each")


def _refuse_labels(many: Sequence[Any]) -> None:
    """A data loader's pair of images and labels is no list of pictures."""
    first, last = many[0], many[-1]
    pair = len(many) == 2 and isinstance(first, Tensor) and first.ndim == 4 and isinstance(last, Tensor) and last.ndim <= 2
    if pair and len(last) == len(first):
        raise ImageError(f"a data loader's pair of images {tuple(first.shape)} and labels was given: give the images, pair[0]")
