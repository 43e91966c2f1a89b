"""Large pictures are read some rows at a time: the same bits, in little memory."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tapetum.data import preprocessing, strips
from tapetum.data.images import read_image, strips_of
from tapetum.data.preprocessing import Preprocessing, thumbnail
from tapetum.types import ImageError

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
            assert torch.equal(thumbnail(opened, 32), thumbnail(how.read(source), 32))
            assert torch.equal(how(opened), crop)
            assert torch.equal(how(opened), crop)
    with strips_of(source) as opened:
        assert torch.equal(opened.rows(7, 19).float(), whole[:, :, 7:19])


@pytest.mark.bits
def test_the_thumbnail_of_many_bands_is_that_of_all_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preprocessing, "AT_ONCE", 1000)
    bands = np.random.default_rng(1).random((5, 61, 83), dtype=np.float32)
    how = Preprocessing(mean=(0.5,) * 5, std=(0.5,) * 5)
    with how.opened(bands) as opened:
        for longest in (1, 7, 32, 100):
            assert torch.equal(thumbnail(opened, longest), thumbnail(how.read(bands), longest))


MEASURED = """
import re, sys
import tapetum as tp
from tapetum.data.preprocessing import Preprocessing
from tapetum.types import ImageError
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
    assert whole < 288 + 2 * 96 + 100  # malloc may keep the bytes of a second picture: 390 MB as a rule, seldom 537


COMMAND = """
import re, sys
from tapetum.cli import main
sys.argv = ["tapetum", *sys.argv[1:]]
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
print("MB", int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) * 1024 / 1e6)
"""


@pytest.mark.slow
@pytest.mark.parametrize("command", ["explain {} --methods saliency --no-evidence", "scan {} --workers 2"])
def test_commands_take_no_more_than_1500_mb_for_pictures_of_64_million_pixels(command: str, tmp_path: Path) -> None:
    """The program itself takes 1050."""
    side, pictures = 8000, {"a.png": "RGBA", "b.jpg": "RGB"}
    for name, mode in pictures.items():
        Image.new(mode, (side, side), 90).save(tmp_path / name, compress_level=1)
    words = [*command.format(tmp_path).split(), "--out", str(tmp_path / "out")]
    done = subprocess.run([sys.executable, "-c", COMMAND, *words], capture_output=True, text=True, check=True, timeout=100)
    assert float(done.stdout.split()[-1]) < 1500


def large(format: str, **options: object) -> bytes:
    """49 million pixels of one colour."""
    buffer = io.BytesIO()
    Image.new("L", (7000, 7000)).save(buffer, format=format, **options)
    return buffer.getvalue()


def tiff(side: int) -> bytes:
    """100 x 100 pixels in one tile of that side, which nobody wrote."""
    tags = {256: 100, 257: 100, 258: 8, 259: 8, 262: 1, 277: 1, 284: 1, 322: side, 323: side, 324: 200, 325: 9}
    fields = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + fields + bytes(300)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (large("JPEG", progressive=True), "more than 48 million pixels, the most of a progressive JPEG file"),
        (tiff(40_000), "a TIFF in pieces of 1600 MB"),
        (b"P6\n#" + b"x" * 50_000_000 + b"\n4 4\n255\n" + bytes(48), "more than 65536 bytes before its size"),
        (b"P3\n8000 8000\n255\n" + b"1 " * 100_000, "more than 8 million pixels, the most of a PPM in words"),
        (b"P6\n200000 1\n255\n" + bytes(600_000), "a side of more than 100000 pixels"),
        (saved(np.zeros((9000, 9000), bool)), r"shape \(9000, 9000\), more than 64 million pixels"),
    ],
    ids=["progressive", "tile", "remark", "in words", "strip", "npy"],
)
def test_what_a_decoder_would_take_gigabytes_or_minutes_for_is_refused_by_its_header(data: bytes, words: str) -> None:
    begun = time.perf_counter()
    with pytest.raises(ImageError, match=words):
        read_image(data)
    assert time.perf_counter() - begun < 5
