"""What may run beside what, as plain data."""

from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wings.jobs.model import JobKind
from wings.jobs.schedule import JobSpec, Schedule

PLACES = {JobKind.CREATE: 2, JobKind.RESTORE: 2, JobKind.DELETE: 2, JobKind.VERIFY: 1}
A, B, C = (UUID(int=number) for number in range(3))


def create(server: UUID, backup: UUID | None = None) -> JobSpec:
    return JobSpec(JobKind.CREATE, server, backup or uuid4())


def restore(server: UUID, backup: UUID | None = None) -> JobSpec:
    return JobSpec(JobKind.RESTORE, server, backup or uuid4(), server_exclusive=True)


def delete(server: UUID | None, backup: UUID | None = None) -> JobSpec:
    return JobSpec(JobKind.DELETE, server, backup or uuid4())


def verify(server: UUID | None, backup: UUID | None = None) -> JobSpec:
    return JobSpec(JobKind.VERIFY, server, backup or uuid4())


def queued(*specs: JobSpec) -> tuple[Schedule, list[UUID]]:
    schedule = Schedule(PLACES)
    ids = [UUID(int=number) for number in range(len(specs))]
    for id, spec in zip(ids, specs, strict=True):
        schedule.add(id, spec)
    return schedule, ids


def started(*specs: JobSpec) -> list[int]:
    """Positions of those that may start at once."""
    schedule, _ = queued(*specs)
    return [id.int for id in schedule.advance()]


def test_creates_of_one_server_run_one_after_another() -> None:
    """W-7: and those of other servers beside them."""
    assert started(create(A), create(A), create(B)) == [0, 2]


def test_each_kind_has_its_places_on_the_node() -> None:
    """W-7: three creates of three servers, two places; other kinds are not held up."""
    assert started(create(A), create(B), create(C), verify(None), verify(None), delete(None)) == [0, 1, 3, 5]


def test_one_job_at_a_time_per_backup() -> None:
    """W-7: whatever the kinds, and whatever the servers."""
    assert started(create(A, C), delete(A, C)) == [0]
    assert started(verify(A, C), restore(B, C)) == [0]
    assert started(delete(None, C), delete(None, C)) == [0]


def test_a_restore_excludes_everything_else_of_its_server() -> None:
    assert started(restore(A), create(A), delete(A), verify(A), restore(A), create(B)) == [0, 5]
    assert started(create(A), restore(A)) == [0]
    assert started(delete(A), restore(A), restore(B)) == [0, 2]


def test_nobody_overtakes_whom_he_cannot_run_beside() -> None:
    """A restore that waits is not pushed back by newer creates and deletes of its server."""
    schedule, ids = queued(create(A), restore(A), create(A), delete(A))
    assert schedule.advance() == ids[:1]
    schedule.remove(ids[0])
    assert schedule.advance() == ids[1:2]
    schedule.remove(ids[1])
    assert schedule.advance() == ids[2:]


def test_waiting_for_one_kind_of_place_does_not_hold_up_others() -> None:
    assert started(create(A), create(B), create(C), delete(C)) == [0, 1, 3]


def test_reasons_say_what_is_waited_for() -> None:
    backup = uuid4()
    schedule, ids = queued(create(A, backup), create(A), verify(None, backup), restore(A), create(B), create(C))
    schedule.advance()
    assert [schedule.reasons.get(id) for id in ids] == [
        None,
        "waiting for another create of this server",
        "waiting for the create of the same backup",
        "waiting for the create of this server",
        None,
        "waiting for one of 2 running create jobs to end",
    ]


def test_removing_what_waits_lets_others_pass() -> None:
    schedule, ids = queued(create(A), restore(A), delete(A))
    schedule.advance()
    schedule.remove(ids[1])
    assert schedule.advance() == [ids[2]]
    schedule.remove(uuid4())
    assert list(schedule.waiting) == []


def test_no_place_at_all_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="verify"):
        Schedule({**PLACES, JobKind.VERIFY: 0})


specs = st.builds(
    lambda kind, server, backup: JobSpec(kind, server, backup, kind is JobKind.RESTORE),
    st.sampled_from(JobKind),
    st.sampled_from([A, B, C, None]),
    st.sampled_from([A, B, C, None]),
)


def may_run_together(one: JobSpec, other: JobSpec) -> bool:
    """The rules once more, for a pair."""
    if one.backup is not None and one.backup == other.backup:
        return False
    if one.server is None or one.server != other.server:
        return True
    if one.server_exclusive or other.server_exclusive:
        return False
    return not (one.kind is other.kind is JobKind.CREATE)


@given(st.lists(st.tuples(specs, st.integers(0, 5))))
def test_rules_hold_whatever_comes(steps: list[tuple[JobSpec, int]]) -> None:
    schedule = Schedule(PLACES)
    order: list[UUID] = []

    def advance() -> None:
        before = dict(schedule.waiting)
        for id in schedule.advance():
            overtaken = [other for other in order[: order.index(id)] if other in schedule.waiting]
            assert all(may_run_together(before[id], before[other]) for other in overtaken)
        running = list(schedule.running.values())
        for number, one in enumerate(running):
            assert all(may_run_together(one, other) for other in running[number + 1 :])
        for kind in JobKind:
            assert sum(spec.kind is kind for spec in running) <= PLACES[kind]
        assert set(schedule.reasons) == set(schedule.waiting)
        assert running or not schedule.waiting

    for number, (spec, finish) in enumerate(steps):
        id = UUID(int=number)
        order.append(id)
        schedule.add(id, spec)
        advance()
        for id in list(schedule.running)[:finish]:
            schedule.remove(id)
            advance()
    while schedule.running:
        schedule.remove(next(iter(schedule.running)))
        advance()
    assert not schedule.waiting
