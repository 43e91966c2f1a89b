"""Answers that last as long as a job, and end it when the client has gone."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from tapetum.studios.jobs import Job, Jobs

STREAM = "text/event-stream"
T = TypeVar("T")


async def unless_gone(work: Coroutine[Any, Any, T], receive: Receive) -> T | None:
    """Returns what `work` returns; None, with `work` ended, if the client goes before."""

    async def gone() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    working, leaving = asyncio.ensure_future(work), asyncio.ensure_future(gone())
    try:
        await asyncio.wait((working, leaving), return_when=asyncio.FIRST_COMPLETED)
        return working.result() if working.done() else None
    finally:
        for task in (working, leaving):
            task.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)


class Streamed(Response):
    """A job's events as server-sent events; the job ends when nobody listens any more."""

    media_type = STREAM

    def __init__(self, jobs: Jobs, job: Job) -> None:
        super().__init__(headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self.jobs = jobs
        self.job, self.listener = jobs.listen(job)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def stream() -> None:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            async for event in self.listener.events():
                line = b": alive\n\n" if event is None else event.line
                await send({"type": "http.response.body", "body": line, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})

        try:
            await unless_gone(stream(), receive)
        finally:
            self.jobs.leave(self.job, self.listener)
