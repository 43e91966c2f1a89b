"""Claims about reading and writing pictures, on real files made here."""

from __future__ import annotations

import contextlib
import io
import os
import struct
import threading
import time
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageFile

from tapetum.data import sources
from tapetum.data.images import read_image, to_uint8, write_png
from tapetum.data.preprocessing import Preprocessing
from tapetum.data.sources import find_images, packaged_photo
from tapetum.types import ImageError, UnwritableError

RAMP = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3) * 14
NOISE = np.random.default_rng(0).integers(0, 256, (40, 56, 3), dtype=np.uint8)


def encoded(picture: Image.Image | np.ndarray, format: str, **options) -> bytes:
    buffer = io.BytesIO()
    picture = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    picture.save(buffer, format=format, **options)
    return buffer.getvalue()


def refusal(source) -> str:
    with pytest.raises(ImageError) as caught:
        read_image(source)
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 500
    return message


def planes(rgb) -> torch.Tensor:
    """(H, W, 3) levels out of 255 as (1, 3, H, W) in [0, 1]."""
    return torch.tensor(np.asarray(rgb), dtype=torch.float32).permute(2, 0, 1)[None] / 255


def grey(levels) -> torch.Tensor:
    return torch.tensor(levels, dtype=torch.float32).expand(1, 3, -1, -1)


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, bits: int, color_type: int, rows: bytes, extra: bytes = b"") -> bytes:
    """A PNG written by hand (PNG specification, section 11), so that Pillow does not check its own writing."""
    header = struct.pack(">IIBBBBB", width, height, bits, color_type, 0, 0, 0)
    body = chunk(b"IHDR", header) + extra + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


# --- sources


def test_every_kind_of_source_gives_the_same_pixels(tmp_path: Path) -> None:
    file = tmp_path / "ramp.png"
    file.write_bytes(encoded(RAMP, "PNG"))
    data = file.read_bytes()
    sources = [file, str(file), data, bytearray(data), memoryview(data), io.BytesIO(data), Image.open(file), RAMP]
    with open(file, "rb") as opened:
        for source in [*sources, opened]:
            pixels = read_image(source)
            assert pixels.dtype == torch.float32
            assert pixels.is_contiguous()
            assert torch.equal(pixels, planes(RAMP))


def test_a_pipe_is_read_where_it_is_opened_and_refused_by_its_name() -> None:
    """A pipe that nobody writes into is waited for for ever."""
    reading, writing = os.pipe()
    os.write(writing, encoded(RAMP, "PNG"))
    os.close(writing)
    assert "a pipe, not an image; save what it gives as a file first" in refusal(f"/dev/fd/{reading}")
    with os.fdopen(reading, "rb") as pipe:
        assert torch.equal(read_image(pipe), planes(RAMP))


def test_a_text_file_object_is_refused() -> None:
    assert "binary mode" in refusal(io.StringIO("picture"))


@pytest.mark.parametrize("source", [3, None, ["a.jpg"], {"a": 1}])
def test_other_types_are_named(source: Any) -> None:
    assert type(source).__name__ in refusal(source)


def test_the_given_picture_stays_as_it_was() -> None:
    picture = Image.fromarray(RAMP)
    picture.getexif()[0x0112] = 6
    read_image(picture)
    assert picture.size == (3, 2)
    assert picture.getexif()[0x0112] == 6
    assert np.array_equal(picture, RAMP)


def test_the_given_array_is_not_shared() -> None:
    array = np.zeros((2, 2), np.float32)
    tensor = torch.zeros(1, 3, 2, 2)
    read_image(array).add_(1)
    read_image(tensor).add_(1)
    assert array.sum() == 0
    assert tensor.sum() == 0


# --- arrays and tensors


@pytest.mark.parametrize(
    ("dtype", "full"), [(np.uint8, 255), (np.uint16, 65535), (">u2", 65535), (bool, 1), (np.float16, 1), (float, 1)]
)
def test_the_full_level_of_each_dtype_is_one(dtype: Any, full: int) -> None:
    array = np.array([[0, full]]).astype(dtype)
    assert torch.equal(read_image(array), grey([[0, 1]]))
    assert torch.equal(read_image(array[..., None]), grey([[0, 1]]))


@pytest.mark.parametrize(
    ("tensor", "value"),
    [
        (torch.full((2, 3), 51, dtype=torch.uint8), 0.2),
        (torch.full((2, 3), 13107, dtype=torch.uint16), 0.2),
        (torch.full((3, 2, 3), 0.25), 0.25),
        (torch.full((1, 3, 2, 3), 0.25, dtype=torch.float64, requires_grad=True), 0.25),
        (torch.full((1, 2, 3), 0.25, dtype=torch.bfloat16), 0.25),
        (torch.full((1, 1, 2, 3), True), 1.0),
    ],
)
def test_tensor_shapes_and_dtypes(tensor: Any, value: float) -> None:
    pixels = read_image(tensor)
    assert not pixels.requires_grad
    assert torch.equal(pixels, torch.full((1, 3, 2, 3), value))


def test_flipped_and_read_only_arrays_are_read() -> None:
    array = RAMP[::-1, ::-1]
    array.setflags(write=False)
    assert torch.equal(read_image(array), planes(array.copy()))


def test_the_fourth_channel_is_composited_over_white() -> None:
    array = np.array([[[0.5, 0, 1, 0.25], [0.1, 0.2, 0.3, 0]]])
    expected = torch.tensor([[0.875, 0.75, 1.0], [1, 1, 1]]).T.reshape(1, 3, 1, 2)
    assert torch.equal(read_image(array), expected)
    assert torch.equal(read_image(torch.tensor(array).permute(2, 0, 1)), expected)


def test_rounding_beyond_one_is_clipped() -> None:
    assert read_image(np.full((1, 1), 1 + 1e-6)).max() == 1


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.full((2, 2, 3), 128.0), "divide by 255"),
        (np.full((2, 2, 3), -0.5), "normalization"),
        (np.full((2, 2), 1000.0), "not in [0, 1]"),
        (np.array([[0.5, np.nan]]), "NaN"),
        (np.array([[0.5, np.inf]]), "infinity"),
        (np.zeros((2, 2), np.int64), "uint8"),
        (np.zeros((2, 2), complex), "uint8"),
        (np.array([["a"]]), "uint8"),
        (np.array([[None]]), "uint8"),
        (np.zeros((8, 9, 2), np.uint8), "(8, 9, 2)"),
        (np.zeros(8, np.uint8), "(8,)"),
        (np.zeros((0, 4, 3), np.uint8), "no pixels"),
        (torch.full((3, 2, 2), 128.0), "divide by 255"),
        (torch.tensor([[float("nan")]]), "NaN"),
        (torch.zeros(2, 3, 4, 4), "one at a time"),
        (torch.zeros(3, 4, 0), "no pixels"),
        (torch.zeros(2, 2, dtype=torch.int32), "uint8"),
    ],
)
def test_what_is_no_picture_is_refused(array: Any, words: str) -> None:
    assert words in refusal(array)


# --- modes


def test_16_bit_grey_keeps_its_16_bits() -> None:
    rows = b"".join(b"\0" + struct.pack(">HH", *row) for row in [(0, 1), (257, 65535)])
    assert torch.equal(read_image(png(2, 2, 16, 0, rows)), grey([[0, 1], [257, 65535]]) / 65535)


@pytest.mark.parametrize(
    ("format", "mode"),  # what Pillow writes
    [(format, mode) for format in (None, "TIFF") for mode in ("I;16", "I;16B", "I")]
    + [("PNG", "I;16"), ("PPM", "I;16"), ("PPM", "I")],
)
def test_16_bit_modes_in_files_and_memory(mode: Any, format: Any) -> None:
    dtype = {"I;16": "<u2", "I;16B": ">u2", "I": "<i4"}[mode]
    levels = np.array([[0, 256], [40000, 65535]], dtype)
    picture = Image.frombytes(mode, (2, 2), levels.tobytes())
    source = picture if format is None else encoded(picture, format)
    assert torch.equal(read_image(source), grey(levels.astype(np.float32)) / 65535)


def test_16_bit_grey_marked_see_through_becomes_white() -> None:
    rows = b"\0" + struct.pack(">HH", 700, 701)
    source = png(2, 1, 16, 0, rows, extra=chunk(b"tRNS", struct.pack(">H", 700)))
    assert torch.equal(read_image(source), grey([[65535, 701]]) / 65535)


def test_16_bit_color_is_read_at_8_bits() -> None:
    rows = b"\0" + struct.pack(">HHH", 0x1234, 0xFFFF, 0x80FF)
    assert torch.equal(read_image(png(1, 1, 16, 2, rows)), planes([[[0x12, 0xFF, 0x80]]]))


def test_more_than_16_bits_are_refused() -> None:
    message = refusal(Image.fromarray(np.array([[70000]], np.int32)))
    assert "mode I" in message
    assert "70000" in message


def test_1_bit() -> None:
    assert torch.equal(read_image(png(3, 1, 1, 0, b"\0\xa0")), grey([[1, 0, 1]]))


def test_float_grey_is_taken_as_it_is() -> None:
    levels = np.array([[0, 0.3], [0.7, 1]], np.float32)
    assert torch.equal(read_image(encoded(levels, "TIFF")), grey(levels))
    assert "divide by 255" in refusal(encoded(levels * 200, "TIFF"))


def test_grey_with_alpha_goes_over_white() -> None:
    picture = Image.fromarray(np.array([[[100, 255], [100, 0], [100, 51]]], np.uint8), "LA")
    expected = grey([[100 / 255, 1, 0.2 * 100 / 255 + 0.8]])
    assert torch.allclose(read_image(encoded(picture, "PNG")), expected, atol=1e-6)


def test_color_with_alpha_goes_over_white() -> None:
    rgba = np.array([[[255, 0, 10, 102], [9, 9, 9, 0]]], np.uint8)
    expected = torch.tensor([[1, 0.6, 0.6 + 0.4 * 10 / 255], [1, 1, 1]]).T.reshape(1, 3, 1, 2)
    for format in ("PNG", "TIFF"):
        assert torch.allclose(read_image(encoded(rgba, format)), expected, atol=1e-6)


@pytest.mark.parametrize("mode", ["RGBa", "La"])
def test_premultiplied_alpha_goes_over_white(mode: str) -> None:
    bands = [64, 64, 64, 128] if mode == "RGBa" else [64, 128]
    picture = Image.frombytes(mode, (1, 1), bytes(bands))
    assert torch.allclose(read_image(picture), grey([[64 / 255 + 127 / 255]]), atol=1 / 255)


def test_palette() -> None:
    extra = chunk(b"PLTE", bytes([255, 0, 0, 1, 2, 3]))
    assert torch.equal(read_image(png(2, 1, 8, 3, b"\0\1\0", extra)), planes([[[1, 2, 3], [255, 0, 0]]]))


def test_palette_with_transparency_goes_over_white() -> None:
    extra = chunk(b"PLTE", bytes([255, 0, 0, 0, 0, 0])) + chunk(b"tRNS", bytes([51, 0]))
    expected = torch.tensor([[1, 0.8, 0.8], [1, 1, 1]]).T.reshape(1, 3, 1, 2)
    assert torch.allclose(read_image(png(2, 1, 8, 3, b"\0\0\1", extra)), expected, atol=1e-6)


def test_a_see_through_color_becomes_white() -> None:
    extra = chunk(b"tRNS", struct.pack(">HHH", 5, 6, 7))
    source = png(2, 1, 8, 2, b"\0" + bytes([5, 6, 7, 5, 6, 8]), extra)
    assert torch.equal(read_image(source), planes([[[255, 255, 255], [5, 6, 8]]]))


@pytest.mark.parametrize("format", ["TIFF", "JPEG"])
def test_cmyk_is_white_less_ink_and_black(format: str) -> None:
    cmyk = np.tile(np.array([0, 128, 255, 64], np.uint8), (8, 8, 1))
    c, m, y, k = (np.array([0, 128, 255, 64]) / 255).tolist()
    expected = torch.tensor([(1 - c) * (1 - k), (1 - m) * (1 - k), (1 - y) * (1 - k)]).reshape(1, 3, 1, 1)
    options = {"quality": 100} if format == "JPEG" else {}
    pixels = read_image(encoded(Image.fromarray(cmyk, "CMYK"), format, **options))
    assert torch.allclose(pixels, expected.expand(1, 3, 8, 8), atol=3 / 255)


@pytest.mark.parametrize("mode", ["YCbCr", "HSV", "RGBX"])
def test_other_color_models_agree_with_rgb(mode: str) -> None:
    picture = Image.fromarray(NOISE)
    assert torch.allclose(read_image(picture.convert(mode)), read_image(picture), atol=8 / 255)


def test_lab_red_is_red() -> None:
    # CIELAB (53.2, 80.1, 67.2) is sRGB (1, 0, 0); stored as L * 2.55 and signed bytes
    picture = Image.frombytes("LAB", (1, 1), bytes([136, 80, 67]))
    assert torch.allclose(read_image(picture).flatten(), torch.tensor([1.0, 0, 0]), atol=12 / 255)


@pytest.mark.parametrize("format", ["GIF", "WEBP", "PNG", "TIFF"])
def test_an_animation_gives_its_first_frame(format: str) -> None:
    frames = [Image.new("RGB", (4, 3), color) for color in [(255, 0, 0), (0, 255, 0), (0, 0, 255)]]
    options = {"lossless": True} if format == "WEBP" else {}
    source = encoded(frames[0], format, save_all=True, append_images=frames[1:], **options)
    assert Image.open(io.BytesIO(source)).n_frames == 3
    assert torch.equal(read_image(source), planes(np.full((3, 4, 3), (255, 0, 0))))


def test_an_opened_animation_gives_its_current_frame() -> None:
    frames = [Image.new("RGB", (4, 3), color) for color in [(255, 0, 0), (0, 255, 0)]]
    picture = Image.open(io.BytesIO(encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])))
    picture.seek(1)
    assert read_image(picture)[0, :, 0, 0].tolist() == [0, 1, 0]


@pytest.mark.parametrize("format", ["PNG", "BMP", "TIFF", "PPM", "WEBP", "JPEG2000", "QOI"])
def test_lossless_formats_are_exact(format: str) -> None:
    options = {"lossless": True} if format == "WEBP" else {}
    assert torch.equal(read_image(encoded(NOISE, format, **options)), planes(NOISE))


@pytest.mark.parametrize("format", ["JPEG", "AVIF"])
def test_lossy_formats_are_close(format: str) -> None:
    smooth = np.linspace(0, 255, 64, dtype=np.uint8)[:, None, None].repeat(64, 1).repeat(3, 2)
    assert (read_image(encoded(smooth, format, quality=95)) - planes(smooth)).abs().max() < 4 / 255


def test_one_pixel() -> None:
    assert torch.equal(read_image(encoded(np.array([[[1, 2, 3]]], np.uint8), "PNG")), planes([[[1, 2, 3]]]))


# what a camera that writes this orientation has stored of an upright picture (EXIF 2.3, tag 274)
STORED = {
    1: lambda upright: upright,
    2: lambda upright: upright[:, ::-1],
    3: lambda upright: upright[::-1, ::-1],
    4: lambda upright: upright[::-1],
    5: lambda upright: upright.swapaxes(0, 1),
    6: lambda upright: np.rot90(upright, 1),
    7: lambda upright: upright[::-1, ::-1].swapaxes(0, 1),
    8: lambda upright: np.rot90(upright, -1),
}


# --- orientation


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["PNG", "TIFF", "WEBP"])
def test_the_picture_comes_out_upright(orientation: int, format: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = np.ascontiguousarray(STORED[orientation](NOISE))
    options = {"lossless": True} if format == "WEBP" else {}
    assert torch.equal(read_image(encoded(stored, format, exif=exif, **options)), planes(NOISE))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_jpeg_comes_out_as_pillow_turns_it(orientation: int) -> None:
    from PIL import ImageOps

    exif = Image.Exif()
    exif[0x0112] = orientation
    source = encoded(NOISE, "JPEG", exif=exif)
    turned = ImageOps.exif_transpose(Image.open(io.BytesIO(source)))
    assert torch.equal(read_image(source), planes(turned))


def test_16_bit_grey_is_turned_too() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    stored = Image.frombytes("I;16", (2, 1), struct.pack("<HH", 1, 2))
    assert torch.equal(read_image(encoded(stored, "PNG", exif=exif)), grey([[1], [2]]) / 65535)


@pytest.mark.parametrize("exif", [b"Exif\0\0garbage", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0"])
def test_damaged_exif_leaves_the_picture_as_stored(exif: bytes) -> None:
    source = encoded(NOISE, "JPEG", exif=exif)
    assert torch.equal(read_image(source), read_image(encoded(NOISE, "JPEG")))


def test_an_unknown_orientation_is_ignored() -> None:
    exif = Image.Exif()
    exif[0x0112] = 42
    assert torch.equal(read_image(encoded(NOISE, "PNG", exif=exif)), planes(NOISE))


# --- broken files


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    message = refusal(tmp_path / "nothing.jpg")
    assert "nothing.jpg" in message
    assert "no such file" in message


def test_a_folder(tmp_path: Path) -> None:
    assert "a folder" in refusal(tmp_path)


@pytest.mark.parametrize("name", ["a\0b.jpg", "x" * 5000, "line\nbreak.jpg"])
def test_names_that_no_file_can_have(name: str) -> None:
    refusal(name)


def test_an_empty_file(tmp_path: Path) -> None:
    (tmp_path / "empty.jpg").touch()
    assert "empty" in refusal(tmp_path / "empty.jpg")
    assert "empty" in refusal(b"")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"just some notes\nin two lines", "text"),
        ("Gr\u00fc\u00dfe aus K\u00f6ln".encode(), "text"),
        (b"<!DOCTYPE html><html><body>gone", "web page"),
        (b'<?xml version="1.0"?><svg xmlns="x"/>', "SVG"),
        (b"%PDF-1.7 \x80\x81", "PDF"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "text"),
        (bytes(range(256)), "not an image"),
    ],
)
def test_what_is_no_image_is_said_to_be_what_it_is(tmp_path: Path, content: Any, words: str) -> None:
    (tmp_path / "picture.jpg").write_bytes(content)
    message = refusal(tmp_path / "picture.jpg")
    assert words in message
    assert "picture.jpg" in message


@pytest.mark.parametrize(
    ("format", "options"),
    [
        ("JPEG", {}),
        ("JPEG", {"progressive": True}),
        ("PNG", {}),
        ("GIF", {}),
        ("WEBP", {}),
        ("BMP", {}),
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("PPM", {}),
        ("AVIF", {}),
        ("JPEG2000", {}),
    ],
)
def test_a_cut_off_file_is_refused_or_whole_but_never_half_grey(format: str, options: Any) -> None:
    data = encoded(NOISE, format, **options)
    whole = read_image(data)
    for length in range(1, len(data), max(1, len(data) // 60)):
        try:
            pixels = read_image(data[:length])
        except ImageError as error:
            assert "\n" not in str(error)
        else:  # only padding or a trailer was lost
            assert torch.equal(pixels, whole)
            assert length > 0.9 * len(data)


def test_a_cut_off_jpeg_is_refused_whatever_pillows_switch_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    data = encoded(NOISE, "JPEG")
    assert "cut off" in refusal(data[: len(data) // 2])
    assert ImageFile.LOAD_TRUNCATED_IMAGES is True


def test_a_cut_off_picture_that_pillow_has_opened_is_refused() -> None:
    data = encoded(NOISE, "JPEG")
    assert "cut off" in refusal(Image.open(io.BytesIO(data[: len(data) // 2])))


def test_flipped_bytes_never_end_in_another_exception() -> None:
    random = np.random.default_rng(1)
    for format in ("PNG", "GIF", "WEBP", "TIFF", "JPEG"):
        data = bytearray(encoded(NOISE, format))
        for _ in range(25):
            broken = data.copy()
            for place in random.integers(0, len(data), 6):
                broken[place] = random.integers(0, 256)
            try:
                assert read_image(bytes(broken)).isfinite().all()
            except ImageError as error:
                assert "\n" not in str(error)


def test_a_huge_header_is_refused_before_decoding() -> None:
    for side in (8001, 12_000, 100_000):  # beyond our limit, Pillow's warning, Pillow's error
        message = refusal(png(side, side, 8, 2, b""))
        assert "64 million pixels" in message
        assert "shrink" in message


def test_100_megapixels_of_1_bit_are_refused(tmp_path: Path) -> None:
    rows = (b"\0" + bytes(10_000 // 8)) * 10_000
    file = tmp_path / "bomb.png"
    file.write_bytes(png(10_000, 10_000, 1, 0, rows))
    assert file.stat().st_size < 50_000
    assert "10000 x 10000" in refusal(file)


def test_the_limit_itself_is_read() -> None:
    saved = io.BytesIO()
    np.save(saved, NOISE)
    for source in (encoded(NOISE, "PNG"), Image.fromarray(NOISE), saved.getvalue()):
        assert Preprocessing().read(source, 40 * 56).shape == (1, 3, 40, 56)
        with pytest.raises(ImageError, match=r"40.*more than 0\.002239 million pixels; shrink it first"):
            Preprocessing().read(source, 40 * 56 - 1)


def test_a_picture_without_pixels() -> None:
    assert "no pixels" in refusal(Image.new("RGB", (0, 5)))
    refusal(png(0, 5, 8, 2, b""))


def test_pillows_switches_and_the_warning_filters_are_left_alone() -> None:
    before = Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES, list(warnings.filters)
    bomb, good = png(12_000, 12_000, 8, 2, b""), encoded(NOISE, "JPEG")

    def attempt(source):
        try:
            return read_image(source)
        except ImageError as error:
            return error

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(attempt, [bomb, good] * 20))
    assert [isinstance(answer, ImageError) for answer in answers] == [True, False] * 20
    assert (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES, list(warnings.filters)) == before


class Answers(BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/endless":
            return self.pour()
        if self.path == "/drip":
            return self.drip()
        if self.path.startswith("/to/"):
            self.send_response(302)
            self.send_header("Location", self.path.removeprefix("/to/"))
            return self.end_headers()
        self.server.seen.append((self.path, self.headers["User-Agent"]))
        body = {"/text": b"hello", "/big": bytes(5000)}.get(self.path, encoded(RAMP, "PNG"))
        self.send_response(404 if self.path == "/gone" else 200)
        self.send_header("Content-Length", str(len(body) + (10 if self.path == "/short" else 0)))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if self.path == "/short" else body)
        return None

    def pour(self):
        self.send_response(200)
        self.end_headers()
        with contextlib.suppress(OSError):  # the reader has hung up
            for _ in range(60):
                self.wfile.write(bytes(1_000_000))
                self.server.seen.append("1 MB")

    def drip(self):
        self.send_response(200)
        self.end_headers()
        with contextlib.suppress(OSError):
            for _ in range(40):
                self.wfile.write(b"x")
                time.sleep(0.1)

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        server.seen = []
        server.address = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


# --- addresses


def test_a_server_that_drips_is_left_in_time(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "TOTAL_S", 1)
    begun = time.perf_counter()
    assert "not all there after 1 s" in refusal(f"{server.address}/drip")
    assert time.perf_counter() - begun < 3


def test_a_server_leads_to_no_file_of_this_computer(server: Any, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encoded(RAMP, "PNG"))
    for place in (f"file://{tmp_path}/a.png", "ftp://127.0.0.1/a.png", f"{tmp_path.as_uri()}\x1b[31m/a.png"):
        said = refusal(f"{server.address}/to/{place}")
        assert "cannot be fetched (it leads to ftp" in said or "is not allowed; check the address" in said
    assert torch.equal(read_image(f"{server.address}/to/{server.address}/a.png"), planes(RAMP))


def test_an_address_is_fetched(server: Any) -> None:
    assert torch.equal(read_image(f"{server.address}/ramp.png"), planes(RAMP))
    assert "tapetum" in server.seen[0][1]


def test_spaces_and_accents_in_an_address(server: Any) -> None:
    read_image(f"{server.address}/a caf\u00e9.png?x=1%20")
    assert server.seen[0][0] == "/a%20caf%C3%A9.png?x=1%20"


def test_an_error_answer_is_named(server: Any) -> None:
    assert "404" in refusal(f"{server.address}/gone")


def test_text_is_no_image(server: Any) -> None:
    message = refusal(f"{server.address}/text")
    assert "text" in message
    assert server.address in message


def test_a_broken_transfer_is_refused(server: Any) -> None:
    refusal(f"{server.address}/short")


def test_too_many_bytes(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "MAX_BYTES", 4999)
    assert "0.004999 MB" in refusal(f"{server.address}/big")


def test_reading_stops_at_the_limit(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "MAX_BYTES", 4999)
    assert "0.004999 MB" in refusal(f"{server.address}/endless")
    assert len(server.seen) < 60


def test_a_closed_port(server: Any) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as closing:
        port = closing.server_port
    assert "cannot be fetched" in refusal(f"http://127.0.0.1:{port}/a.png")


@pytest.mark.parametrize("address", ["file:///etc/hosts", "ftp://host/a.png", "data:image/png;base64,AAAA"])
def test_other_schemes(address: str) -> None:
    assert "only http and https" in refusal(address)


@pytest.mark.parametrize("address", ["http://", "http://[::1", "http://host:port/"])
def test_addresses_that_are_none(address: str) -> None:
    assert "cannot be fetched" in refusal(address)


# --- find images


@pytest.fixture
def folder(tmp_path):
    seen = ["b.JPG", "a.png", "sub/c.webp", "sub/deep/d.tiff"]
    unseen = [".hidden.png", ".cache/e.png", "jpg", "notes.txt"]
    for name in seen + unseen:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def test_a_folder_is_searched_to_the_bottom_in_order(folder: Path) -> None:
    found = [str(Path(path).relative_to(folder)) for path in find_images([str(folder)])]
    assert found == ["a.png", "b.JPG", "sub/c.webp", "sub/deep/d.tiff"]


def test_each_image_comes_once_and_as_first_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    assert find_images(["sub/c.webp", "./sub", "a.png", "./a.png"]) == ["sub/c.webp", "./sub/deep/d.tiff", "a.png"]


def test_addresses_missing_paths_and_named_files_stay(folder: Path) -> None:
    given = ["http://host/a.png", "http://host//a.png", str(folder / "nothing.jpg"), str(folder / "notes.txt")]
    assert find_images(given + given) == given


def test_a_hidden_folder_that_is_named_is_searched(folder: Path) -> None:
    assert len(find_images([str(folder / ".cache")])) == 1


def test_a_linked_folder_is_searched(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "classes").symlink_to(folder / "sub", target_is_directory=True)
    assert len(find_images([str(elsewhere)])) == 2


def test_links_in_a_circle_end(folder: Path) -> None:
    (folder / "sub" / "up").symlink_to(folder, target_is_directory=True)
    assert len(find_images([str(folder)])) == 4


def test_a_folder_without_images_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="no images in this folder"):
        find_images([str(tmp_path)])


# --- writing


def test_levels_are_rounded_and_clipped() -> None:
    levels = to_uint8(torch.tensor([[-1.0, 0.0, 0.499 / 255, 0.501 / 255, 1.0, 2.0]]))
    assert levels.shape == (1, 6, 3)
    assert levels[0, :, 1].tolist() == [0, 0, 0, 1, 255, 255]


def test_reading_undoes_writing(tmp_path: Path) -> None:
    pixels = planes(NOISE)
    for given in (pixels, pixels[0], pixels.double()[0]):
        write_png(tmp_path / "a.png", given)
        assert torch.equal(read_image(tmp_path / "a.png"), pixels)
    assert [file.name for file in tmp_path.iterdir()] == ["a.png"]


def test_text_travels_with_the_picture(tmp_path: Path) -> None:
    text = {"method": "grad_cam", "target": "caf\u00e9 \u2013 \u732b", "long": "x" * 5000}
    write_png(tmp_path / "a.png", torch.zeros(4, 5), text)
    with Image.open(tmp_path / "a.png") as picture:
        picture.load()
        assert picture.text == text
        assert picture.size == (5, 4)


def test_a_failed_write_keeps_the_old_file_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_png(tmp_path / "a.png", torch.zeros(2, 2))
    before = (tmp_path / "a.png").read_bytes()

    def full(self, file, **_):
        Path(file).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(UnwritableError, match="No space left"):
        write_png(tmp_path / "a.png", torch.ones(2, 2))
    assert (tmp_path / "a.png").read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnwritableError, match="cannot be written"):
        write_png(tmp_path / "none" / "a.png", torch.zeros(2, 2))


@pytest.mark.parametrize("pixels", [torch.zeros(5), torch.zeros(2, 4, 4), torch.full((2, 2), float("nan"))])
def test_what_is_no_picture_is_not_written(tmp_path: Path, pixels: Any) -> None:
    with pytest.raises(ImageError):
        write_png(tmp_path / "a.png", pixels)
    assert not list(tmp_path.iterdir())


def test_levels_that_are_integers_already_are_refused() -> None:
    with pytest.raises(ImageError, match="uint8"):
        to_uint8(torch.zeros(3, 2, 2, dtype=torch.uint8))


def test_a_written_file_has_ordinary_permissions(tmp_path: Path) -> None:
    (tmp_path / "ordinary").touch()
    write_png(tmp_path / "a.png", torch.zeros(2, 2))
    assert (tmp_path / "a.png").stat().st_mode == (tmp_path / "ordinary").stat().st_mode


# --- packaged photos


# sizes as given in scikit-image's documentation of skimage.data
@pytest.mark.parametrize(
    ("name", "size"),
    [("cat", (300, 451)), ("astronaut", (512, 512)), ("coffee", (400, 600)), ("rocket", (427, 640))],
)
def test_it_is_installed(name: str, size: Any) -> None:
    assert read_image(packaged_photo(name)).shape == (1, 3, *size)


def test_an_unknown_name_lists_the_known() -> None:
    with pytest.raises(ImageError, match="cat, astronaut, coffee, rocket"):
        packaged_photo("dog")
