"""Pictures in time, made of frames that were kept: an animation (GIF, WebP), or a page to scroll through (HTML)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image
from torch import Tensor

from tapetum.data.images import to_uint8
from tapetum.figures.circuit_film import scenes
from tapetum.figures.renderings import step_words
from tapetum.figures.strip import strip_page
from tapetum.figures.tiles import across, collage, tile, unit_words
from tapetum.figures.words import some
from tapetum.keeping.places import ELSEWHERE, writable
from tapetum.keeping.whole import whole_file
from tapetum.types import Circuit, Rendering, Run, TapetumError

MAX_PICTURES = 16  # side by side in one frame
LAST_FRAME_MS = 1500  # the finished picture stays so long before the animation begins again
MARK = "tapetum"
"""Name of this program in written files: at the start of a GIF's comment and a WebP's XMP, and in the head of a page."""


@dataclass(frozen=True, eq=False)
class Film:
    """Frames in order; each has one picture (3, h, w) per name, and a caption in `moments`."""

    title: str
    names: tuple[str, ...]
    moments: tuple[str, ...]
    frames: tuple[tuple[Tensor, ...], ...]


def animate(result: Rendering | Run | Circuit, file: str | Path, *, seconds: float | int = 4, note: str = "") -> Path:
    """Writes the making of pictures as an animation, or as a page with a slider; returns the file.

    The suffix decides: .gif (256 colours per frame), .webp, or .html (one file that opens offline, with every frame and a
    slider). Frames are those that the method kept (`frames=25`); a result without frames shows its pictures one after the
    other, as `interpolate` makes them. Up to 16 pictures move side by side. A circuit is walked
    through layer by layer, from the image to the score. The file appears when it is complete.

    Args:
        result: what a rendering method gave, or a circuit.
        file: a path that ends with .gif, .webp or .html.
        seconds: how long one round takes.
        note: a text to keep inside the file, such as its provenance.
    """
    rendering = result.value if isinstance(result, Run) else result
    if not isinstance(rendering, (Rendering, Circuit)):
        raise TapetumError(f"only made pictures and circuits can be animated, not {type(rendering).__name__}")
    path = Path(file)
    write = WRITERS.get(path.suffix.lower())
    if write is None:
        raise TapetumError(f"an animation is a {', '.join(WRITERS)} file, not '{path.name}'")
    if not 0 < seconds <= 600:
        raise TapetumError(f"a round takes up to 600 seconds, not {seconds:g}")
    film = walked(rendering) if isinstance(rendering, Circuit) else filmed(rendering)
    with writable(path, ELSEWHERE), whole_file(path) as unfinished:
        write(film, unfinished, seconds, note)
    return path


def filmed(result: Rendering) -> Film:
    """Returns the film of a rendering's frames; without frames, of its pictures one after the other."""
    method = result.method or "pictures"
    rows = range(min(len(result), MAX_PICTURES))
    if result.frames is not None:
        moments = tuple(step_words(result, frame) for frame in range(len(result.frames)))
        frames = tuple(tuple(tile(result, row, frame) for row in rows) for frame in range(len(result.frames)))
        names = tuple(unit_words(result.objectives[row]) for row in rows)
        more = some(len(rows), len(result), "pictures")
        return Film(f"{method}, step by step{more}", names, moments, frames)
    if len(result) < 2:
        raise TapetumError("one picture without frames does not move: keep some, frames=25")
    frames = tuple((tile(result, row),) for row in range(len(result)))
    return Film(f"{method}, picture by picture", (method,), tuple(map(unit_words, result.objectives)), frames)


def walked(circuit: Circuit) -> Film:
    """Returns the film of a circuit: one scene per layer, in the order in which they run, the score at last."""
    moments, pictures = scenes(circuit)
    return Film(f"Circuit of {circuit.target}, layer by layer", ("circuit",), moments, tuple((one,) for one in pictures))


def _moving(film: Film, path: Path, seconds: float | int, **more: Any) -> None:
    """Writes an animation (GIF or WebP) of a film; the last frame stays for a moment."""
    columns = across(len(film.names), MAX_PICTURES)
    first, *rest = [Image.fromarray(to_uint8(collage(frame, columns))) for frame in film.frames]
    stay = max(20, round(1000 * seconds / len(film.frames)))  # ms; browsers slow a GIF of less than 20 ms down
    times = [stay] * len(rest) + [max(stay, LAST_FRAME_MS)]
    first.save(path, save_all=True, append_images=rest, duration=times, loop=0, **more)


def _gif(film: Film, path: Path, seconds: float | int, note: str) -> None:
    _moving(film, path, seconds, format="GIF", comment=f"{MARK} {note}".encode())


def _webp(film: Film, path: Path, seconds: float | int, note: str) -> None:
    _moving(film, path, seconds, format="WEBP", xmp=f"{MARK} {note}".encode(), quality=90, method=4)


def _html(film: Film, path: Path, seconds: float | int, note: str) -> None:
    path.write_text(strip_page(film.title, film.names, film.moments, film.frames, seconds, note), "utf-8")


WRITERS: dict[str, Callable[[Film, Path, float | int, str], None]] = {".gif": _gif, ".webp": _webp, ".html": _html}
