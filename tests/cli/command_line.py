"""Small networks in a file, odd pictures, and the command line called as a function."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from tapetum.cli import main

NETWORKS = '''
import time
from pathlib import Path

import torch
import tapetum as tp
from tapetum.models.zoo import SimpleCNN

LABELS = ["tabby", "tiger cat", "dog", "cat house"]


def wrapped(module):
    return tp.wrap(module.eval(), size=32, mean=(0.5,) * 3, std=(0.5,) * 3, labels=LABELS, name="tiny")


def build():
    torch.manual_seed(0)
    return wrapped(SimpleCNN(4, widths=(4, 8, 8)))


def nan():
    model = build()
    for parameter in model.module.parameters():
        torch.nn.init.constant_(parameter, float("nan"))
    return model


def flat():
    return wrapped(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 32 * 32, 4)))


class AtWhite(SimpleCNN):
    """Does something when it sees a white picture."""

    def __init__(self, action):
        super().__init__(4, widths=(4, 8, 8))
        self.action = action

    def forward(self, images):
        if images.min() > 0.9:
            self.action()
        return super().forward(images)


def interrupt():
    raise KeyboardInterrupt


def stumble():
    raise RuntimeError("first line\\nsecond line")


def wait():
    Path("waiting").touch()
    time.sleep(60)


def interrupting():
    return wrapped(AtWhite(interrupt))


def stumbling():
    return wrapped(AtWhite(stumble))


def waiting():
    return wrapped(AtWhite(wait))


def number():
    return 3
'''


@dataclass(frozen=True)
class Answer:
    status: int
    out: str
    err: str


class CommandLine:
    """tapetum("explain", "cat.png") -> Answer; "net" stands for the file of networks."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self.capsys = capsys

    def __call__(self, *words: object) -> Answer:
        self.capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main([str(word) for word in words])
        out, err = self.capsys.readouterr()
        return Answer(int(end.value.code or 0), out, err)


def photo(side: int = 40, seed: int = 0) -> Image.Image:
    """A smooth coloured picture."""
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC)


def pictures(folder: Path) -> None:
    """One good picture, one white one, and everything that is wrong or odd."""
    photo().save(folder / "cat.png")
    photo(seed=1).save(folder / "dog.png")
    Image.new("RGB", (40, 40), "white").save(folder / "white.png")
    (folder / "text.jpg").write_text("this is no picture")
    photo(200).save(folder / "whole.jpg")
    (folder / "cut.jpg").write_bytes((folder / "whole.jpg").read_bytes()[:900])
    (folder / "empty.png").touch()
    (folder / "nothing").mkdir()
    (folder / "words").mkdir()
    (folder / "words" / "notes.txt").write_text("words")
    Image.new("1", (10_000, 10_001)).save(folder / "bomb.png")
    (folder / "net.py").write_text(NETWORKS)
    (folder / "broken.py").write_text("def build(:\n    pass\n")
    (folder / "misfit.pth").write_bytes(_tensors({"conv.weight": torch.zeros(2, 2)}))
    (folder / "junk.pth").write_text("no tensors")
    (folder / "full").mkdir()
    (folder / "full" / "precious.txt").write_text("mine")


def _tensors(table: dict[str, torch.Tensor]) -> bytes:
    import io

    file = io.BytesIO()
    torch.save(table, file)
    return file.getvalue()


def odd_pictures(folder: Path) -> list[str]:
    """Pictures that are fine, each in a way that readers trip over."""
    base = photo()
    grey16 = (np.asarray(base.convert("L")).astype(np.uint16) * 257).astype(np.uint16)
    Image.fromarray(grey16).save(folder / "sixteen.png")
    base.convert("CMYK").save(folder / "cmyk.jpg")
    base.convert("P", palette=Image.Palette.ADAPTIVE).save(folder / "palette.png")
    base.save(folder / "moving.gif", save_all=True, append_images=[photo(seed=2)])
    exif = Image.Exif()
    exif[0x0112] = 6
    base.resize((60, 40)).save(folder / "turned.jpg", exif=exif)
    photo(1).resize((1, 1)).save(folder / "dot.png")
    base.convert("L").save(folder / "grey.png")
    base.convert("RGBA").save(folder / "clear.png")
    base.resize((90, 30)).save(folder / "wide.png")
    names = ["with space.png", "日本 ünïcode.png", "<script>alert(1)<", "[bold].png", "line\nbreak.png", "%41&'\".png"]
    info = PngInfo()
    info.add_text("Comment", "a text of somebody else's")
    for name in names:
        base.save(folder / name, "PNG", pnginfo=info)
    return [path.name for path in sorted(folder.iterdir())]


def png_text(path: Path) -> dict[str, str]:
    """The tEXt chunks, read without our reader or Pillow's."""
    data, place, found = path.read_bytes(), 8, {}
    while place < len(data):
        (length,) = struct.unpack(">I", data[place : place + 4])
        if data[place + 4 : place + 8] == b"tEXt":
            key, _, value = data[place + 8 : place + 8 + length].partition(b"\0")
            found[key.decode("latin-1")] = value.decode("latin-1")
        place += length + 12
    return found
