"""Large pictures are read some rows at a time: the same bits, in little memory."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tapetum.data import preprocessing, strips
from tapetum.data.images import read_image, strips_of
from tapetum.data.preprocessing import Preprocessing

NOISE = np.random.default_rng(0).integers(0, 256, (61, 83, 4), dtype=np.uint8)
PICTURES = {
    "RGB": Image.fromarray(NOISE[..., :3]),
    "RGBA": Image.fromarray(NOISE),
    "LA": Image.fromarray(NOISE).convert("LA"),
    "P": Image.fromarray(NOISE[..., :3]).quantize(64),
    "1": Image.fromarray(NOISE[..., 0]).convert("1"),
    "I;16": Image.fromarray(NOISE[..., 0].astype(np.uint16) * 257),
    "F": Image.fromarray(NOISE[..., 0].astype(np.float32) / 255),
    "CMYK": Image.fromarray(NOISE, "CMYK"),
}


def turned(orientation: int) -> bytes:
    exif, buffer = Image.Exif(), io.BytesIO()
    exif[0x0112] = orientation
    PICTURES["RGBA"].save(buffer, format="PNG", exif=exif)
    return buffer.getvalue()


def saved(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


UNIT = NOISE[..., :3] / np.float32(255)
SOURCES = {
    **PICTURES,
    **{f"orientation {one}": turned(one) for one in range(1, 9)},
    "npy": saved(NOISE),
    "npy, float": saved(UNIT),
    "npy, double": saved(UNIT.astype(float)),
    "npy, channels first": saved(np.ascontiguousarray(UNIT.transpose(2, 0, 1))),
    "npy, in columns": saved(np.asfortranarray(UNIT)),
    "npy, in columns, channels first": saved(np.asfortranarray(UNIT.transpose(2, 0, 1))),
    "npy, grey in columns": saved(np.asfortranarray(UNIT[..., 0])),
    "npy, big-endian": saved(UNIT.astype(">f4")),
    "npy, one": saved(UNIT[None]),
    "array": NOISE[::-1, ::2],
    "tensor": torch.from_numpy(UNIT).permute(2, 0, 1),
}


@pytest.mark.bits
@pytest.mark.parametrize("name", SOURCES)
def test_rows_at_a_time_are_all_at_once_to_the_last_bit(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    source = SOURCES[name]
    hows = Preprocessing(), Preprocessing(size=(20, 30), resize="squash"), Preprocessing(size=(9, 9), interpolation="bicubic")
    whole, crops = read_image(source), [how(how.read(source)) for how in hows]
    for module in (strips, preprocessing):
        monkeypatch.setattr(module, "AT_ONCE", 1000)
    monkeypatch.setattr("tapetum.data.saved.WHOLE", 3000)
    assert torch.equal(read_image(source), whole)
    for how, crop in zip(hows, crops, strict=True):
        with how.opened(source) as opened:
            assert torch.equal(how(opened), crop)
    with strips_of(source) as opened:
        assert torch.equal(opened.rows(7, 19).float(), whole[:, :, 7:19])


MEASURED = """
import re, sys
import tapetum as tp
from tapetum.data.preprocessing import Preprocessing
def now(what):
    return int(re.search(what + r":\\s+(\\d+)", open("/proc/self/status").read())[1]) * 1024 / 1e6
small, large = sys.argv[1:]
how = Preprocessing()
how(tp.read_image(small))
before = now("VmRSS")
with how.opened(large) as pixels:
    how(pixels)
print(now("VmHWM") - before)
tp.read_image(large)
print(now("VmHWM") - before)
"""


def test_a_picture_of_24_million_pixels_takes_its_bytes_and_what_is_asked_for(tmp_path: Path) -> None:
    """All of its floats are 288 MB, and it took four times that."""
    for name, side in (("small.png", 300), ("large.png", 4899)):
        Image.new("RGBA", (side, side), (10, 200, 30, 128)).save(tmp_path / name)
    command = [sys.executable, "-c", MEASURED, str(tmp_path / "small.png"), str(tmp_path / "large.png")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=100)
    crop, whole = map(float, done.stdout.split())
    assert crop < 96 + 120  # 4 bytes a pixel
    assert whole < 288 + 150
