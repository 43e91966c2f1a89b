"""Hashes of what every registered method gives over the zoo, to compare two commits on one machine.

    python tests/unchanged.py now.json                     # in each of two trees, with PYTHONPATH=src:tests:tests/laws
    python tests/unchanged.py --compare then.json now.json

A result's hash is over its fields, tensors by their bytes; of a refusal its kind counts, since its words may get better.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

WORDS = frozenset({"notes", "summary", "reason", "advice"})
"""Fields of sentences."""


def parts(value: Any) -> Iterator[bytes]:
    """All that a result holds, piece by piece."""
    if isinstance(value, Tensor):
        flat = value.detach().cpu().contiguous()
        yield f"{tuple(flat.shape)} {flat.dtype}".encode()
        yield flat.flatten().view(torch.uint8).numpy().tobytes()
    elif isinstance(value, np.ndarray):
        yield f"{value.shape} {value.dtype}".encode() + np.ascontiguousarray(value).tobytes()
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        for field in sorted(field.name for field in dataclasses.fields(value)):
            if field not in WORDS:
                yield field.encode()
                yield from parts(getattr(value, field))
    elif isinstance(value, Mapping):
        for key in value:
            yield str(key).encode()
            yield from parts(value[key])
    elif isinstance(value, (list, tuple)):
        for one in value:
            yield from parts(one)
    elif value is None or isinstance(value, (bool, int, float, str)):
        yield repr(value).encode()


def hashed(make: Callable[[], Any]) -> str:
    """The hash of a result, or the kind of its refusal."""
    from tapetum.types import TapetumError

    try:
        made = make()
    except TapetumError as refusal:
        return type(refusal).__name__
    digest = hashlib.sha256()
    for part in parts(made):
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()[:20]


def calls(folder: Path) -> Iterator[tuple[str, Callable[[], Any]]]:
    """(name, call) of everything that is compared."""
    import test_inspection_laws
    import test_rendering_laws
    from tables import METHODS, QUICK
    from zoo import NETS, pictures, shared

    import tapetum as tp
    from tapetum.border.profiles import PROFILES
    from tapetum.registry import lookup

    for method in METHODS:
        for net in NETS:
            yield (
                f"{method} {net}",
                lambda m=method, n=net: lookup(m).function(shared(n), pictures(2), [1, 3], **QUICK.get(m, {})),
            )
        for like in PROFILES.get(method, {}):
            for net in ("residual", "vit_token"):
                yield (
                    f"{method} like {like} {net}",
                    lambda m=method, n=net, k=like: lookup(m).function(
                        shared(n), pictures(2), [1, 3], like=k, **QUICK.get(m, {})
                    ),
                )
    for method in test_rendering_laws.METHODS:
        for net in test_rendering_laws.NETS:
            yield f"{method} {net}", lambda m=method, n=net: test_rendering_laws.make(m, shared(n), n)
    for method in test_inspection_laws.METHODS:
        for net in test_inspection_laws.NETS:
            yield f"{method} {net}", lambda m=method, n=net: test_inspection_laws.asked(m, shared(n), n)
    for net in ("residual", "vit_token", "branches"):
        cam = tp.grad_cam(shared(net), pictures(2), [1, 3])
        yield f"evaluate {net}", lambda n=net, c=cam: tp.evaluate(shared(n), pictures(2), c)
        yield f"compare_maps {net}", lambda n=net: tp.compare_maps(shared(n), pictures(2), ["saliency", "grad_cam"])
        yield f"predict {net}", lambda n=net: tp.predict(shared(n), pictures(2))
        for name in ("pointing_game", "relevance_mass", "relevance_rank"):
            mask = torch.zeros(2, 16, 16, dtype=torch.bool)
            mask[:, 3:9, 4:12] = True
            yield f"{name} {net}", lambda f=name, c=cam, m=mask: getattr(tp, f)(c, m)
    folder.mkdir()
    generator = np.random.default_rng(0)
    for i in range(12):
        Image.fromarray(generator.integers(0, 255, (20, 24, 3), dtype=np.uint8)).save(folder / f"{i}.png")
    trackers = [tp.Spectrum(k=3), tp.TopK(k=2), tp.Moments(), tp.Counts(), tp.Sparsity(), tp.CoActivation()]
    yield "scan", lambda: tp.scan(shared("residual"), folder, {"first": trackers}, workers=1)["first"]
    yield (
        "activation_spectrum",
        lambda: tp.activation_spectrum(shared("residual"), folder, ["first:0", "first:1"], k=2, size=16, n_steps=2, workers=1),
    )
    yield "top_examples", lambda: tp.top_examples(shared("residual"), folder, ["first:0"], k=2, workers=1)
    real = tp.load("efficientnet_lite0")
    photo = pictures(1, 240, dtype=torch.float32)
    for method in ("grad_cam", "saliency", "lrp", "guided_backprop", "layer_cam", "deep_lift", "hires_cam", "eigen_cam"):
        yield f"{method} efficientnet_lite0", lambda m=method: lookup(m).function(real, photo)
    yield "insertion efficientnet_lite0", lambda: tp.insertion(real, photo, tp.grad_cam(real, photo))
    yield "predict efficientnet_lite0", lambda: tp.predict(real, photo)


def main() -> None:
    if sys.argv[1] == "--compare":
        then, now = (json.loads(Path(name).read_text("utf-8")) for name in sys.argv[2:4])
        other = [name for name in then | now if then.get(name) != now.get(name)]
        for name in other:
            print(f"{name}: {then.get(name)} -> {now.get(name)}")
        print(f"{len(then)} and {len(now)} results, {len(other)} of them differ")
        sys.exit(bool(other))
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):  # results name their folder
        found = {name: hashed(call) for name, call in calls(Path("pictures"))}
    Path(sys.argv[1]).write_text(json.dumps(found, indent=1), "utf-8")
    print(f"{len(found)} hashes")


if __name__ == "__main__":
    main()
