"""Runs a user's network privately: holds its copy, the passes through it, and facts about it that are found out once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, TypeVar, overload

import torch
from torch import Tensor, nn

from tapetum.data.preprocessing import Preprocessing, Size
from tapetum.models.believing import WORKS, Believed, apart, compared
from tapetum.models.checkpointing import uncheckpointed
from tapetum.models.extra import beside
from tapetum.models.gradients import SoundGradients
from tapetum.models.passes import Passes, StopForward, ToTheEnd
from tapetum.models.remembering import Batches
from tapetum.models.replica import part_with, replicate, weights_sha256
from tapetum.models.structure import Structure
from tapetum.notes import note
from tapetum.types import ModelError

T = TypeVar("T")


class Network:
    """Network of the user, which is never changed, with a private copy that runs in eval mode.

    module         the user's own module
    name           for messages and captions
    preprocessing  turns pixels in [0, 1] into model-ready images
    call           (module, images) -> output, where `module(images)` is not enough: another method, a fixed input
    extra          further inputs by keyword, (n, ...): one row for each image that is explained, or one for all
    """

    def __init__(
        self,
        module: nn.Module,
        name: str,
        preprocessing: Preprocessing,
        call: Callable[..., Any] | None = None,
        extra: Mapping[str, Tensor] | None = None,
    ) -> None:
        self.module, self.name, self.preprocessing = module, name, preprocessing
        self.call, self.extra = call, dict(extra or {})
        self.passes, self.batches = Passes(), Batches()
        self._local = threading.local()  # each thread has its own replica, so two can work at the same time
        self._structure: Structure | None = None
        self._hash: tuple[object, str] | None = None

    def __getstate__(self) -> dict[str, Any]:
        """State to pickle for another process: without this process's replicas and the facts found with them."""
        return {**vars(self), "_local": None, "_structure": None, "_hash": None, "batches": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update({**state, "_local": threading.local(), "batches": Batches()})

    # --- the private copy

    @property
    def replica(self) -> nn.Module:
        """This thread's private copy, in eval mode; it shares the user's weights and is made again when these are replaced."""
        structure = self.structure
        if structure is not getattr(self._local, "replicated", None):
            self._local.replica, self._local.replicated = self._replicate(), structure
        return self._local.replica

    @property
    def structure(self) -> Structure:
        """Snapshot of how the user's module is built now, or, inside `pinned` or a pass, was built when that began."""
        pinned = getattr(self._local, "pinned", None)
        if pinned is not None:
            return pinned
        known = self._structure
        if known is None or not known.stands():
            known = self._structure = Structure(self.module)
        return known

    @contextmanager
    def pinned(self, images: Any = None) -> Generator[None]:
        """Keeps the module's structure fixed inside the block; observers from outside the block cannot end a pass early.

        With images (n, c, h, w), their size is the one at which facts about layers are found.
        """
        given = getattr(self._local, "given", None)
        if isinstance(images, Tensor) and images.ndim == 4:
            given = int(images.shape[-2]), int(images.shape[-1])
        with self._locally(pinned=self.structure, given=given), self.passes.watched(ToTheEnd()):
            yield

    @contextmanager
    def _locally(self, **values: Any) -> Generator[None]:
        """Sets values for this thread inside the block, and restores the earlier ones afterwards."""
        here = vars(self._local)
        outer = {name: here.get(name) for name in values}
        here.update(values)
        try:
            yield
        finally:
            here.update(outer)

    def _replicate(self) -> nn.Module:
        known = self.structure.believed
        try:
            written = known.written if known else ()
            # in a new thread: modes that are on must not see the copying, and deep recursion needs an empty stack
            return apart(lambda: replicate(self.module, written))
        except Exception as error:
            why = f"{type(error).__name__}: {' '.join(str(error).split())}"
            raise ModelError(f"{self.name} cannot be copied privately ({why}): {WORKS}") from error

    def _believed(self, images: Tensor) -> Believed:
        """Compares the replica with the user's module, once for each structure; refuses a replica that is another network."""
        structure = self.structure
        if structure.believed is None:
            row, image = (getattr(self._local, "rows", None) or (0,))[0], images[:1].detach().clone()
            structure.believed = apart(lambda: self._compared(image, row))
        known = structure.believed
        if known.written:
            part_with(self.replica, self.module, known.written)
        if known.doubts:
            raise ModelError(f"{self.name} cannot be copied privately: {known.doubts}; {WORKS}")
        for sentence in known.notes:
            note(sentence)
        return known

    def _compared(self, image: Tensor, row: int) -> Believed:
        with self.at_rows([row]):
            return compared(self.module, self.replica, self.run, image)

    @property
    def one_by_one(self) -> bool:
        """Checks whether a part of the network runs once for each image of a pass, in a loop."""
        return (self.structure.believed or self._believed(self.blank())).one_by_one

    # --- passes

    def __call__(self, images: Tensor, rows: Sequence[int] | None = None) -> Any:
        """Returns the network's output in eval mode; None when a probe stopped the pass early.

        rows: for each image of the pass the index of the explained image, whose further inputs it gets; None: as around.
        """
        around = getattr(self._local, "rows", None)
        with self._locally(pinned=self.structure, rows=around if rows is None else tuple(rows)):
            if self._believed(images).changes_images:
                images = images.clone()
            try:
                with SoundGradients() if torch.is_grad_enabled() else nullcontext():
                    return self.run(self.replica, images)
            except StopForward:
                return None

    def run(self, module: nn.Module, images: Tensor) -> Any:
        """Begins a pass: runs `module`, the replica or another copy, on images with their further inputs."""
        passes, size = self.passes, (images.shape[-2], images.shape[-1])
        passes.images, passes.image_size, passes.this = len(images), size, object()
        rows = beside(self.extra, getattr(self._local, "rows", None), len(images), images) if self.extra else {}
        with uncheckpointed():
            return module(images, **rows) if self.call is None else self.call(module, images, **rows)

    @contextmanager
    def at_rows(self, rows: Sequence[int] | None) -> Generator[None]:
        """Gives passes inside the block the further inputs of explained images, as `rows` of a call does."""
        with self._locally(rows=getattr(self._local, "rows", None) if rows is None else tuple(rows)):
            yield

    def singly(self, images: Tensor) -> Iterator[Tensor]:
        """Yields each image alone, (1, c, h, w); until the next, passes get this image's rows of further inputs."""
        rows = getattr(self._local, "rows", None) or range(len(images))
        for i, row in enumerate(rows):
            with self.at_rows([row]):
                yield images[i : i + 1]

    def laid_out(self, images: Tensor) -> Tensor:
        """Returns the images in the memory layout "channels last", if the network runs on it: convolutions are quicker then.

        For passes without gradients; outputs differ in the last bits. A network that reshapes with `.view` after a
        convolution fails on this layout, so it is tried once on blank images.
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

    # --- the images of its passes

    @property
    def size(self) -> Size:
        """Height and width (h, w) in px of the images that a method was given; outside a method the model's own size."""
        return getattr(self._local, "given", None) or self.preprocessing.size

    @property
    def channels(self) -> int:
        """Number of channels of the network's images."""
        return self.preprocessing.channels

    def blank(self, n: int = 1, size: Size | None = None) -> Tensor:
        """Returns model-ready zeros (n, c, h, w); without `size`, (h, w) is `self.size`."""
        return torch.zeros(n, self.channels, *(size or self.size), device=self.device, dtype=self.dtype)

    def noise(self, n: int = 1, seed: int = 0, size: Size | None = None) -> Tensor:
        """Returns standard normal noise (n, c, h, w) as model-ready images: the same for a seed on every device."""
        shape = n, self.channels, *(size or self.size)
        return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(self.device, self.dtype)

    # --- its tensors

    @property
    def device(self) -> torch.device:
        return self.structure.device

    @property
    def dtype(self) -> torch.dtype:
        return self.structure.dtype

    @property
    def weights_sha256(self) -> str:
        """SHA-256 of the current weights; kept until one of them changes."""
        versions = self.structure, tuple(tensor._version for tensor in self.module.state_dict().values())
        if self._hash is None or self._hash[0] != versions:
            self._hash = versions, weights_sha256(self.module)
        return self._hash[1]

    # --- facts

    @overload
    def remember(self, fact: str) -> Any: ...
    @overload
    def remember(self, fact: str, find_out: Callable[[], T], size: Size | None = None) -> T: ...
    def remember(self, fact: str, find_out: Callable[[], T] | None = None, size: Size | None = None) -> Any:
        """Returns a fact about the network's structure at an image size; found out once, again after parts were replaced.

        Without `find_out`, a fact that has not been found out is None. size: (h, w); None: `self.size`. Passes inside
        `find_out` get the first row of the further inputs.
        """
        facts, key = self.structure.facts, (fact, size or self.size)
        if find_out is not None and key not in facts:
            with self.at_rows([0]), self.passes.aside():
                facts[key] = find_out()
        return facts.get(key)
