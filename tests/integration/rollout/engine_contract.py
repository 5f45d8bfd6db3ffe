"""What every engine that generates promises, asked of a real vLLM on a tiny model. The tests run in order."""

import asyncio
from dataclasses import dataclass
from pathlib import Path

import pytest
from tiny_models import EOS, logprobs_of, write_checkpoint

from hiper.config import RunConfig
from hiper.errors import IntegrityError, RemoteError
from hiper.vocabulary import PolicyVersion, StopReason
from services.rollout.engine import Engine, Generation, RequestRefused, Sampling

PROMPT = [5, 6, 7, 8, 9] * 4
PROMPT_LIMIT, RESPONSE_LIMIT = 190, 56
TOLERANCE = 1e-4
"""In nats; the engine and transformers multiply in another order."""
CHAINS = 16
"""Requests always in flight where a swap happens meanwhile."""
SWAPS = 20
"""Tries to swap while one of them is."""


@dataclass(frozen=True)
class World:
    engine: Engine
    directories: dict[int, Path]
    models: dict[int, object]

    async def sample(self, *, seed: int = 1, temperature: float = 1.0, prompt: list[int] = PROMPT) -> Generation:
        sampling = Sampling(temperature, 1.0, RESPONSE_LIMIT, seed)
        return await self.engine.generate(prompt, sampling, f"r-{seed}-{temperature}-{len(prompt)}-{id(object())}")

    def distance(self, version: int, generation: Generation, *, temperature: float = 1.0) -> float:
        expected = logprobs_of(self.models[version], PROMPT, generation.token_ids, temperature)  # type: ignore[arg-type]
        return max(abs(a - b) for a, b in zip(generation.logprobs, expected, strict=True))


def config_for(model: Path, **rollout: object) -> RunConfig:
    return RunConfig.model_validate(
        {
            "model": {"path": str(model)},
            "rollout": {
                "concurrent_episodes": 32,
                "sampling": {"max_prompt_tokens": PROMPT_LIMIT, "max_response_tokens": RESPONSE_LIMIT},
                "dtype": "float32",
                "enforce_eager": True,
                "cpu_threads": 1,
                **rollout,
            },
        }
    )


def write_versions(root: Path) -> tuple[dict[int, Path], dict[int, object]]:
    """Three checkpoints of one shape, and the models they are of."""
    directories = {version: root / f"v{version}" for version in range(3)}
    return directories, {version: write_checkpoint(path, seed=version) for version, path in directories.items()}


class EngineContract:
    """Subclass it where a fixture `world` starts the engine."""

    async def test_logprobs_are_those_of_transformers(self, world: World) -> None:
        for temperature in (1.0, 0.4):
            generation = await world.sample(temperature=temperature)
            assert generation.token_ids
            assert world.distance(0, generation, temperature=temperature) < TOLERANCE

    async def test_a_seed_fixes_a_response(self, world: World) -> None:
        alone = await world.sample(seed=11)
        crowd = await asyncio.gather(*(world.sample(seed=seed) for seed in range(10, 30)))
        assert crowd[1].token_ids == alone.token_ids
        assert len({generation.token_ids for generation in crowd}) == len(crowd)

    async def test_a_response_ends_with_the_end_token_or_at_its_limit(self, world: World) -> None:
        seen = set()
        for generation in await asyncio.gather(*(world.sample(seed=seed) for seed in range(100, 160))):
            seen.add(generation.stop_reason)
            assert EOS not in generation.token_ids[:-1]
            assert (generation.token_ids[-1] == EOS) == (generation.stop_reason is StopReason.STOP)
            assert generation.stop_reason is StopReason.STOP or len(generation.token_ids) == RESPONSE_LIMIT
        assert seen == set(StopReason)

    async def test_new_weights_are_in_force_head_included(self, world: World) -> None:
        await world.engine.load_weights(world.directories[1], PolicyVersion(1))
        generation = await world.sample()
        assert (generation.version_start, generation.version_end, world.engine.version) == (1, 1, 1)
        assert world.distance(1, generation) < TOLERANCE
        assert world.distance(0, generation) > 0.1, "the models must differ for this test to mean anything"

    async def test_a_prefix_cached_under_old_weights_is_not_used(self, world: World) -> None:
        await world.sample(seed=1)  # fills the prefix cache
        await world.engine.load_weights(world.directories[2], PolicyVersion(2))
        assert world.distance(2, await world.sample(seed=1)) < TOLERANCE

    async def test_a_swap_in_flight_loses_no_request_and_is_recorded(self, world: World) -> None:
        generations: list[Generation] = []
        swapped = asyncio.Event()

        async def one_after_another(seed: int) -> None:
            while not swapped.is_set():
                generations.append(await world.sample(seed=seed))
                seed += CHAINS

        def spans_a_swap() -> bool:
            return any(one.version_start < one.version_end for one in generations)

        chains = [asyncio.create_task(one_after_another(200 + number)) for number in range(CHAINS)]
        for version in range(3, 3 + SWAPS):
            await world.sample(seed=199)  # by now the others are on their way
            await world.engine.load_weights(world.directories[1], PolicyVersion(version))
            await world.sample(seed=199)
            if spans_a_swap():
                break
        swapped.set()
        await asyncio.gather(*chains)
        assert spans_a_swap(), "no request was in flight"
        for generation in generations:
            assert 2 <= generation.version_start <= generation.version_end <= version
            if generation.version_start == generation.version_end:
                made_by = 2 if generation.version_start == 2 else 1
                assert world.distance(made_by, generation) < TOLERANCE

    async def test_weights_of_another_model_are_refused_and_nothing_changes(self, world: World, tmp_path: Path) -> None:
        write_checkpoint(tmp_path, seed=5, hidden=32)
        before = world.engine.version
        with pytest.raises(IntegrityError, match="has shape"):
            await world.engine.load_weights(tmp_path, PolicyVersion(before + 1))
        generation = await world.sample()
        assert generation.version_start == before >= 3
        assert world.distance(1, generation) < TOLERANCE

    async def test_a_torn_checkpoint_is_refused_and_generation_goes_on(self, world: World, tmp_path: Path) -> None:
        write_checkpoint(tmp_path, seed=5)
        weights = tmp_path / "model.safetensors"
        weights.write_bytes(weights.read_bytes()[:-100])
        before = world.engine.version
        with pytest.raises((IntegrityError, RemoteError), match="did not load"):
            await world.engine.load_weights(tmp_path, PolicyVersion(before + 1))
        generation = await world.sample()
        assert generation.version_start == generation.version_end == before
        assert world.distance(1, generation) < TOLERANCE
        await world.engine.load_weights(world.directories[1], PolicyVersion(before + 1))
        assert world.distance(1, await world.sample()) < TOLERANCE

    async def test_a_prompt_over_the_limit_is_refused_alone(self, world: World) -> None:
        fine = asyncio.create_task(world.sample())
        with pytest.raises(RequestRefused):
            await world.sample(prompt=[5] * 400)
        assert (await fine).token_ids

    async def test_a_cancelled_request_harms_nobody(self, world: World) -> None:
        doomed, fine = asyncio.create_task(world.sample(seed=300)), asyncio.create_task(world.sample(seed=301))
        await asyncio.sleep(0)
        doomed.cancel()
        assert (await fine).token_ids
        with pytest.raises(asyncio.CancelledError):
            await doomed

    async def test_the_shared_part_of_prompts_is_computed_once_for_a_version(self, world: World) -> None:
        prompt = [7, 8, 9] * 60  # a block of the cache has 128 tokens on CPUs
        first = await world.sample(prompt=prompt, seed=1)
        again = await world.sample(prompt=prompt, seed=2)
        assert again.cached_tokens > first.cached_tokens == 0
        await world.engine.load_weights(world.directories[1], PolicyVersion(world.engine.version + 1))
        assert (await world.sample(prompt=prompt, seed=3)).cached_tokens == 0, "computed by other weights"
