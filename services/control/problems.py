"""Every error of the API as `application/problem+json` (RFC 9457), with a `code` for programs and a `hint`."""

from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict
from starlette.exceptions import HTTPException

from hiper import logs
from hiper.errors import ConfigError, DependencyError, HiperError, RunStateError

__all__ = ["ProblemBody", "ProblemError", "answers", "install"]

MEDIA_TYPE = "application/problem+json"


class ProblemBody(BaseModel):
    """What an error says."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    type: str = "about:blank"
    title: str
    """Short and always the same for a `code`."""
    status: int
    detail: str
    """What happened, this time."""
    instance: str
    """Path that was asked for."""
    code: str
    hint: str = ""
    """What to do."""
    errors: list[dict[str, str]] = []
    """Of a request that is not valid: `where` and `message` of each fault."""


class ProblemError(Exception):
    """An error answer."""

    def __init__(self, status: HTTPStatus, code: str, detail: str, hint: str = "") -> None:
        super().__init__(detail)
        self.status, self.code, self.detail, self.hint = status, code, detail, hint


_STATUS: tuple[tuple[type[HiperError], HTTPStatus, str], ...] = (
    (DependencyError, HTTPStatus.SERVICE_UNAVAILABLE, "unavailable"),
    (RunStateError, HTTPStatus.CONFLICT, "state"),
    (ConfigError, HTTPStatus.UNPROCESSABLE_ENTITY, "refused"),
)
_MEANING = {
    401: "The bearer token is missing or wrong.",
    403: "The Host or Origin of the request is not ours.",
    404: "There is no such thing.",
    409: "The run is not in a state for this.",
    422: "The request is not valid.",
    503: "The broker or the cluster does not answer.",
}


def answers(*more: int) -> dict[int | str, dict[str, Any]]:
    """Documentation of the errors a route can answer with; some come with every route."""
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemBody"}}}
    codes = sorted({401, 403, 422, 503, *more})
    return {code: {"description": _MEANING[code], "content": content} for code in codes}


def install(app: FastAPI) -> None:
    """Have `app` answer every error as a problem."""

    @app.exception_handler(ProblemError)
    async def on_problem(request: Request, error: ProblemError) -> JSONResponse:
        return _answer(request, error.status, error.code, error.detail, hint=error.hint)

    @app.exception_handler(HiperError)
    async def on_failure(request: Request, error: HiperError) -> JSONResponse:
        for kind, status, code in _STATUS:
            if isinstance(error, kind):
                return _answer(request, status, code, error.message, hint=error.hint)
        return _answer(request, HTTPStatus.INTERNAL_SERVER_ERROR, "failure", error.message, hint=error.hint)

    @app.exception_handler(RequestValidationError)
    async def on_invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        faults = [{"where": ".".join(map(str, fault["loc"])), "message": fault["msg"]} for fault in error.errors()]
        detail = "; ".join(f"{fault['where']}: {fault['message']}" for fault in faults)
        return _answer(request, HTTPStatus.UNPROCESSABLE_ENTITY, "invalid", detail, errors=faults)

    @app.exception_handler(HTTPException)
    async def on_http(request: Request, error: HTTPException) -> JSONResponse:
        status = HTTPStatus(error.status_code)
        if status is HTTPStatus.BAD_REQUEST:  # FastAPI's word for a body that is no text; one that is no JSON gets 422
            return _answer(request, HTTPStatus.UNPROCESSABLE_ENTITY, "invalid", "the body is not JSON in UTF-8")
        answer = _answer(request, status, status.name.lower(), str(error.detail))
        answer.headers.update(error.headers or {})
        return answer

    @app.exception_handler(Exception)
    async def on_defect(request: Request, error: Exception) -> JSONResponse:
        logs.get().error("request failed", path=request.url.path, exc_info=error)
        detail = "an unexpected error; the service's log has it"
        return _answer(request, HTTPStatus.INTERNAL_SERVER_ERROR, "internal", detail)


def _answer(request: Request, status: HTTPStatus, code: str, detail: str, **more: Any) -> JSONResponse:
    body = ProblemBody(title=status.phrase, status=status, detail=detail, instance=request.url.path, code=code, **more)
    headers = {"WWW-Authenticate": "Bearer"} if status is HTTPStatus.UNAUTHORIZED else None
    return JSONResponse(body.model_dump(), status, headers, media_type=MEDIA_TYPE)
