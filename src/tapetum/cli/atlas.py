"""`tapetum atlas build | serve | export`: a microscope for a model, as a folder, a site, a server on this computer."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from tapetum.cli.folders import GOES_ON, placed, writing
from tapetum.cli.options import MODEL_HELP, asks_for_model
from tapetum.cli.terminal import bar, note, one_line, say
from tapetum.types import TapetumError

if TYPE_CHECKING:
    from tapetum.engines.scan import Runner

LISTED = 10
"""Skipped pictures that are named on the terminal; the atlas names a hundred."""

atlas = typer.Typer(no_args_is_help=True, rich_markup_mode="markdown")

Folder = Annotated[Path, typer.Argument(help="The folder of a built atlas.", metavar="DIR")]


@atlas.command()
@asks_for_model()
def build(
    data: Annotated[str, typer.Argument(help="A folder, tar shards, imagenette, hf:NAME.", metavar="DATA")],
    model: Annotated[Any, typer.Option(help=MODEL_HELP)] = "efficientnet_lite0",
    out: Annotated[Path, typer.Option(help="A new or empty folder, or one that an earlier run began.")] = Path("tapetum-atlas"),
    layers: Annotated[
        str | None, typer.Option(help="Names or globs with commas between; without it every block's output.")
    ] = None,
    render: Annotated[str, typer.Option(help="Layers whose units are rendered, with commas between; auto, or none.")] = "auto",
    minutes: Annotated[float, typer.Option(help="What --render auto may take.", min=0)] = 15.0,
    maps: Annotated[
        str, typer.Option("--map", help="Layers with an activation atlas, with commas between; auto, or none.")
    ] = "auto",
    workers: Annotated[int | None, typer.Option(help="Threads; without it one a core.", min=1)] = None,
    ray: Annotated[
        str | None, typer.Option(help="The scan on a Ray cluster whose machines all see --out: auto, local, or an address.")
    ] = None,
    limit: Annotated[int | None, typer.Option(help="Only so many pictures, from the start.", min=1)] = None,
    resume: Annotated[bool, typer.Option(help="Go on where an earlier run stopped; else everything is made again.")] = True,
) -> None:
    """Every unit of a model with what it looks for in a data set: a site that opens from a file, with a link for each unit."""
    from tapetum.atlas.build import build as built

    with bar("atlas") as watcher:
        from tapetum.progress import watching

        network = model.load()
        try:
            with watching(watcher), writing(placed(out), GOES_ON):
                done = built(
                    network,
                    data,
                    out,
                    layers=_names(layers),
                    render=_some(render),
                    minutes=minutes,
                    maps=_some(maps),
                    workers=workers,
                    run=_runner(ray),
                    resume=resume,
                    limit=limit,
                )
        except KeyboardInterrupt:
            note(f"what is finished is kept in {one_line(out)}: the same command goes on from there")
            raise
    for text in done.notes:
        note(text)
    for name, reason in list(done.skipped.items())[:LISTED]:
        note(f"skipped {name}: {reason}")
    if len(done.skipped) > LISTED:
        note(f"... and {len(done.skipped) - LISTED} more pictures that could not be read")
    note(f"{done.units:,} units over {done.pictures:,} pictures")
    say(str(done.index))
    raise SystemExit(1 if done.skipped else 0)


def _runner(ray: str | None) -> Runner | None:
    if ray is None:
        return None
    from tapetum.runners.ray_actors import Ray

    return Ray(ray)


def _some(text: str) -> Literal["auto"] | list[str] | None:
    """Layers, or that they are to be found out, or none."""
    return "auto" if text == "auto" else _names(None if text == "none" else text)


def _names(text: str | None) -> list[str] | None:
    if text is None:
        return None
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names:
        raise TapetumError("no layer is named; give names or globs with commas between")
    return names


@atlas.command()
def export(
    folder: Folder,
    out: Annotated[Path | None, typer.Option(help="A new or empty folder, or an earlier site; DIR/site without it.")] = None,
) -> None:
    """The static site of an atlas: a folder that opens from a file or from any web host, without a server."""
    from tapetum.atlas.export import export as exported
    from tapetum.progress import watching

    site = placed(folder / "site" if out is None else out)
    with bar("site") as watcher, watching(watcher), writing(site):
        index = exported(folder, out)
    say(str(index))


@atlas.command()
@asks_for_model()
def serve(
    folder: Folder,
    host: Annotated[str, typer.Option(help="0.0.0.0 lets other computers in; nothing is encrypted.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="0: any that is free.", min=0, max=65535)] = 7870,
    model: Annotated[Any, typer.Option(help="Where the model is now, if it has moved.")] = None,
) -> None:
    """The atlas in a browser, where it also answers which units fire on any picture. Ctrl-C ends it."""
    from tapetum.atlas.asking import Asking, told_by
    from tapetum.atlas.serve import Server

    asking = Asking(folder, None if model is None else lambda: model.load(told_by(folder, model.settings)))
    with Server(asking, host, port) as server:
        for sign in (signal.SIGINT, signal.SIGTERM):
            signal.signal(sign, lambda *_: os._exit(0))  # at once, whatever is under way: nothing is written here
        say(server.address)
        sys.stdout.flush()
        server.run()
