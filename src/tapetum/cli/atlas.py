"""`tapetum atlas build | serve | export`: an atlas of a model's units as a folder, a local server, or a static site."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from tapetum.cli.folders import placed, writing
from tapetum.cli.generated import AtlasGroup
from tapetum.cli.options import asks_for_model
from tapetum.cli.terminal import bar, say
from tapetum.progress import watching

atlas = typer.Typer(cls=AtlasGroup, no_args_is_help=True, rich_markup_mode="markdown")

Folder = Annotated[Path, typer.Argument(help="Folder of a built atlas.", metavar="DIR")]


@atlas.command()
def export(
    folder: Folder,
    out: Annotated[
        Path | None, typer.Option(help="Output folder: new, empty, or an earlier site; by default DIR/site.")
    ] = None,
    circuits: Annotated[
        Path | None, typer.Option(help="Folder with pages of `tapetum circuit`, to which the pages of their units link.")
    ] = None,
) -> None:
    """Writes the static site of an atlas: a folder that opens from a file or from any web host, without a server."""
    from tapetum.atlas.export import export as exported

    site = placed(folder / "site" if out is None else out)
    with bar("site") as watcher, watching(watcher), writing(site):
        index = exported(folder, out, circuits=circuits)
    say(str(index))


@atlas.command()
@asks_for_model()
def serve(
    folder: Folder,
    host: Annotated[
        str, typer.Option(help="Address to listen at; 0.0.0.0 lets other computers in, without encryption.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port; 0 for any that is free.", min=0, max=65535)] = 7870,
    model: Annotated[Any, typer.Option(help="Place of the model, if it has moved.")] = None,
) -> None:
    """Serves an atlas to a browser, where it also shows which units fire on any picture; Ctrl-C ends it."""
    from tapetum.atlas.asking import Asking, settings_of_atlas
    from tapetum.atlas.serve import Server

    asking = Asking(folder, None if model is None else lambda: model.load(settings_of_atlas(folder, model.settings)))
    with Server(asking, host, port) as server:
        for sign in (signal.SIGINT, signal.SIGTERM):
            signal.signal(sign, lambda *_: os._exit(0))  # ends at once, also during a request: nothing is written
        say(server.address)
        sys.stdout.flush()
        server.run()
