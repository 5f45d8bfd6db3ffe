"""The HTTP judge, against a real server that answers as a test tells it to."""

import asyncio
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from hand_made import Made, make_task, make_trajectory

from hiper.config.sections import RewardSettings
from services.reward.judge import MAX_ANSWER_BYTES
from services.reward.plugins import PluginTerms, TermError

PLAYED = make_trajectory([Made(switch=True), Made()], task=make_task(3))
GOOD = (200, b'{"rewards": [0.5, -1], "comment": "ignored"}')


class Judge(ThreadingHTTPServer):
    """Answers in order; the last answer stays. A closed `gate` holds every answer back."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers = [GOOD]
        self.requests: list[tuple[dict[str, str], dict[str, object]]] = []
        self.gate = threading.Event()
        self.gate.set()
        self.lock = threading.Lock()
        self.inside = self.most = 0

    def handle_error(self, *_: object) -> None:
        """A client that has given up is no news."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/judge?rubric=3"


class _Handler(BaseHTTPRequestHandler):
    server: Judge

    def do_POST(self) -> None:
        judge = self.server
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        with judge.lock:
            judge.requests.append((dict(self.headers), body))
            judge.inside += 1
            judge.most = max(judge.most, judge.inside)
            status, answer = judge.answers.pop(0) if len(judge.answers) > 1 else judge.answers[0]
        judge.gate.wait(30)
        with judge.lock:
            judge.inside -= 1
        self.send_response(status)
        self.send_header("location", "/elsewhere")
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def judge() -> Iterator[Judge]:
    with Judge() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield server
        server.gate.set()
        server.shutdown()
        thread.join(10)


async def ask(judge: Judge, times: int = 1, timeout_s: float = 30.0, **settings: object) -> list[object]:
    """Weighted rewards, or the error, of `times` trajectories at once."""
    term = {"judge": {"url": judge.url, **settings}, "weight": 2, "timeout_s": timeout_s, "options": {"rubric": "kind"}}
    terms = PluginTerms(RewardSettings(terms={"tone": term}))
    try:
        found = await asyncio.gather(*(terms.rewards(PLAYED) for _ in range(times)), return_exceptions=True)
    finally:
        await terms.aclose()
    return [one if isinstance(one, BaseException) else one["tone"].tolist() for one in found]


async def test_it_posts_the_trajectory_and_takes_one_number_per_turn(judge: Judge) -> None:
    assert await ask(judge) == [[1.0, -2.0]]
    [(headers, request)] = judge.requests
    assert headers["content-type"] == "application/json"
    assert "authorization" not in headers
    assert (request["term"], request["options"]) == ("tone", {"rubric": "kind"})
    trajectory = request["trajectory"]
    assert trajectory["trajectory_id"] == "test/train-000000/0/3"
    assert [turn["is_switch"] for turn in trajectory["turns"]] == [True, False]


async def test_its_token_comes_from_a_file_or_the_environment(
    judge: Judge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "token").write_text("from-file\n")
    monkeypatch.setenv("JUDGE_TOKEN", "from-environment")
    await ask(judge, token_file=tmp_path / "token")
    await ask(judge, token_env="JUDGE_TOKEN")
    sent = [{name.lower(): value for name, value in headers.items()}["authorization"] for headers, _ in judge.requests]
    assert sent == ["Bearer from-file", "Bearer from-environment"]


@pytest.mark.parametrize("answer", [(503, b"busy"), (500, b""), (429, b"slow down")])
async def test_it_is_asked_again_where_that_may_help(judge: Judge, answer: tuple[int, bytes]) -> None:
    judge.answers = [answer, answer, GOOD]
    assert await ask(judge, retries=2) == [[1.0, -2.0]]
    assert len(judge.requests) == 3


async def test_retries_are_bounded_and_the_last_answer_is_told(judge: Judge) -> None:
    judge.answers = [(503, b"no\ncapacity")]
    [error] = await ask(judge, retries=1)
    assert isinstance(error, TermError)
    assert f"judge {judge.url.partition('?')[0]}: 2 attempts, the last: HTTP 503 no capacity" in str(error)
    assert len(judge.requests) == 2


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ((400, b"unknown rubric"), "HTTP 400 unknown rubric"),
        ((401, b""), "HTTP 401"),
        ((302, b""), "HTTP 302"),
        ((200, b"fine"), "not JSON with a list 'rewards'"),
        ((200, b"[1, 2]"), "not JSON with a list 'rewards'"),
        ((200, b'{"rewards": 3}'), "'rewards' is not a list"),
        ((200, b'{"rewards": [1, null]}'), "no list of numbers"),
        ((200, b'{"rewards": [1, NaN]}'), "returned nan for turn 1"),
        ((200, b'{"rewards": [1]}'), "returned 1 numbers for 2 turns"),
        ((200, b" " * (MAX_ANSWER_BYTES + 1)), "longer than 1,048,576 bytes"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_a_refusal_or_nonsense_is_told_at_once(judge: Judge, answer: tuple[int, bytes], message: str) -> None:
    judge.answers = [answer]
    [error] = await ask(judge, retries=5)
    assert isinstance(error, TermError)
    assert message in str(error)
    assert len(judge.requests) == 1


async def test_one_that_does_not_answer_runs_into_both_bounds(judge: Judge) -> None:
    judge.gate.clear()
    [error] = await ask(judge, attempt_timeout_s=0.1, retries=1)
    assert "2 attempts, the last: no answer within 0.1 s" in str(error)
    [error] = await ask(judge, timeout_s=0.3, attempt_timeout_s=0.1, retries=1000)
    assert isinstance(error, TermError)
    assert error.reason == "deadline"


async def test_nobody_there_is_told(judge: Judge) -> None:
    judge.server_close()
    [error] = await ask(judge, retries=0)
    assert "1 attempts, the last: Connect" in str(error)


async def test_requests_at_once_are_bounded_and_waiting_for_a_turn_is_not_charged(judge: Judge) -> None:
    judge.gate.clear()
    asking = asyncio.create_task(ask(judge, times=6, concurrency=2, timeout_s=20))
    async with asyncio.timeout(20):
        while judge.inside < 2:  # noqa: ASYNC110 - the server is a thread
            await asyncio.sleep(0.005)
    judge.gate.set()
    assert await asking == [[1.0, -2.0]] * 6
    assert judge.most <= 2
