"""Refusals that only a server knows, each with its HTTP status."""

from __future__ import annotations

from tapetum.types import TapetumError


class StudioError(TapetumError):
    status = 400


class Busy(StudioError):
    status = 429


class Closing(StudioError):
    status = 503


class NoSuchJob(StudioError):
    status = 404


class NoSuchPicture(StudioError):
    status = 404


class NotAllowed(StudioError):
    status = 403


class NoToken(StudioError):
    status = 401


class TooLarge(StudioError):
    status = 413


class TooSlow(StudioError):
    status = 408


class Overrun(StudioError):
    status = 503


class NotPlain(StudioError):
    status = 422
