"""The studio's application: one small API over the registry, and the page's files."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import FastAPI, Query, Request
from fastapi import Path as InPath
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from tapetum.files import shown
from tapetum.processor import processor
from tapetum.studios.asking import ModelBody, PictureId, RunBody
from tapetum.studios.describing import QUESTIONS, all_methods, colours, version
from tapetum.studios.guarding import Guard, Guarded, owner_of
from tapetum.studios.jobs import MOST_OF_ONE, Job
from tapetum.studios.listening import LAST, Event
from tapetum.studios.pictures import CREDITS, LONGEST_PX, MOST_BYTES, MOST_PIXELS, OF_ONE, Picture
from tapetum.studios.refusals import NoSuchPicture, StudioError
from tapetum.studios.streaming import STREAM, Streamed, unless_gone
from tapetum.studios.studio import Studio
from tapetum.types import TapetumError

JSON = "application/json"
PICTURES_AT_ONCE = 4
"""Largest number of pictures that are decoded at a time, and half of those that are received; others wait."""
SITE = Path(str(files("tapetum.studios").joinpath("site")))


class Refusal(BaseModel):
    """Why something cannot be answered, and what would work."""

    message: str
    kind: str


REFUSALS: dict[int | str, dict[str, Any]] = {
    code: {"model": Refusal, "description": words}
    for code, words in (
        (400, "The request cannot be answered as it is."), (401, "The token is missing."), (403, "This is not allowed."),
        (404, "There is no such thing."), (408, "The request did not arrive in time."), (413, "Too much was sent."),
        (422, "A field is missing or wrong."), (429, "Too many jobs wait already."),
        (503, "Too many requests at a time, or the studio is closing."),
    )
}  # fmt: skip
ANSWERS = {200: {"description": "The result, or the events of its making.", "content": {JSON: {}, STREAM: {}}}, **REFUSALS}
JobId = Annotated[str, InPath(pattern="^[0-9a-f]{16}$")]


def application(studio: Studio, guard: Guard) -> Guarded:
    """Returns the application of a studio, with its guard around it."""

    @asynccontextmanager
    async def life(_: FastAPI) -> AsyncIterator[None]:
        yield
        await run_in_threadpool(studio.close)

    app = FastAPI(
        title="tapetum studio", version=version(), openapi_url="/api/openapi.json", docs_url=None, redoc_url=None,
        lifespan=life, description="Runs of tapetum's registry for one page; see docs/howto/studio.md.", redirect_slashes=False,
    )  # fmt: skip
    _facts(app, studio, guard)
    _pictures(app, studio)
    _work(app, studio)
    _site(app, studio, guard)
    _refusing(app)
    return Guarded(app, guard)


def _refusing(app: FastAPI) -> None:
    """Answers every refusal as one line that says what works."""

    def answer(status: int, message: str, kind: str) -> JSONResponse:
        return JSONResponse({"message": message, "kind": kind}, status)

    @app.exception_handler(TapetumError)
    async def _(_: Request, error: TapetumError) -> JSONResponse:
        status = error.status if isinstance(error, StudioError) else 400
        return answer(status, str(error), type(error).__name__)

    @app.exception_handler(RequestValidationError)
    async def _(_: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        if first["type"] == "json_invalid":
            return answer(422, "the question is not JSON", "RequestError")
        place = ".".join(str(part) for part in first["loc"] if part not in ("body", "query", "path"))
        return answer(422, f"{shown(place) or 'the question'}: {shown(first['msg'])}", "RequestError")

    @app.exception_handler(HTTPException)
    async def _(_: Request, error: HTTPException) -> JSONResponse:
        if isinstance(error.__cause__, StudioError):  # the body was refused while it was read
            return answer(error.__cause__.status, str(error.__cause__), type(error.__cause__).__name__)
        text = {
            400: "the question cannot be read as JSON", 404: "there is no such address here; api/openapi.json lists all",
            405: "this address takes other methods",
        }  # fmt: skip
        return answer(error.status_code, text.get(error.status_code, str(error.detail)), "HTTPException")

    @app.exception_handler(Exception)
    async def _(_: Request, error: Exception) -> JSONResponse:
        return answer(500, f"the studio failed at this ({type(error).__name__}); it goes on with others", "Failure")


# --- facts


def _facts(app: FastAPI, studio: Studio, guard: Guard) -> None:
    @app.get("/api/about", responses=REFUSALS)
    async def about(request: Request) -> dict[str, Any]:
        """Says what this studio is, with its limits, colours, sample pictures and networks."""
        if not guard.knows(request.headers):
            return {"version": version(), "token": True}
        key = f"{guard.key}/" if guard.key else ""
        samples = [_picture(one) for one in (await run_in_threadpool(lambda: studio.pictures.samples)).values()]
        return {
            "version": version(), "token": False, "processor": processor(), "palette": colours(), "samples": samples,
            "first": studio.networks.first, "models": studio.networks.groups, "questions": QUESTIONS,
            "atlas": f"atlas/{key}" if studio.atlas else None, "reports": studio.reports(key),
            "limits": {
                "picture_bytes": MOST_BYTES, "picture_pixels": MOST_PIXELS, "pictures": OF_ONE, "waiting": MOST_OF_ONE,
                "results_at_once": 6,
            },
        }  # fmt: skip

    @app.get("/api/methods", responses=REFUSALS)
    async def methods() -> list[dict[str, Any]]:
        """Lists every method with its parameters, from which the page makes its controls."""
        return await run_in_threadpool(all_methods)


def _picture(one: Picture) -> dict[str, Any]:
    uri = f"data:image/webp;base64,{base64.b64encode(one.thumbnail).decode()}"
    facts = {"id": one.id, "name": one.name, "width": one.width, "height": one.height, "thumbnail": uri}
    return {**facts, "sample": one.sample, "credit": CREDITS[one.sample] if one.sample else None}


# --- pictures


def _pictures(app: FastAPI, studio: Studio) -> None:
    receiving, few = asyncio.Semaphore(2 * PICTURES_AT_ONCE), asyncio.Semaphore(PICTURES_AT_ONCE)

    @app.post(
        "/api/pictures",
        responses=REFUSALS,
        openapi_extra={
            "requestBody": {"required": True, "content": {"application/octet-stream": {"schema": {"format": "binary"}}}}
        },
    )
    async def send(request: Request, name: str = "picture") -> dict[str, Any]:
        """Keeps a picture, sent as the bytes of its file, and returns its id."""
        owner, called = owner_of(request.headers, request.client), shown(name.replace("/", "_").replace("\\", "_"))
        async with receiving:
            data = await request.body()
            async with few:
                return _picture(await run_in_threadpool(studio.pictures.add, owner, data, called))

    image = {200: {"content": {"image/webp": {}}, "description": "The picture, encoded anew."}}

    @app.get("/api/pictures/{picture}", responses={**image, **REFUSALS}, response_class=Response)
    async def picture(
        picture: Annotated[PictureId, InPath()],
        request: Request,
        side: Annotated[int, Query(ge=16, le=LONGEST_PX)] = 1200,
    ) -> Response:
        """Returns a picture, its longer side at most `side` px."""
        one = studio.pictures.get(owner_of(request.headers, request.client), picture)
        async with few:
            data = await run_in_threadpool(studio.pictures.encoded, one, side)
        return Response(data, media_type="image/webp", headers={"Cache-Control": "private, max-age=3600"})

    seen = {200: {"content": {"image/png": {}}, "description": "The part that the network saw."}}

    @app.get("/api/pictures/{picture}/seen", responses={**seen, **REFUSALS}, response_class=Response)
    async def crop(
        picture: Annotated[PictureId, InPath()],
        model: Annotated[str, Query(max_length=200)],
        request: Request,
        weights: Literal["default", "random"] = "default",
    ) -> Response:
        """Returns the part of a picture that a network saw, at its own size."""
        owner = owner_of(request.headers, request.client)
        async with few:
            found = await run_in_threadpool(studio.seen_job, owner, picture, model, weights)
        if isinstance(found, Job):
            return await _waited(request, studio, found, "image/png")
        return Response(found, media_type="image/png", headers={"Cache-Control": "private, max-age=3600"})


# --- work


def _work(app: FastAPI, studio: Studio) -> None:
    @app.post("/api/model", responses=ANSWERS)
    async def model(body: ModelBody, request: Request) -> Response:
        """Loads a network; its answer lists the layers and classes."""
        return await _answered(request, studio, studio.model_job(owner_of(request.headers, request.client), body))

    @app.post("/api/run", responses=ANSWERS)
    async def run(body: RunBody, request: Request) -> Response:
        """Runs a method; the answer streams progress and pictures where `Accept` is text/event-stream."""
        owner = owner_of(request.headers, request.client)
        job = await run_in_threadpool(studio.run_job, owner, body)
        if isinstance(job, bytes):
            return _known(request, job)
        return await _answered(request, studio, job)

    zipped = {200: {"content": {"application/zip": {}}, "description": "Picture, arrays, code."}, **REFUSALS}

    @app.post("/api/export", responses=zipped, response_class=Response)
    async def export(body: RunBody, request: Request) -> Response:
        """Runs a method, and returns its result as a zip file: picture with provenance, arrays, code."""
        job = await run_in_threadpool(studio.export_job, owner_of(request.headers, request.client), body)
        return await _waited(request, studio, job, "application/zip")

    @app.post("/api/jobs/{job}/{what}", responses=REFUSALS)
    async def control(job: JobId, what: Literal["pause", "continue"], request: Request) -> dict[str, str]:
        """Pauses a job where it is, or lets it go on."""
        found = studio.jobs.of(owner_of(request.headers, request.client), job)
        if what == "pause":
            studio.jobs.pause(found)
        else:
            found.go_on()
        return {"job": job, "state": found.state}

    @app.delete("/api/jobs/{job}", responses=REFUSALS)
    async def stop(job: JobId, request: Request) -> dict[str, str]:
        """Stops a job."""
        found = studio.jobs.of(owner_of(request.headers, request.client), job)
        await run_in_threadpool(found.stop)
        return {"job": job, "state": "ended"}


def _streams(request: Request) -> bool:
    return STREAM in request.headers.get("accept", "")


def _known(request: Request, answer: bytes) -> Response:
    """Returns an answer that was there already."""
    if not _streams(request):
        return Response(answer, media_type=JSON)
    return Response(Event("result", answer).line, media_type=STREAM, headers={"Cache-Control": "no-store"})


async def _answered(request: Request, studio: Studio, job: Job) -> Response:
    return Streamed(studio.jobs, job) if _streams(request) else await _waited(request, studio, job, JSON)


async def _waited(request: Request, studio: Studio, job: Job, kind: str) -> Response:
    """Waits for a job; ends it when the client has gone."""
    job, listener = studio.jobs.listen(job)

    async def last() -> Event | None:
        async for event in listener.events():
            if event is not None and event.name in LAST:
                return event
        return None

    try:
        event = await unless_gone(last(), request.receive)
    finally:
        studio.jobs.leave(job, listener)
    if event is None:
        return Response(status_code=204)  # nobody reads it
    if event.name == "result":
        return Response(event.json, media_type=kind, headers={"Cache-Control": "no-store"})
    return Response(event.json, 400, media_type=JSON)


# --- the page


def _site(app: FastAPI, studio: Studio, guard: Guard) -> None:
    @app.get("/{path:path}", include_in_schema=False)
    async def file(path: str, request: Request) -> Response:
        known = guard.keyless(path)
        found = None if known is None else await run_in_threadpool(studio.file, known, SITE)
        if found is None:
            raise NoSuchPicture("there is no such file here; the studio's page is at its root")
        data, kind, etag, headers = found
        if etag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers={"ETag": etag})
        return Response(data, media_type=kind, headers={"ETag": etag, "Cache-Control": "no-cache", **headers})
