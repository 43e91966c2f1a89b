"""Finds the units that fire on a new picture, in one forward pass, compared with their scores on the whole data set."""

from __future__ import annotations

import base64
import contextlib
import threading
from collections.abc import Callable, Collection
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tapetum.atlas.claims import check_finished
from tapetum.atlas.numbers import percentile_of
from tapetum.atlas.stages import MANIFEST, STORE, read_manifest
from tapetum.atlas.store import Store
from tapetum.data.images import to_uint8, webp
from tapetum.data.planes import viewable
from tapetum.engines.signed import capture_signed
from tapetum.families.inspections import predict
from tapetum.files import inside, mapped_in, shown
from tapetum.models.vision_model import VisionModel
from tapetum.models.zoo.loading import loaded
from tapetum.models.zoo.named import named_in_file, settings_in_file
from tapetum.types import DamagedError, ModelError, Prediction, TapetumError

FIRES = 24
PREDICTIONS = 5
MOST_PIXELS = 32_000_000
"""Largest number of pixels of a decoded picture, since anybody may send one."""


def settings_of_atlas(folder: str | Path, said: Collection[str] = ()) -> dict[str, Any]:
    """Returns the model's settings from an atlas's manifest, without those named in `said`, which the caller gives."""
    about = read_manifest(folder).get("model", {})
    return settings_in_file(shown(Path(folder) / MANIFEST), about.get("settings"), said)


class Asking:
    """Finds the units of an atlas that fire on new pictures, one at a time; its model is loaded for the first picture."""

    def __init__(self, folder: str | Path, model: Callable[[], VisionModel] | None = None) -> None:
        self.folder = Path(folder)
        self.manifest = read_manifest(folder)
        check_finished(self.manifest, folder)
        self.store = Store(inside(self.folder, STORE))
        self.layers = self.store.layers()
        self._load = model or self._described
        self._one_at_a_time = threading.Lock()

    def close(self) -> None:
        self.store.close()

    def fires(self, data: bytes) -> dict[str, Any]:
        """Analyses a picture's bytes: returns predictions, the units with the highest z, and the part that the model saw."""
        with self._one_at_a_time, self.model.preprocessing.opened(data, MOST_PIXELS) as pixels:
            seen = viewable(self.model.preprocessing.crop(pixels))
            scores, predictions = self._scores(self.model.prepared(pixels))
        return {
            "predictions": [[one.label or str(one.index), round(one.probability, 4)] for one in predictions],
            "fires": self._strongest(scores),
            "seen": "data:image/webp;base64," + base64.b64encode(webp(to_uint8(seen), 90)).decode(),
        }

    @cached_property
    def model(self) -> VisionModel:
        """The model that was scanned; a model with other weights or another preprocessing is refused."""
        model = self._load()
        then, now = self.manifest["settings"], {"weights": model.weights_sha256, "preprocessing": repr(model.preprocessing)}
        for what, value in now.items():
            if then[what] != value:
                raise ModelError(f"{model.name} has other {what} than the model of this atlas; give that one with --model")
        return model

    def _described(self) -> VisionModel:
        about = self.manifest["model"]
        by = shown(self.folder / MANIFEST)
        return loaded(*named_in_file(by, about["source"], about["weights"], about.get("settings"), beside=self.folder))

    def _scores(self, images: Tensor) -> tuple[list[NDArray[np.float64]], list[Prediction]]:
        """Returns each layer's scores (c,), read where the scan read them, and predictions (none without classes)."""
        names = [layer["name"] for layer in self.layers]
        predictions: list[Prediction] = []
        with contextlib.suppress(TapetumError):  # no classifier
            predictions = [one for one in predict(self.model, images, PREDICTIONS)[0] if isinstance(one, Prediction)]
        with torch.no_grad(), capture_signed(self.model, names) as acts:
            self.model(images)
        scores = [acts[name].flatten(2).amax(2) if acts[name].ndim > 2 else acts[name] for name in names]
        for layer, found in zip(self.layers, scores, strict=True):
            if found.shape[1] != layer["channels"]:
                raise ModelError(f"{shown(layer['name'])} has {found.shape[1]} channels here, {layer['channels']} in the atlas")
        return [one[0].float().double().cpu().numpy() for one in scores], predictions

    @cached_property
    def _moments(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        rows = self.store.rows("SELECT mean, sd FROM units ORDER BY id")
        table = np.array([tuple(row) for row in rows], dtype=np.float64)
        return table[:, 0], table[:, 1]

    def _strongest(self, scores: list[NDArray[np.float64]]) -> list[list[Any]]:
        """Returns [layer, channel, score, z, percentile] of the units with the highest z, the highest first."""
        mean, sd = self._moments
        score = np.concatenate(scores)
        with np.errstate(divide="ignore", invalid="ignore"):
            z = np.where(sd > 0, (score - mean) / sd, -np.inf)
        z = np.where(np.isfinite(z), z, -np.inf)
        order = [unit for unit in np.argsort(-z, kind="stable")[:FIRES].tolist() if np.isfinite(z[unit])]
        first = np.array([layer["first"] for layer in self.layers])
        found = []
        for unit in order:
            layer = int(np.searchsorted(first, unit, side="right")) - 1
            channel = unit - int(first[layer])
            percentile = self._percentile(self.layers[layer]["file"], channel, float(score[unit]))
            found.append([layer, channel, float(f"{score[unit]:.5g}"), round(float(z[unit]), 2), round(percentile, 1)])
        return found

    def _percentile(self, file: str, channel: int, score: float) -> float:
        """Returns the percentile of a score among a unit's stored scores, after rounding it to their number type."""
        place = inside(self.folder, "embeddings", f"{file}.npy")
        table = mapped_in(place)
        if table.ndim != 2 or channel >= table.shape[1]:
            raise DamagedError(f"{shown(place)} is damaged: it has no scores of channel {channel}")
        ascending = np.sort(table[:, channel])
        if np.isnan(ascending[-1]):
            raise DamagedError(f"{shown(place)} is damaged: scores of channel {channel} are no numbers")
        return percentile_of(ascending, float(np.clip(score, -65_504, 65_504).astype(table.dtype)))
