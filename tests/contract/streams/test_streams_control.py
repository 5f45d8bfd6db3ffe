"""Requests reach the learner once, whatever is repeated, and the record never grows."""

from stream_world import Pipeline

from hiper.streams import ControlRecord, RunControl, RunPhase


def open_requests(record: ControlRecord) -> list[str]:
    asked = {"pause": record.paused, "stop": record.stop_asked, "evaluate": record.evaluation_asked}
    return [name for name, is_open in asked.items() if is_open]


async def test_a_run_nobody_asked_anything_of_just_runs(pipeline: Pipeline) -> None:
    record = await RunControl(pipeline.broker).read()
    assert record == ControlRecord()
    assert open_requests(record) == []


async def test_requests_are_open_until_they_are_taken(pipeline: Pipeline) -> None:
    control = RunControl(pipeline.broker)
    await control.pause(True)
    await control.ask_stop()
    await control.ask_evaluation()
    asked = await control.read()
    assert open_requests(asked) == ["pause", "stop", "evaluate"]
    await control.evaluation_taken(asked)
    await control.stop_taken(asked)
    await control.pause(False)
    assert open_requests(await control.read()) == []


async def test_a_request_made_while_an_earlier_one_is_carried_out_stays_open(pipeline: Pipeline) -> None:
    control = RunControl(pipeline.broker)
    await control.ask_evaluation()
    first = await control.read()
    await control.ask_evaluation()
    await control.evaluation_taken(first)
    assert (await control.read()).evaluation_asked


async def test_the_learner_says_what_is_in_force_and_nothing_else_is_kept(pipeline: Pipeline) -> None:
    control = RunControl(pipeline.broker)
    for version in range(20):
        await control.ask_evaluation()
        await control.evaluation_taken(await control.read())
        await control.say(RunPhase.PAUSED if version % 2 else RunPhase.RUNNING, version)
    record = await control.read()
    assert (record.phase, record.policy_version) == ("paused", 19)
    fields = await pipeline.broker.command("HGETALL", pipeline.broker.keys.control)
    assert {name.decode() for name in fields} == {"evaluate", "evaluate_done", "phase", "policy_version"}
