"""Everything of tapetum's that reads files, each with files that it reads: `SEEDS` fill a folder, `READERS` read it.

A reader may refuse (a `TapetumError`), and nothing else. What it gives is compared with what it gives of the unchanged folder
where that must not change: where a part was damaged that can be made again.
"""

from __future__ import annotations

import contextlib
import functools
import io
import os
import re
import shutil
import socket
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo

import tapetum as tp
from tapetum.files import contents
from tapetum.types import TapetumError

Reader = Callable[[Path], Any]
"""Reads what lies in a folder, in which the process works; what it gives is text or bytes that can be compared."""


REFUSED: list[str] = []
"""What was refused so far: of files that nobody changed, nothing is."""


def tried(*works: Callable[[], Any]) -> list[Any]:
    """What each gives; a refusal of one does not keep the next from being tried."""
    found: list[Any] = []
    for work in works:
        try:
            found.append(work())
        except TapetumError as error:
            check_words(str(error))
            REFUSED.append(str(error))
    return found


def check_words(text: str) -> None:
    """A refusal is a line that a terminal can show."""
    assert text, "an empty refusal"
    assert text.isprintable(), f"a refusal that is not one line: {text!r:.300}"
    assert len(text) <= 1500, f"a refusal of {len(text)} characters"
    assert not re.search(r"unexpected \w+(Error|Exception|Interrupt)", text), text


def noise(seed: int = 0, side: int = 40, bands: int = 3) -> np.ndarray:
    values = np.random.default_rng(seed).integers(0, 256, (8, 8, bands), dtype=np.uint8)
    return np.kron(values, np.ones((side // 8, side // 8, 1), np.uint8))


def photograph(file: Path, seed: int = 0) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(noise(seed)).save(file)
    return file


def data(folder: Path, many: int = 12) -> Path:
    """Class folders of photographs, beside the folder that is changed."""
    for i in range(many):
        photograph(folder / ("cat", "dog")[i % 2] / f"{i:02d}.png", i)
    return folder


@functools.cache
def model() -> Any:
    return tp.load("simple_cnn")


@functools.cache
def small() -> Any:
    torch.manual_seed(0)
    module = torch.nn.Sequential(
        torch.nn.Conv2d(3, 5, 3), torch.nn.ReLU(), torch.nn.Conv2d(5, 4, 3), torch.nn.AdaptiveMaxPool2d(1), torch.nn.Flatten()
    )
    return tp.wrap(module, size=16, mean=(0.5,) * 3, std=(0.25,) * 3, name="small", outputs="logits")


def keep_alone(folder: Path, *patterns: str) -> None:
    """Removes files that the reader never opens, so that every change is of one that it meets."""
    kept = {file for pattern in patterns for file in folder.glob(pattern)}
    for file in [file for file in folder.rglob("*") if file.is_file() and file not in kept]:
        file.unlink()


def told(*words: object) -> str:
    """What a command prints as its result; its status is one of ours, and nothing is "unexpected"."""
    from tapetum.cli import main

    out, err = io.TextIOWrapper(io.BytesIO(), "utf-8", "backslashreplace"), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main([str(word) for word in words])
        except SystemExit as end:
            assert end.code in (0, 1, 2), f"status {end.code}"
            REFUSED.extend([err.getvalue()] if end.code else [])
    for line in err.getvalue().splitlines():
        check_words(line)
    out.flush()
    return out.buffer.getvalue().decode()


# --- pictures


def pictures_made(folder: Path) -> None:
    rgba = Image.fromarray(noise(1, bands=4), "RGBA") if hasattr(Image, "fromarray") else None
    assert rgba is not None
    info, exif = PngInfo(), Image.Exif()
    info.add_itxt("comment", "words", zip=True)
    exif[0x0112] = 6
    rgba.save(folder / "a.png", pnginfo=info)
    color = Image.fromarray(noise(2))
    color.save(folder / "b.jpg", progressive=True, exif=exif)
    color.save(folder / "c.webp")
    color.save(folder / "d.gif", save_all=True, append_images=[Image.fromarray(noise(3))])
    Image.fromarray(noise(4)[..., 0].astype(np.uint16) * 257).save(folder / "e.tif")
    color.save(folder / "f.bmp")
    color.save(folder / "g.ppm")
    color.save(folder / "h.avif")
    color.quantize(16).save(folder / "i.png", transparency=3)
    color.save(folder / "j.jp2")
    color.save(folder / "k.tif", compression="tiff_lzw")
    np.save(folder / "l.npy", noise(5))
    np.save(folder / "m.npy", np.asfortranarray(noise(6) / 255.0))


def pictures_read(folder: Path) -> Any:
    from tapetum.data.decoding import strips_in

    def decoded(file: Path) -> None:
        with strips_in(contents(file), "the bytes") as strips:
            strips.whole()

    for file in sorted(folder.glob("?.*")):
        tried(lambda file=file: tp.read_image(file), lambda file=file: decoded(file))


# --- weights and models


def weights_made(folder: Path) -> None:
    from safetensors.torch import save_file

    table = tp.load("simple_cnn", weights="random").module.state_dict()
    torch.save(table, folder / "a.pth")
    torch.save({"state_dict": table, "epoch": 3}, folder / "b.pth")
    save_file({name: one.contiguous() for name, one in table.items()}, folder / "c.safetensors")
    (folder / "names.txt").write_text("\n".join(f"class {i}" for i in range(10)))


def weights_read(folder: Path) -> Any:
    return tried(
        *(lambda file=file: tp.load("simple_cnn", weights=file) for file in sorted(folder.glob("?.*t*"))),
        lambda: tp.wrap(small().module, size=16, labels=folder / "names.txt", mean=0.5, std=0.5),
    )


def models_made(folder: Path) -> None:
    from tapetum.models.zoo.trained import architecture_of, save_trained

    for name in ("simple_cnn", "timm:test_resnet"):
        made = tp.load(name, weights="random")
        place = folder / name.rpartition(":")[2]
        place.mkdir()
        made.labels = made.labels or tuple(f"class {i}" for i in range(10))
        save_trained(made, place, architecture_of(made, None), made.module.state_dict())


def models_read(folder: Path) -> Any:
    return tried(*(lambda name=name: tp.load(str(folder / name)) for name in ("simple_cnn", "test_resnet")))


# --- results, shards, parts


def results_made(folder: Path) -> None:
    images = small().preprocess(torch.from_numpy(noise(0)).permute(2, 0, 1))
    tp.save(tp.run("smooth_grad", small(), images, target=1, n_samples=2), folder / "a")
    tp.save(tp.run("visualize", small(), ["0:1", "0:2"], size=16, n_steps=1), folder / "b")
    scan = tp.scan(small(), data(folder.parent / "given" / "data"), {"0": [tp.Spectrum(k=2), tp.Moments()]})
    tp.save(dict(scan.results), folder / "c")
    tp.save([tp.activation_maps(small(), images), tp.predict(small(), images)], folder / "d")


def results_read(folder: Path) -> Any:
    return tried(*(lambda name=name: repr(tp.open(folder / name)) for name in "abcd"))


def _scanned(out: str) -> str:
    tracked = {"0": [tp.Spectrum(k=2), tp.Moments()], "2": [tp.TopK(k=2), tp.Counts()]}
    found = tp.scan(small(), Path("../given/data").resolve(), tracked, out=out, batch=4, shard=4, workers=1)
    return repr(found.results)


def shards_made(folder: Path) -> None:
    data(folder.parent / "given" / "data")
    os.chdir(folder)
    _scanned(str(folder / "scan"))


def shards_read(folder: Path) -> Any:
    return tried(lambda: _scanned(str(folder / "scan")))


def parquet_made(folder: Path) -> None:
    data(folder.parent / "given" / "data")
    os.chdir(folder)
    _scanned(f"file://{folder}/scan")


def parquet_read(folder: Path) -> Any:
    return tried(lambda: _scanned(f"file://{folder}/scan"))


def training_made(folder: Path) -> None:
    data(folder.parent / "given" / "data")
    _trained(folder, 2)


def _trained(folder: Path, epochs: int) -> str:
    found = tp.train(folder.parent / "given" / "data", epochs=epochs, batch=4, size=16, out=folder / "run")
    return repr([round(one.train_loss, 12) for one in found.epochs])


def training_read(folder: Path) -> Any:
    return tried(lambda: _trained(folder, 3))


# --- pictures of ours, and folders that commands go on with


def provenance_made(folder: Path) -> None:
    os.chdir(folder)
    photograph(folder / "photo.png")
    told("run", "grad_cam", "photo.png", "--model", "simple_cnn", "--weights", "random", "--out", "maps")
    told(
        "render",
        f"{model().layers()[0].name}:1",
        "--model",
        "simple_cnn",
        "--weights",
        "random",
        "--size",
        16,
        "--n-steps",
        1,
        "--out",
        "made",
    )
    keep_alone(folder, "photo.png", "maps/photo.png", "made/*-*.png")


def provenance_read(folder: Path) -> Any:
    for file in sorted((*folder.glob("maps/*.png"), *folder.glob("made/*.png"))):
        told("reproduce", file, "--out", folder / "again.png")


def rendered_made(folder: Path) -> None:
    os.chdir(folder)
    _rendered()


def _rendered() -> str:
    layer = model().layers()[0].name
    words = ("--model", "simple_cnn", "--weights", "random", "--size", 16, "--n-steps", 1, "--out", "made")
    return told("render", f"{layer}:0-1", *words)


def rendered_read(folder: Path) -> Any:
    _rendered()


def explained_made(folder: Path) -> None:
    data(folder.parent / "given" / "data", 2)
    os.chdir(folder)
    _explained()


def _explained() -> str:
    words = ("--model", "simple_cnn", "--weights", "random", "--methods", "saliency", "--no-evidence")
    return told("explain", Path("../given/data").resolve(), *words, "--no-runner-up", "--out", "report")


def explained_read(folder: Path) -> Any:
    _explained()


# --- atlases


def atlas_made(folder: Path) -> None:
    from tapetum.atlas.build import build

    layers = [layer.name for layer in model().layers() if layer.kind == "Conv2d"][:2]
    render = [layers[0]]
    build(model(), data(folder.parent / "given" / "data"), folder / "atlas", layers=layers, render=render, maps=layers[:1])
    pages = ("atlas.sqlite", "manifest.json", "embeddings/features*", "maps/*.*", "pictures/*.webp", "units/*.webp")
    keep_alone(folder, *(f"atlas/{page}" for page in pages))


def atlas_read(folder: Path) -> Any:
    from tapetum.atlas.asking import Asking
    from tapetum.atlas.export import export
    from tapetum.atlas.store import Store

    picture = (folder.parent / "given" / "data" / "cat" / "00.png").read_bytes()

    def asked() -> None:
        asking = Asking(folder / "atlas")
        try:
            name = asking.layers[0]["name"]
            tried(lambda: asking.fires(picture), lambda: asking.store.unit(f"{name}:0"))
        finally:
            asking.close()

    def searched() -> None:
        with Store(folder / "atlas" / "atlas.sqlite") as store:
            name = store.layers()[0]["name"]
            tried(
                lambda: store.search("sparsity > 0.1"), lambda: store.search("cat"), lambda: store.tiles(name, "sd"),
                lambda: store.fires(0, 3), lambda: store.pictures(),
            )  # fmt: skip

    return tried(asked, searched, lambda: export(folder / "atlas", folder / "site"))


def builds_made(folder: Path) -> None:
    """An atlas whose build ended before its pages were written."""
    data(folder.parent / "given" / "data")
    _built(folder)
    shutil.rmtree(folder / "atlas" / "site")


def _built(folder: Path) -> str:
    from tapetum.atlas.build import build

    done = build(small(), folder.parent / "given" / "data", folder / "atlas", layers=["0"], render=None, maps=None, workers=1)
    return f"{done.units} {done.pictures} {dict(done.skipped)}"


def builds_read(folder: Path) -> Any:
    return tried(lambda: _built(folder))


# --- requests


@functools.cache
def server(root: Path) -> Any:
    """One server for all cases of a process; its atlas lies beside them."""
    from tapetum.atlas.asking import Asking
    from tapetum.atlas.build import build
    from tapetum.atlas.serve import Server

    build(small(), data(root / "given" / "data"), root / "given" / "atlas", layers=["0"], render=None, maps=None)
    made = Server(Asking(root / "given" / "atlas", small))
    threading.Thread(target=made.run, daemon=True).start()
    return made


def requests_made(folder: Path) -> None:
    picture = io.BytesIO()
    Image.fromarray(noise()).save(picture, "PNG")
    body = picture.getvalue()
    host = b"Host: 127.0.0.1\r\nConnection: close\r\n"
    (folder / "page.http").write_bytes(b"GET / HTTP/1.1\r\n" + host + b"If-None-Match: x\r\n\r\n")
    (folder / "unit.http").write_bytes(b"GET /api/unit?unit=0:1 HTTP/1.1\r\n" + host + b"Sec-Fetch-Site: same-origin\r\n\r\n")
    (folder / "fires.http").write_bytes(
        b"POST /api/fires HTTP/1.1\r\n" + host + b"Content-Length: %d\r\n\r\n" % len(body) + body
    )


def requests_read(folder: Path) -> Any:
    """Every answer has the headers that keep a browser safe, and the server still answers."""
    made = server(folder.parent)
    for file in [*sorted(folder.glob("*.http")), None]:
        if file is not None and not file.is_file():
            continue
        sent = b"GET /index.html HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n" if file is None else contents(file, 1 << 24)
        answer = _answered(made.port, sent)
        status = answer[9:12]
        assert answer == b"" or re.match(rb"HTTP/1\.[01] [1-4]\d\d ", answer) or status in (b"501", b"503", b"505"), answer[
            :300
        ]
        assert answer == b"" or b"Content-Security-Policy: " in answer or status in (b"304", b"100"), answer[:300]
        assert file is not None or status == b"200", answer[:300]
    return None


def _answered(port: int, sent: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=8) as connection:
        with contextlib.suppress(ConnectionError):  # refused before all of it was sent
            connection.sendall(sent)
            connection.shutdown(socket.SHUT_WR)
        answer = b""
        with contextlib.suppress(ConnectionError):
            while part := connection.recv(1 << 16):
                answer += part
        return answer


# --- archives and tables


def tables_made(folder: Path) -> None:
    given = folder.parent / "given"
    os.environ["HF_HOME"] = str(given / "hf")
    os.environ["HF_HUB_OFFLINE"] = "1"
    import datasets

    pictures = [{"bytes": photograph(given / f"{i}.png", i).read_bytes(), "path": None} for i in range(4)]
    features = datasets.Features({"img": datasets.Image(), "label": datasets.ClassLabel(names=["cat", "dog"])})
    table = datasets.Dataset.from_dict({"img": pictures, "label": [0, 1, 0, 1]}, features=features)
    table.to_parquet(folder / "pets.parquet")


def tables_read(folder: Path) -> Any:
    from tapetum.data.streams import as_source

    def read() -> None:
        source = as_source(f"hf:parquet?data_files={folder}/pets.parquet")
        tried(*(lambda i=i: source.read(i) for i in range(len(source.ids))))

    return tried(read)


def tars_made(folder: Path) -> None:
    import tarfile

    for kind, form in (("u", tarfile.USTAR_FORMAT), ("g", tarfile.GNU_FORMAT), ("p", tarfile.PAX_FORMAT)):
        with tarfile.open(folder / f"{kind}.tar", "w", format=form) as out:
            for i in range(4):
                file = photograph(folder.parent / "given" / f"{i}.png", i)
                out.add(file, f"{'long name ' * 12 if i == 3 else 'cat'}/{i}.png")
                for kind_of_label, text in (("cls", b"207"), ("json", b'{"label": "cat"}')):
                    member = tarfile.TarInfo(f"cat/{i}.{kind_of_label}")
                    member.size = len(text)
                    out.addfile(member, io.BytesIO(text))


def tars_read(folder: Path) -> Any:
    from tapetum.data.streams import as_source

    def read(path: str) -> None:
        source = as_source(path)
        tried(*(lambda i=i: source.read(i) for i in range(len(source.ids))))

    return tried(*(lambda file=file: read(str(file)) for file in sorted(folder.glob("*.tar"))))


FOLLOWED = ("pictures", "weights", "tars", "tables", "provenance", "requests")
"""Readers of files that the person names: where those are links, they are followed."""

REMADE = ("builds", "shards", "parquet", "training", "rendered", "explained")
"""Readers that make a damaged part again: what they give is what they gave before."""

SEEDS: dict[str, Callable[[Path], None]] = {
    name.removesuffix("_made"): value for name, value in list(globals().items()) if name.endswith("_made")
}
READERS: dict[str, Reader] = {name: getattr(sys.modules[__name__], f"{name}_read") for name in SEEDS}
