"""Claims about the quick decoder: the numbers and the refusals of `read_image`, for every kind of file and of damage."""

from __future__ import annotations

import io
import random
from concurrent.futures import ThreadPoolExecutor, wait

import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data
from torch import Tensor

from tapetum.data import decoding
from tapetum.data.decoding import strips_in
from tapetum.data.images import read_image
from tapetum.data.strips import Strips
from tapetum.types import ImageError

PHOTOGRAPH = data.chelsea()[40:151, 90:227]  # odd sides: chroma and blocks end inside the picture
NOISE = np.random.default_rng(0).integers(0, 256, (61, 83, 3), dtype=np.uint8)


def encoded(picture: np.ndarray | Image.Image, format: str = "JPEG", **options) -> bytes:
    buffer = io.BytesIO()
    picture = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    picture.save(buffer, format=format, **options)
    return buffer.getvalue()


def pixels_of(data: bytes, name: str = "the bytes") -> torch.Tensor:
    with strips_in(data, name) as strips:
        return strips.whole()


def turned(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(PHOTOGRAPH, exif=exif)


def grey(picture: np.ndarray = PHOTOGRAPH) -> Image.Image:
    return Image.fromarray(picture).convert("L")


XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
JPEGS = {
    **{f"quality {quality}": encoded(PHOTOGRAPH, quality=quality) for quality in (1, 30, 75, 100)},
    **{f"subsampling {kind}": encoded(PHOTOGRAPH, subsampling=kind) for kind in ("4:4:4", "4:2:2", "4:2:0")},
    **{f"progressive {kind}": encoded(NOISE, progressive=True, subsampling=kind) for kind in ("4:4:4", "4:2:2", "4:2:0")},
    **{f"restart after {n} blocks": encoded(PHOTOGRAPH, restart_marker_blocks=n) for n in (1, 5)},
    "restart after rows, progressive": encoded(PHOTOGRAPH, restart_marker_rows=1, progressive=True),
    "optimized": encoded(NOISE, optimize=True),
    "stored as RGB": encoded(PHOTOGRAPH, keep_rgb=True),
    "grey": encoded(grey()),
    "grey, progressive": encoded(grey(NOISE), progressive=True, restart_marker_blocks=3),
    "with a profile and a comment": encoded(PHOTOGRAPH, icc_profile=bytes(70_000), comment="hello", dpi=(300, 300)),
    "with XMP": encoded(PHOTOGRAPH, xmp=XMP),
    "several pictures": encoded(PHOTOGRAPH, "MPO", save_all=True, append_images=[Image.fromarray(NOISE)]),
    "bytes after the end": encoded(PHOTOGRAPH) + bytes(1000),
    **{f"{h} x {w}": encoded(NOISE[:h, :w]) for h, w in ((1, 1), (1, 9), (17, 1), (8, 16), (15, 33))},
    **{f"orientation {n}": turned(n) for n in range(10)},
    "damaged EXIF": encoded(PHOTOGRAPH, exif=b"Exif\0\0II*\0\xff\xff\xff\xff"),
}
OTHERS = {
    "CMYK": encoded(Image.fromarray(PHOTOGRAPH).convert("CMYK")),
    "CMYK, progressive": encoded(Image.fromarray(NOISE).convert("CMYK"), progressive=True),
    "PNG": encoded(PHOTOGRAPH, "PNG"),
    "PNG, 16 bits": encoded(Image.fromarray(NOISE[..., 0].astype(np.uint16) * 257), "PNG"),
    "PNG, transparent": encoded(Image.fromarray(np.dstack([NOISE, NOISE[..., 0]])), "PNG"),
    "PNG, palette": encoded(Image.fromarray(PHOTOGRAPH).quantize(16), "PNG"),
    "WebP": encoded(PHOTOGRAPH, "WEBP"),
    "WebP, lossless": encoded(NOISE, "WEBP", lossless=True),
    "GIF": encoded(Image.fromarray(NOISE).quantize(16), "GIF"),
    "BMP": encoded(NOISE, "BMP"),
    "TIFF": encoded(NOISE, "TIFF"),
}


def outcome(read, file: bytes) -> Tensor | str:
    try:
        return read(file)
    except ImageError as error:
        return str(error)


def same(file: bytes) -> bool:
    """Whether both ways give the same pixels, in type and layout too, or the same refusal."""
    quick, slow = outcome(pixels_of, file), outcome(read_image, file)
    if isinstance(quick, str) or isinstance(slow, str):
        return quick == slow
    return torch.equal(quick, slow) and (quick.dtype, quick.is_contiguous()) == (slow.dtype, slow.is_contiguous())


def quickly(file: bytes) -> Strips | None:
    """The pixels by the quick decoder; None where it leaves the file to `read_image`."""
    try:
        kind, orientation, _ = decoding.header(io.BytesIO(file))
    except ImageError:
        return None
    return decoding._quick(file, kind, orientation)


@pytest.mark.parametrize("kind", JPEGS)
def test_jpegs_are_decoded_the_quick_way_and_bit_for_bit_as_by_pillow(kind: str) -> None:
    assert quickly(JPEGS[kind]) is not None  # else this compares read_image with itself
    assert same(JPEGS[kind])


@pytest.mark.parametrize("kind", OTHERS)
def test_all_other_pictures_are_left_to_read_image(kind: str) -> None:
    assert quickly(OTHERS[kind]) is None
    assert same(OTHERS[kind])


def test_adobes_ycck_is_left_to_read_image() -> None:
    # The same file said to be YCCK instead of CMYK: the last byte of Adobe's marker is the color transform (2: YCCK).
    file = bytearray(OTHERS["CMYK"])
    place = file.index(b"Adobe") + 11
    file[place] = 2 if file[place] == 0 else 0
    assert quickly(bytes(file)) is None
    assert same(bytes(file))
    assert not torch.equal(pixels_of(bytes(file)), pixels_of(OTHERS["CMYK"]))


@pytest.mark.parametrize("kind", ["subsampling 4:2:0", "progressive 4:2:0", "restart after 5 blocks", "grey"])
def test_a_jpeg_cut_off_anywhere_is_refused_or_read_as_by_pillow(kind: str) -> None:
    file = JPEGS[kind]
    lengths = [*range(40), *range(40, len(file) - 4, 97), *range(len(file) - 4, len(file))]
    assert all(same(file[:length]) for length in lengths)
    with pytest.raises(ImageError, match=r"^cat.jpg: cut off or damaged"):
        pixels_of(file[: len(file) // 2], "cat.jpg")


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow), pytest.param(2, marks=pytest.mark.slow)])
def test_damage_of_any_kind_has_the_same_outcome(seed: int) -> None:
    draw = random.Random(seed)
    n_files, outcomes = (200, []) if seed == 0 else (2000, [])
    for _ in range(n_files):
        file = bytearray(draw.choice(list(JPEGS.values())))
        at, length = draw.randrange(3, len(file)), draw.choice([1, 2, 50, 500])
        file[at : at + length] = draw.choice(
            [b"", draw.randbytes(length), bytes(length), bytes([0xFF, draw.randrange(256)]), draw.randbytes(1)]
        )
        assert same(bytes(file)), (seed, at, length)
        outcomes.append(isinstance(outcome(pixels_of, bytes(file)), str))
    assert 0.1 * n_files < sum(outcomes) < 0.9 * n_files  # some are refused, some only look damaged


def test_too_many_pixels_are_refused_before_any_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    file = bytearray(encoded(PHOTOGRAPH))
    frame = file.index(b"\xff\xc0") + 5  # the sides in the frame header: height, width
    file[frame : frame + 4] = (9000).to_bytes(2, "big") * 2
    monkeypatch.setattr(decoding, "_levels", lambda _: pytest.fail("decoded"))
    with pytest.raises(ImageError, match=r"^cat.jpg: 9000 x 9000, more than 64 million pixels; shrink it first$"):
        pixels_of(bytes(file), "cat.jpg")


def test_refusals_begin_with_the_name() -> None:
    for file, says in ((b"", "empty"), (b"<html>", "a web page"), (b"\xff\xd8\xff\xe0", ""), (JPEGS["grey"][:300], "")):
        with pytest.raises(ImageError, match=rf"^cat.jpg: .*{says}"):
            pixels_of(file, "cat.jpg")


def test_large_pictures_wait_for_each_other_and_small_ones_for_nobody() -> None:
    turns, order = decoding.Turns(small=10, most=100), []

    def read(pixels: int) -> None:
        with turns(pixels):
            order.append(pixels)

    with ThreadPoolExecutor(1) as pool:
        with turns(60):
            waiting = pool.submit(read, 1000)
            assert not wait([waiting], timeout=0.2).done
            read(10)
            read(40)
            with pytest.raises(ValueError, match="damaged"), turns(40):
                raise ValueError("damaged")
        waiting.result(timeout=10)
    assert order == [10, 40, 1000]


def test_where_the_two_libraries_disagree_pillow_decodes(monkeypatch: pytest.MonkeyPatch) -> None:
    assert decoding._agrees()
    file, right = JPEGS["subsampling 4:2:0"], decoding._levels
    for wrong in (lambda file: right(file).bitwise_xor(1), missing):
        monkeypatch.setattr(decoding, "_levels", wrong)
        decoding._agrees.cache_clear()
        try:
            assert torch.equal(pixels_of(file), read_image(file))
        finally:
            decoding._agrees.cache_clear()


def missing(file: bytes) -> Tensor:
    """What torch says of an operator that torchvision no longer registers."""
    return torch.ops.image.no_such_operator(file)


def test_pixels_are_the_same_in_many_threads_at_once() -> None:
    files = list(JPEGS.values())
    right = [read_image(file) for file in files]
    with ThreadPoolExecutor(8) as pool:
        for _ in range(3):
            assert all(map(torch.equal, pool.map(pixels_of, files), right))


def test_header_refuses_what_reading_refuses_there() -> None:
    assert decoding.header(io.BytesIO(JPEGS["orientation 6"]))[:2] == ("JPEG RGB", 6)
    with pytest.raises(ImageError, match=r"^the bytes: text, not an image"):
        decoding.header(io.BytesIO(b"hello"))
