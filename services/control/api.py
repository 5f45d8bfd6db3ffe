"""The API: routes, and nothing a route would not need.

`/healthz`, `/readyz` and `/version` answer anybody; everything below `/api/v1` asks `access` first. Requests that
change a run are wishes (202): the learner takes them up between iterations, and `GET /api/v1/run` tells what is so.
"""

from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Annotated, TypeVar

from fastapi import APIRouter, Depends, FastAPI, Path, Query

from hiper.errors import BrokerError, HiperError
from hiper.service import Health
from hiper.service.http import create_app
from hiper.streams import DeadLetters, PolicyBoard, RunControl, snapshot
from services.control.access import Access, guard
from services.control.desk import Desk
from services.control.models import (
    DeadLetterDetail,
    DeadLetterPage,
    DeadLetterSummary,
    EntryId,
    LetterPage,
    Lines,
    Page,
    Pipeline,
    Replicas,
    RunSummary,
    ServiceStatus,
    Settled,
)
from services.control.problems import ProblemBody, ProblemError, answers, install
from services.control.scaling import Scaler
from services.control.trajectories import trajectory_routes

__all__ = ["create_api"]

T = TypeVar("T")
_LETTER = Annotated[EntryId, Path(description="Id of the dead letter, as listed.")]


def create_api(desk: Desk, scaler: Scaler, access: Access, health: Health) -> FastAPI:
    """Build the app."""
    app = create_app("control", health)
    install(app)
    protected = APIRouter(prefix="/api/v1", dependencies=[Depends(guard(access))], responses=answers())
    for router in (_run(desk), _services(scaler), trajectory_routes(desk), _dead_letters(desk)):
        protected.include_router(router)
    _describe(app)

    @protected.get("/openapi.json", include_in_schema=False)
    def document() -> dict[str, object]:
        return app.openapi()

    app.include_router(protected)
    return app


def _run(desk: Desk) -> APIRouter:
    router = APIRouter(prefix="/run", tags=["run"])

    @router.get("", operation_id="getRun")
    async def get_run() -> RunSummary:
        """Say how far the run is, and what is wished of it."""
        return await _summary(desk)

    @router.post("/pause", status_code=202, operation_id="pauseRun")
    async def pause() -> RunSummary:
        """Issue and apply nothing from the next iteration on; a checkpoint holds everything meanwhile."""
        await desk.ask(lambda broker: RunControl(broker).pause(True))
        return await _summary(desk)

    @router.post("/resume", status_code=202, operation_id="resumeRun")
    async def resume() -> RunSummary:
        """Go on after a pause."""
        await desk.ask(lambda broker: RunControl(broker).pause(False))
        return await _summary(desk)

    @router.post("/stop", status_code=202, operation_id="stopRun")
    async def stop() -> RunSummary:
        """End the run at its next version, with a checkpoint. `hiper up` on its directory goes on with it."""
        await desk.ask(lambda broker: RunControl(broker).ask_stop())
        return await _summary(desk)

    @router.post("/evaluations", status_code=202, operation_id="requestEvaluation")
    async def evaluate() -> RunSummary:
        """Evaluate the next version. A second request before that is the same request."""
        await desk.ask(lambda broker: RunControl(broker).ask_evaluation())
        return await _summary(desk)

    @router.get("/pipeline", operation_id="getPipeline")
    async def pipeline() -> Pipeline:
        """Measure every stage at one instant."""
        return Pipeline.of(await desk.ask(snapshot))

    @router.get("/iterations", operation_id="listIterations")
    async def iterations(page: Annotated[Page, Query()]) -> Lines:
        """Return the last lines of metrics.jsonl, one per policy version."""
        return Lines(items=desk.files.metrics()[-page.limit :])

    @router.get("/evaluations", operation_id="listEvaluations")
    async def evaluations(page: Annotated[Page, Query()]) -> Lines:
        """Return the last lines of evals.jsonl, one per evaluation."""
        return Lines(items=desk.files.evaluations()[-page.limit :])

    return router


async def _summary(desk: Desk) -> RunSummary:
    record = await desk.ask(lambda broker: RunControl(broker).read())
    policy = await desk.ask(lambda broker: PolicyBoard(broker).read())
    iterations, evaluations = desk.files.metrics(), desk.files.evaluations()
    return RunSummary(
        run=desk.config.run,
        phase=record.phase,
        pause_requested=record.paused,
        stop_requested=record.stop_asked,
        evaluation_requested=record.evaluation_asked,
        policy_version=policy.version if policy else None,
        generation=policy.generation if policy else None,
        iterations=desk.config.learner.iterations,
        last_iteration=iterations[-1] if iterations else None,
        last_evaluation=evaluations[-1] if evaluations else None,
    )


def _services(scaler: Scaler) -> APIRouter:
    router = APIRouter(prefix="/services", tags=["services"])

    @router.get("", operation_id="listServices")
    async def list_services() -> list[ServiceStatus]:
        """List every service with its processes; empty where nobody says where they are."""
        return list(await scaler.services())

    @router.put("/{service}/replicas", status_code=202, operation_id="scaleService", responses=answers(404, 409))
    async def scale(service: Annotated[str, Path(max_length=100)], wanted: Replicas) -> ServiceStatus:
        """Change how many processes of a service there should be."""
        found = {status.service: status for status in await scaler.services()}.get(service)
        if found is None:
            raise ProblemError(
                HTTPStatus.NOT_FOUND, "not_found", f"there is no service '{service}'", "see /api/v1/services"
            )
        if not found.scalable:
            detail = f"the size of {service} is fixed"
            raise ProblemError(HTTPStatus.CONFLICT, "not_scalable", detail, scaler.why_fixed())
        await scaler.scale(service, wanted.replicas)
        return found.model_copy(update={"wanted": wanted.replicas})

    return router


def _dead_letters(desk: Desk) -> APIRouter:
    router = APIRouter(prefix="/dead-letters", tags=["dead letters"])

    @router.get("", operation_id="listDeadLetters")
    async def list_letters(page: Annotated[LetterPage, Query()]) -> DeadLetterPage:
        """List dead letters, the oldest first."""
        found = await desk.ask(lambda broker: DeadLetters(broker).list(page.limit + 1, page.after or ""))
        items = [DeadLetterSummary.of(letter) for letter in found[: page.limit]]
        return DeadLetterPage(items=items, next=items[-1].id if len(found) > page.limit else None)

    @router.get("/{entry_id}", operation_id="getDeadLetter", responses=answers(404))
    async def show(entry_id: _LETTER) -> DeadLetterDetail:
        """Show one dead letter."""
        return DeadLetterDetail.of(await _of(desk, entry_id, lambda letters: letters.show(entry_id)))

    @router.post("/{entry_id}/replay", operation_id="replayDeadLetter", responses=answers(404))
    async def replay(entry_id: _LETTER) -> Settled:
        """Put a dead letter back where it came from, as if it had never left."""
        if not await _of(desk, entry_id, lambda letters: letters.replay(entry_id)):
            raise _no_letter(entry_id)
        return Settled(id=entry_id, outcome="replayed")

    @router.delete("/{entry_id}", operation_id="purgeDeadLetter", responses=answers(404))
    async def purge(entry_id: _LETTER) -> Settled:
        """Throw a dead letter away for good; what it stood for counts as dropped."""
        if not await _of(desk, entry_id, lambda letters: letters.purge(entry_id)):
            raise _no_letter(entry_id)
        return Settled(id=entry_id, outcome="purged")

    return router


async def _of(desk: Desk, entry_id: str, question: Callable[[DeadLetters], Awaitable[T]]) -> T:
    try:
        return await desk.ask(lambda broker: question(DeadLetters(broker)))
    except BrokerError:
        raise
    except HiperError as error:  # the only other one: there is none of this id
        raise _no_letter(entry_id) from error


def _no_letter(entry_id: str) -> ProblemError:
    return ProblemError(
        HTTPStatus.NOT_FOUND, "not_found", f"there is no dead letter {entry_id}", "see /api/v1/dead-letters"
    )


def _describe(app: FastAPI) -> None:
    """Complete the OpenAPI document: the schema of problems, and the answers FastAPI would add in its own form."""
    plain = app.openapi

    def openapi() -> dict[str, object]:
        document = plain()
        schemas = document["components"]["schemas"]
        schemas["ProblemBody"] = ProblemBody.model_json_schema()
        for unused in ("HTTPValidationError", "ValidationError"):
            schemas.pop(unused, None)
        return document

    app.openapi = openapi  # type: ignore[method-assign]
