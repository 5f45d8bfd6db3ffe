from pathlib import Path

from rollout_fakes import task

from hiper._proto.trajectory.v1.trajectory_pb2 import Trajectory
from services.rollout.spool import Spool


def trajectory(number: int, size: int = 10) -> Trajectory:
    return Trajectory(schema_version=1, task=task(number), next_prompt_ids=bytes(size))


def test_what_is_kept_survives_the_process(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 2**20)
    made = [trajectory(number) for number in range(3)]
    assert all(spool.put(one) for one in made)
    again = Spool(tmp_path, 2**20)
    assert len(again) == 3
    assert sorted(one.task.trajectory_id for one in again.load()) == [one.task.trajectory_id for one in made]
    assert again.load()[0] in made


def test_the_same_trajectory_is_kept_once(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 2**20)
    spool.put(trajectory(0))
    spool.put(trajectory(0, size=20))
    assert [len(one.next_prompt_ids) for one in spool.load()] == [20]


def test_removal_is_for_good_and_may_be_repeated(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 2**20)
    spool.put(trajectory(0))
    spool.remove(task(0).trajectory_id)
    spool.remove(task(0).trajectory_id)
    assert len(spool) == len(Spool(tmp_path, 2**20)) == 0


def test_its_bound_holds(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 2500)
    assert [spool.put(trajectory(number, size=1000)) for number in range(3)] == [True, True, False]
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 2500
    spool.remove(task(0).trajectory_id)
    assert spool.put(trajectory(2, size=1000))


def test_a_damaged_file_is_put_aside_and_the_rest_is_read(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 2**20)
    spool.put(trajectory(0))
    spool.put(trajectory(1))
    victim = sorted(tmp_path.glob("*.pb"))[0]
    victim.write_bytes(b"\xff\xff\xff")
    again = Spool(tmp_path, 2**20)
    assert len(again.load()) == 1
    assert len(again) == 1
    assert victim.with_suffix(".damaged").exists()


def test_a_half_written_file_is_not_seen(tmp_path: Path) -> None:
    (tmp_path / ".abc.pb.123.tmp").write_bytes(b"half")
    assert Spool(tmp_path, 2**20).load() == []
