"""Files from others choose no code, no file and no address: bait is laid in every text of every format, and nothing bites.

The bait leaves a mark where it is run; the address counts who asks. Whatever a reader says to it is a refusal in one line.
"""

from __future__ import annotations

import copy
import json
import os
import pickle
import shutil
import sqlite3
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from functools import partial
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from torch import nn

import tapetum as tp
from tapetum.atlas.asking import Asking, settings_of_atlas
from tapetum.atlas.build import build
from tapetum.atlas.export import export
from tapetum.atlas.stages import MANIFEST, STORE
from tapetum.data.images import write_png
from tapetum.figures import picture
from tapetum.files import checksum
from tapetum.models.zoo.loading import loaded
from tapetum.models.zoo.named import in_zoo, named_in_file
from tapetum.models.zoo.trained import ABOUT
from tapetum.reports.provenance import PROVENANCE_KEY, read_picture, with_checksum, write_picture
from tapetum.store import seal
from tapetum.types import ModelError, TapetumError

CODE = """
from pathlib import Path
Path({mark!r}).touch()
def build():
    import torch
    return torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
"""


class Pickled:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return Path.touch, (self.mark,)


class Trap:
    """Bait in a working folder, and an address; `sprung` says what was taken."""

    def __init__(self, place: Path, port: int) -> None:
        self.place, self.mark, self.asked = place, place / "mark", list[str]()
        self.lay(place)
        self.names = [
            "evil.py:build",
            "./evil.py",
            f"{place / 'evil.py'}:build",
            "evil",
            "evil:build",
            "hf:./evil",
            f"hf:{place / 'evil'}",
            "evil.onnx",
            "evil.pth",
            str(place / "evil.pth"),
            "gan:evil.pth",
            f"timm:local-dir:{place / 'evil'}",
            f"open_clip:ViT-B-32/{place / 'evil.pth'}",
            f"http://127.0.0.1:{port}/evil.png",
        ]

    def lay(self, folder: Path) -> None:
        """A module, a package, a folder of Hugging Face's with code of its own, a pickle."""
        (folder / "evil").mkdir(exist_ok=True)
        code = CODE.format(mark=str(self.mark))
        config = {"model_type": "evil", "auto_map": {"AutoConfig": "evil.Config"}, "architecture": "evil"}
        for file in ("evil.py", "evil/__init__.py", "evil/evil.py"):
            (folder / file).write_text(code)
        (folder / "evil" / "config.json").write_text(json.dumps(config))
        for file in ("evil.pth", "evil.onnx", "evil/pytorch_model.bin"):
            (folder / file).write_bytes(pickle.dumps(Pickled(self.mark)))

    def sprung(self) -> list[str]:
        return [*self.asked, *(["code"] if self.mark.exists() else []), *(name for name in sys.modules if "evil" in name)]


@pytest.fixture
def trap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Trap]:
    monkeypatch.chdir(tmp_path)
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        trap = Trap(tmp_path, server.server_port)
        trap.asked = asked
        yield trap
        server.shutdown()
        thread.join()


def texts(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The places of all texts in a JSON value."""
    if isinstance(value, str):
        yield path
    for key, one in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from texts(one, (*path, key))


def changed(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    value = copy.deepcopy(value)
    at = value
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = new
    return value


def baited(value: Any, trap: Trap, more: tuple[tuple[Any, ...], ...] = ()) -> Iterator[Any]:
    """The value with each bait in the places of `more`, and with one of them, in turn, in each of its texts."""
    for path in more:
        yield from (changed(value, path, name) for name in trap.names)
    for i, path in enumerate(texts(value)):
        yield changed(value, path, trap.names[i % len(trap.names)])


def refused_or_done(work: Callable[[], Any]) -> str:
    """What a reader says in its refusal: one line."""
    try:
        work()
    except TapetumError as error:
        assert "\n" not in str(error)
        return str(error)
    return ""


def test_the_bait_bites_where_somebody_names_it(trap: Trap) -> None:
    tp.load("evil.py:build")
    with pytest.raises(TapetumError):
        tp.read_image(trap.names[-1])
    assert trap.sprung() == ["/evil.png", "code", "tapetum_user_evil"]
    del sys.modules["tapetum_user_evil"]


# --- the one place that decides


def test_only_names_of_the_zoo_are_names_in_a_file(trap: Trap) -> None:
    for name in trap.names:
        assert not in_zoo(name), name
        with pytest.raises(ModelError, match="--model"):
            named_in_file("a.png", name, "default", None, beside=trap.place)
    for name in (
        "resnet50",
        "torchvision:resnet50",
        "timm:resnet18",
        "timm:resnet18.a1_in1k",
        "efficientnet_lite0",
        "simple_cnn",
    ):
        assert in_zoo(name), name
    for name in (
        "timm:hf_hub:a/b",
        "timm:resnet18.evil",
        "open_clip:hf-hub:a/b",
        "hf:nobody/none",
        "hf:evil/evil",
        "timm:",
        "",
    ):
        assert not in_zoo(name), name
    assert trap.sprung() == []


def test_weights_lie_beside_the_file_and_are_tensors(trap: Trap) -> None:
    (trap.place / "own.safetensors").write_bytes(b"")
    named = named_in_file("a.png", "resnet18", "own.safetensors", {"size": [32, 32]}, beside=trap.place)
    assert named == ("resnet18", str(trap.place / "own.safetensors"), {"size": [32, 32]})
    for weights in ("evil.pth", "../own.safetensors", str(trap.place / "own.safetensors"), "none.safetensors", "a b; c", ""):
        with pytest.raises(ModelError, match=r"--model resnet18 --weights \S"):
            named_in_file("a.png", "resnet18", weights, None, beside=trap.place)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ([], "is no table"),
        ({"labels": "/etc/passwd"}, "say it yourself, --labels"),
        ({"extra": {"age": "/etc/ages.npy"}}, "--extra age=/etc/ages.npy"),
        ({"size": [10**6, 10**6]}, "--size"),
        ({"size": [True, 1]}, "--size"),
        ({"mean": [float("nan")]}, "--mean"),
        ({"std": [0]}, "--std"),
        ({"mean": [10**400]}, "--mean"),
        ({"range": [1, 0]}, "--range"),
        ({"resize": "x"}, "--resize"),
        ({"evil": 1}, "its model's evil is 1"),
    ],
)
def test_what_a_file_says_of_a_model_is_plain_data(settings: Any, words: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=words):
        named_in_file("a.png", "resnet18", "random", settings, beside=tmp_path)


# --- trained networks


def trained(place: Path) -> dict[str, Any]:
    data = torch.randint(0, 256, (8, 3, 32, 32), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    tp.train((data, torch.arange(8) % 2), out=place, epochs=1)
    return json.loads((place / ABOUT).read_text())


def named(source: str, head: str | None = "fc", **settings: Any) -> dict[str, Any]:
    return {"kind": "named", "source": source, "head": head, "call": False, "settings": settings}


def test_no_text_in_a_trained_networks_folder_is_taken(trap: Trap) -> None:
    folder = trap.place / "net"
    about = trained(folder)
    trap.lay(folder)
    net = {**about, "architecture": named("simple_cnn", "classifier")}
    both = [*baited(about, trap), *baited(net, trap, (("architecture", "source"), ("architecture", "head")))]
    for value in both:
        (folder / ABOUT).write_text(json.dumps(value))
        refused_or_done(lambda: tp.load("./net", weights="random"))
    assert trap.sprung() == []


def test_a_folder_of_somebodys_code_is_refused_and_loads_where_the_code_is_named(trap: Trap) -> None:
    folder = trap.place / "net"
    about = trained(folder)
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    from safetensors.torch import save_file

    save_file(module.state_dict(), folder / "model.safetensors")
    about = {**about, "sha256": checksum(folder / "model.safetensors")}
    (trap.place / "mine.py").write_text("from torch import nn\ndef build():\n    return nn.Sequential(nn.Conv2d(3, 4, 3), "
                                        "nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5))\n")  # fmt: skip
    (folder / ABOUT).write_text(json.dumps({**about, "architecture": named("mine.py:build", "3")}))
    with pytest.raises(ModelError, match=r"code is run only where you name it: tp\.load\('mine\.py:build', weights='net'\)"):
        tp.load("net")
    model = tp.load("mine.py:build", weights="net")
    assert torch.equal(model.module.state_dict()["0.weight"], module.state_dict()["0.weight"])
    assert (model.labels, model.preprocessing.size) == (("0", "1"), (32, 32))
    assert (model.source, model.weights) == ("mine.py:build", "net")


def test_a_flipped_bit_of_the_weights_is_noticed(trap: Trap) -> None:
    trained(trap.place / "net")
    assert tp.load("net").labels == ("0", "1")
    file = trap.place / "net" / "model.safetensors"
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    with pytest.raises(ModelError, match=r"model\.safetensors is damaged: it was changed since model\.json was written"):
        tp.load("net")
    assert tp.load("net", weights="random").labels == ("0", "1")


def test_a_folder_that_names_itself_or_another_folder_is_refused(trap: Trap) -> None:
    about = trained(trap.place / "net")
    shutil.copytree("net", "other")
    for source in ("net", "./net", "other", str(trap.place / "other")):
        Path("net", ABOUT).write_text(json.dumps({**about, "architecture": named(source)}))
        with pytest.raises(ModelError, match="has no name in the zoo"):
            tp.load("net")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("architecture", {"kind": "simple_cnn", "widths": [10**9] * 3, "hidden": None}),
        ("architecture", {"kind": "simple_cnn", "widths": [90_000] * 9, "hidden": None}),
        ("architecture", {"kind": "simple_cnn", "widths": [True], "hidden": None}),
        ("architecture", {"kind": "simple_cnn", "widths": [], "hidden": None}),
        ("architecture", {"kind": "simple_cnn", "widths": "abc", "hidden": None}),
        ("architecture", named("resnet18", "conv1.evil")),
        ("architecture", named("resnet18", "")),
        ("architecture", named("resnet18", "layer1")),
        ("architecture", named("resnet18", size=[10**6, 10**6])),
        ("architecture", []),
        ("classes", {"a": 1}),
        ("classes", []),
        ("classes", [str(i) for i in range(200_000)]),
        ("name", ["a"]),
        ("schema", "1"),
        ("preprocessing", {}),
        ("preprocessing", []),
        (
            "preprocessing",
            {"size": [10**6, 10**6], "resize": "squash", "interpolation": "bilinear", "mean": [0.5], "std": [0.5]},
        ),
        ("preprocessing", {"size": 32, "resize": "squash", "interpolation": "evil", "mean": [0.5] * 3, "std": [0.5] * 3}),
        ("preprocessing", {"size": 32, "resize": "squash", "interpolation": "bilinear", "mean": ["a"], "std": [0.5]}),
    ],
)
def test_a_description_that_is_none_is_one_line(field: str, value: Any, tmp_path: Path) -> None:
    about = trained(tmp_path)
    if field == "classes":
        about["architecture"] = {"kind": "simple_cnn", "widths": [16, 32, 90], "hidden": None}
    (tmp_path / ABOUT).write_text(json.dumps({**about, field: value}))
    assert refused_or_done(lambda: tp.load(str(tmp_path), weights="random"))


# --- pictures


def rewritten(file: Path, content: Any) -> Path:
    """Beside a picture of ours another one, of the same pixels, that says something else."""
    info = PngInfo()
    info.add_text(PROVENANCE_KEY, with_checksum({key: value for key, value in content.items() if key != "sha256"}))
    Image.fromarray(read_picture(file)[1]).save(file.with_name("other.png"), pnginfo=info)
    return file.with_name("other.png")


@pytest.fixture
def map_of_a_photograph(trap: Trap) -> Path:
    """map.png, of photo.png by simple_cnn."""
    write_png(Path("photo.png"), torch.rand(3, 40, 40, generator=torch.Generator().manual_seed(0)))
    model = tp.load("simple_cnn", weights="random")
    run = tp.run("saliency", model, "photo.png", target=1)
    assert run.provenance.model == "simple_cnn"
    pixels = model.denormalize(model.as_images("photo.png"))[0]
    write_picture(trap.place / "map.png", picture(run.value, pixels), replace(run.provenance), row=0)
    return trap.place / "map.png"


def test_no_text_in_a_pictures_provenance_is_taken(trap: Trap, map_of_a_photograph: Path) -> None:
    assert tp.reproduce(map_of_a_photograph).same
    content, _ = read_picture(map_of_a_photograph)
    for value in baited(content, trap, (("model",), ("weights",), ("subject", 0), ("parameters", "target", 0))):
        other = rewritten(map_of_a_photograph, value)
        refused_or_done(partial(tp.reproduce, other))
    assert trap.sprung() == []


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("subject", ["http://127.0.0.1:1/a.png"], "only read where you name it: --image FILE"),
        ("subject", ["/dev/zero"], "only read where you name it"),
        ("subject", ["photo.png", 3], "not complete .subject"),
        ("subject", ["photo.png"] * 50_000, "50,000 images at once"),
        ("files", {"photo.png": "0" * 64}, "its checksum differs"),
        ("files", {"/dev/zero": "0"}, "which is not here"),
        ("files", {"pipe": "0"}, "which is not here"),
        ("files", ["photo.png"], "not complete .files"),
        ("parameters", {"target": {"a": 1}}, "not complete .parameters"),
        ("parameters", {"progress": 1}, "not complete .parameters"),
        ("parameters", {"size": [10**6, 8]}, "more than 4096 px"),
        ("parameters", {"target": "photo.png:secret"}, "'secret' names|a file here without its checksum"),
        ("parameters", {"batch": None}, "batch is one of auto"),
        ("parameters", {"batch": ["a"]}, "batch is one of auto"),
        ("parameters", {"batch": 10**400}, "batch is a whole number"),
        ("parameters", {"batch": float("inf")}, "batch is a whole number"),
        ("parameters", {"like": ["a"]}, "profile|like is one of"),
        ("row", True, "not complete .row"),
        ("row", -1, "none of them is number -1"),
        ("versions", ["a"], "not complete .versions"),
        ("settings", "a", "is no table"),
    ],
)
def test_what_a_provenance_names_is_not_asked_for_without_a_checksum(
    field: str, value: Any, words: str, map_of_a_photograph: Path, trap: Trap
) -> None:
    os.mkfifo("pipe")
    Path("secret").write_text("x")
    content, _ = read_picture(map_of_a_photograph)
    other = rewritten(map_of_a_photograph, {**content, field: value})
    with pytest.raises(TapetumError, match=words):
        tp.reproduce(other)
    assert trap.sprung() == []


# --- atlases


@pytest.fixture
def atlas(trap: Trap) -> Path:
    for i in range(6):
        write_png(Path(f"photos{i}.png"), torch.rand(3, 20, 20, generator=torch.Generator().manual_seed(i)))
    Path("photos").mkdir()
    for i in range(6):
        Path(f"photos{i}.png").rename(Path("photos") / f"{i}.png")
    model = tp.load("simple_cnn", weights="random")
    build(model, "photos", "atlas", layers=["features.1"], render=None, maps=None)
    trap.lay(trap.place / "atlas")
    return trap.place / "atlas"


def asked(atlas: Path) -> None:
    asking = Asking(atlas)
    try:
        asking.store.search("e")
        asking.fires(Path("photos/0.png").read_bytes())
    finally:
        asking.close()


def test_no_text_in_an_atlass_manifest_is_taken(trap: Trap, atlas: Path) -> None:
    asked(atlas)
    export(atlas, "site")
    manifest = json.loads((atlas / MANIFEST).read_text())
    for value in baited(manifest, trap, (("model", "source"), ("model", "weights"), ("model", "settings"))):
        (atlas / MANIFEST).write_text(json.dumps(value))
        refused_or_done(lambda: asked(atlas))
    for value in [changed(manifest, path, trap.names[0]) for path in texts(manifest)][::16]:
        (atlas / MANIFEST).write_text(json.dumps(value))
        refused_or_done(lambda: export(atlas, "site"))
        refused_or_done(lambda: build(tp.load("simple_cnn", weights="random"), "photos", atlas, render=None, maps=None))
    assert trap.sprung() == []


def test_no_text_in_an_atlass_store_is_taken(trap: Trap, atlas: Path) -> None:
    whole = (atlas / STORE).read_bytes()
    columns = [("layers", name) for name in ("name", "file", "kind", "tap")] + [("pictures", "name"), ("pictures", "label")]
    for i, (table, column) in enumerate(
        [*columns, ("units", "label"), ("units", "top"), ("units", "around"), ("meta", "value")]
    ):
        for name in (trap.names[i], trap.names[0]):
            (atlas / STORE).write_bytes(whole)
            with closing(sqlite3.connect(atlas / STORE)) as store, store:
                store.execute(f"UPDATE {table} SET {column} = ?", (name,))
            refused_or_done(lambda: asked(atlas))
            refused_or_done(lambda: export(atlas, "site"))
    assert trap.sprung() == []


def test_an_atlas_of_ones_own_is_asked_where_its_model_is_named(trap: Trap) -> None:
    """With what it was told when the atlas was built."""
    Path("mine.py").write_text(CODE.format(mark=str(trap.place / "mine")))
    Path("photos").mkdir()
    for i in range(4):
        write_png(Path(f"photos/{i}.png"), torch.rand(3, 20, 20, generator=torch.Generator().manual_seed(i)))
    torch.manual_seed(0)
    build(
        loaded("mine.py:build", "default", {"size": "24x32", "mean": "0.5", "std": "0.5"}),
        "photos",
        "atlas",
        layers=["0"],
        render=None,
        maps=None,
    )
    Path("mine").unlink()
    with pytest.raises(ModelError, match=r"--model mine\.py:build"):
        asked(Path("atlas"))
    assert not Path("mine").exists()
    asking = Asking("atlas", lambda: loaded("mine.py:build", "default", settings_of_atlas("atlas")))
    assert asking.fires(Path("photos/0.png").read_bytes())["fires"]
    asking.close()
    assert settings_of_atlas("atlas") == {"size": [24, 32], "mean": [0.5], "std": [0.5]}
    assert settings_of_atlas("atlas", {"size", "std"}) == {"mean": [0.5]}
    told = json.loads(Path("atlas", MANIFEST).read_text())
    Path("atlas", MANIFEST).write_text(json.dumps(changed(told, ("model", "settings"), {"labels": "/etc/passwd"})))
    with pytest.raises(ModelError, match="say it yourself, --labels"):
        settings_of_atlas("atlas")


# --- results and scans


def test_no_text_in_a_saved_result_is_taken(trap: Trap, map_of_a_photograph: Path) -> None:
    model = tp.load("simple_cnn", weights="random")
    tp.save(tp.run("saliency", model, "photo.png", target=1), "saved")
    manifest = json.loads(Path("saved", MANIFEST).read_text())
    for tree in baited(manifest["result"], trap):
        Path("saved", MANIFEST).write_text(
            json.dumps({**manifest, "result": tree, "seal": seal(tree, Path("saved/arrays.npz"))})
        )
        refused_or_done(lambda: tp.open("saved"))
    assert trap.sprung() == []


def test_no_text_in_a_scans_plan_is_taken(trap: Trap, atlas: Path) -> None:
    model, trackers = tp.load("simple_cnn", weights="random"), {"features.1": [tp.Spectrum(k=2)]}
    tp.scan(model, "photos", trackers, out="scan")
    plan = json.loads(Path("scan/plan.json").read_text())
    for value in baited(plan, trap):
        Path("scan/plan.json").write_text(json.dumps(value))
        refused_or_done(lambda: tp.scan(model, "photos", trackers, out="scan"))
    assert trap.sprung() == []
