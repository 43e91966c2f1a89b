"""A scan of photographs to a middle layer, against the loop that people write: the same pictures must come out on top.

The loop: Pillow decodes one picture after the other, batches of 32 go through the whole network, a forward hook keeps the
layer, and two heaps a unit keep the nine highest and the nine lowest. It runs in a process of its own, as it would; "kept"
is the same loop in this process, whose allocator keeps large blocks. All are timed in turn on the same files.
"""

from __future__ import annotations

import heapq
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torchvision import transforms

import tapetum as tp

MODEL, LAYER = "googlenet", "inception4a"
K = 9
NAIVE_BATCH = 32
ROUNDS = 3
TARGET = 3.0
MADE = 128
"""Photographs that are cut from scikit-image's where no folder is given."""

TOLERANCE = 1e-4
"""Of a score, relative to the largest: another batch and another memory layout sum in another order."""


Loop = tuple[list[list[tuple[float, int]]], list[list[tuple[float, int]]]]


def run(photos: Path | None, only: list[str]) -> int:
    """The table; 1 if the ratio falls short."""
    model = tp.load(MODEL, weights=None)
    with _files(photos) as files:
        modes = [mode for mode in ("exact", "fast") if not only or mode in only]
        rows = {mode: [] for mode in ("naive", "kept", *modes)}
        results: dict[str, Any] = {}
        for _ in range(ROUNDS):
            for mode, times in rows.items():
                if mode == "naive":
                    times.append(_apart(files))
                    continue
                start = time.perf_counter()
                results[mode] = naive(model, files, usual(model)) if mode == "kept" else ours(model, files, mode)
                times.append(time.perf_counter() - start)
        if "exact" in results:
            same = naive(model, files, lambda image: model.preprocess(tp.read_image(image))[0])  # resized as floats, as ours
            _compare(same, results["exact"], len(files))
        return _table(rows, results, len(files))


def _apart(files: list[str]) -> float:
    """Seconds of the loop in a plain Python process, without its imports and the making of the model."""
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.scans"]
    done = subprocess.run(command, input="\n".join(files), text=True, capture_output=True, check=True)
    return float(done.stdout)


def ours(model: Any, files: list[str], precision: Any) -> Any:
    """The whole spectrum, four rankings and a histogram a unit."""
    return tp.scan(model, files, {LAYER: [tp.Spectrum(k=K)]}, precision=precision)


def usual(model: Any) -> transforms.Compose:
    """Preprocessing as people write it: Pillow resizes 8-bit pictures."""
    sees = model.preprocessing
    cut = [transforms.Resize(sees.resize), transforms.CenterCrop(sees.size), transforms.ToTensor()]
    return transforms.Compose([*cut, transforms.Normalize(sees.mean, sees.std)])


def naive(model: Any, files: list[str], prepare: Callable[[Image.Image], Tensor]) -> Loop:
    """(highest, lowest) of every unit: (score, file) pairs, best first."""
    module = model.module.eval()
    kept: dict[str, Tensor] = {}
    hook = module.get_submodule(LAYER).register_forward_hook(lambda _module, _args, output: kept.update(maps=output))
    highest: list[list[tuple[float, int]]] = []
    lowest: list[list[tuple[float, int]]] = []
    try:
        with torch.no_grad():
            for start in range(0, len(files), NAIVE_BATCH):
                batch = [prepare(Image.open(file).convert("RGB")) for file in files[start : start + NAIVE_BATCH]]
                module(torch.stack(batch))
                scores = kept["maps"].amax((2, 3))
                highest = highest or [[] for _ in range(scores.shape[1])]
                lowest = lowest or [[] for _ in range(scores.shape[1])]
                for i, row in enumerate(scores.tolist()):
                    for channel, score in enumerate(row):
                        _push(highest[channel], (score, -(start + i)))
                        _push(lowest[channel], (-score, -(start + i)))
    finally:
        hook.remove()
    top = [sorted(((score, -i) for score, i in heap), key=lambda pair: (-pair[0], pair[1])) for heap in highest]
    bottom = [sorted(((-score, -i) for score, i in heap), key=lambda pair: pair) for heap in lowest]
    return top, bottom


def _push(heap: list[tuple[float, int]], pair: tuple[float, int]) -> None:
    (heapq.heappush if len(heap) < K else heapq.heappushpop)(heap, pair)


def _compare(loop: Loop, result: Any, n: int) -> None:
    """The same scores in the same places, and the same pictures wherever scores are further apart than rounding."""
    spectrum = result[LAYER][0]
    top, bottom = loop
    scale = max(abs(score) for pairs in top for score, _ in pairs)
    for channel in range(len(top)):
        for pairs, found in ((top[channel], spectrum.maximum(channel)), (bottom[channel], spectrum.minimum(channel))):
            assert len(pairs) == len(found) == min(K, n)
            for (score, sample), one in zip(pairs, found, strict=True):
                if abs(score - one.score) > TOLERANCE * scale:
                    raise AssertionError(f"{LAYER}:{channel} has {one.score} ({one.id}), the loop {score} (file {sample})")


def _table(rows: dict[str, list[float]], results: dict[str, Any], n: int) -> int:
    medians = {mode: statistics.median(times) for mode, times in rows.items()}
    print(f"{MODEL} to {LAYER}, {n} photographs, {torch.get_num_threads()} threads; medians of {ROUNDS} rounds in turn")
    print(f"{'':8} {'images/s':>9} {'ratio':>7}   share of the workers' time")
    for mode, seconds in medians.items():
        share = "" if mode in ("naive", "kept") else _shares(results[mode].seconds)
        print(f"{mode:8} {n / seconds:9.1f} {medians['naive'] / seconds:6.2f}x   {share}")
    reached = medians["naive"] / medians.get("exact", float("inf")) >= TARGET
    print(f"target {TARGET:g}x: {'reached' if reached else 'NOT reached'}", flush=True)
    return 0 if reached else 1


def _shares(seconds: Any) -> str:
    parts = {name: spent for name, spent in seconds.items() if name != "in all"}
    return ", ".join(f"{name} {100 * spent / sum(parts.values()):.0f} %" for name, spent in parts.items())


@contextmanager
def _files(photos: Path | None) -> Iterator[list[str]]:
    """The JPEGs of a folder's photos/, or cuts from scikit-image's photographs at the usual 500 x 375 px."""
    if photos is not None:
        yield sorted(str(file) for file in (photos / "photos").iterdir())
        return
    from skimage import data

    with tempfile.TemporaryDirectory() as folder:
        generator = torch.Generator().manual_seed(0)
        pictures = [data.chelsea(), data.coffee(), data.astronaut(), data.rocket()]
        for i in range(MADE):
            picture = Image.fromarray(pictures[i % len(pictures)])
            left, top = (int(torch.rand((), generator=generator) * side / 3) for side in picture.size)
            box = (left, top, left + picture.width * 2 // 3, top + picture.height * 2 // 3)
            picture.crop(box).resize((500, 375)).save(Path(folder) / f"{i:03d}.jpg", quality=90)
        yield sorted(str(file) for file in Path(folder).iterdir())


if __name__ == "__main__":
    network, listed = tp.load(MODEL, weights=None), sys.stdin.read().splitlines()
    begun = time.perf_counter()
    naive(network, listed, usual(network))
    print(time.perf_counter() - begun)
