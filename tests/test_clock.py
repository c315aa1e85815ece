"""The real clock, with the machine's two clocks in the tests' hands."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from config import clock as module
from config.clock import SystemClock, SystemRandomness

WALL = 1_800_000_000_000
BOOT = 5_000_000


@dataclass
class Machine:
    """The wall clock and the clock since boot."""

    wall: int = WALL
    boot: int = BOOT

    def passes(self, ms: int) -> None:
        """Time goes by, on both clocks."""
        self.wall += ms
        self.boot += ms


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A machine whose clocks stand still."""
    made = Machine()
    monkeypatch.setattr(module, "wall_ms", lambda: made.wall)
    monkeypatch.setattr(module, "_boot_ms", lambda: made.boot)
    return made


def test_it_tells_the_wall_clocks_time(machine: Machine):
    """While nobody touches the clocks it is the wall clock."""
    clock = SystemClock()
    assert clock.now() == WALL
    machine.passes(1234)
    assert clock.now() == WALL + 1234


def test_a_wall_clock_set_back_is_not_followed(machine: Machine):
    """What was dead stays dead: time goes on with the clock since boot."""
    clock = SystemClock()
    machine.wall -= 3_600_000
    assert clock.now() == WALL
    machine.passes(500)
    assert clock.now() == WALL + 500


def test_a_wall_clock_set_forward_is_followed(machine: Machine):
    """What is dead by the wall clock is dead."""
    clock = SystemClock()
    machine.wall += 3_600_000
    assert clock.now() == WALL + 3_600_000


def test_setting_the_wall_clock_forward_and_back_stops_nothing(machine: Machine):
    """Time neither goes back nor stands still until the wall clock has caught up."""
    clock = SystemClock()
    machine.wall += 60_000
    clock.now()
    machine.wall -= 60_000
    machine.passes(1_000)
    assert clock.now() == WALL + 61_000


def test_a_step_of_the_wall_clock_that_nobody_saw_leaves_no_trace(machine: Machine):
    """Forward and back between two looks is as if it had not happened."""
    clock = SystemClock()
    machine.wall += 60_000
    machine.wall -= 60_000
    assert clock.now() == WALL


def test_time_goes_on_while_the_machine_is_suspended(machine: Machine):
    """The clock since boot jumps over a sleep even where the wall clock did not."""
    clock = SystemClock()
    machine.boot += 8 * 3_600_000
    assert clock.now() == WALL + 8 * 3_600_000


def test_both_clocks_jumping_over_a_sleep_count_once(machine: Machine):
    """A night is not two nights."""
    clock = SystemClock()
    machine.passes(8 * 3_600_000)
    assert clock.now() == WALL + 8 * 3_600_000


def test_never_before_lifts_it(machine: Machine):
    """After a restart on a wall clock set back, the stored high-water mark holds, and time goes on from it."""
    clock = SystemClock()
    clock.never_before(WALL + 7_000)
    assert clock.now() == WALL + 7_000
    machine.passes(10)
    assert clock.now() == WALL + 7_010


def test_never_before_never_sets_it_back(machine: Machine):
    """An old mark changes nothing."""
    clock = SystemClock()
    clock.never_before(WALL - 7_000)
    assert clock.now() == WALL


def test_advance_jumps_forward_and_only_forward(machine: Machine):
    """The sandbox's "15 minutes later"."""
    clock = SystemClock()
    clock.advance(900_000)
    clock.advance(-5)
    assert clock.now() == WALL + 900_000


def test_advances_add_up_with_a_wall_clock_set_back(machine: Machine):
    """A jump is not lost by what the wall clock does."""
    clock = SystemClock()
    clock.advance(1_000)
    machine.wall -= 50_000
    clock.advance(1_000)
    assert clock.now() == WALL + 2_000


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["pass", "wall", "suspend", "never_before", "advance"]), st.integers(-(10**6), 10**6)
    ),
    max_size=30,
)


@given(steps=STEPS)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_it_never_goes_back_and_never_stands_still(machine: Machine, steps: list[tuple[str, int]]):
    """Between two looks passes at least what the clock since boot says, and it is never behind either clock."""
    machine.wall, machine.boot = WALL, BOOT
    clock = SystemClock()
    before, boot_before = clock.now(), machine.boot
    for step, ms in steps:
        if step == "pass":
            machine.passes(abs(ms))
        elif step == "wall":
            machine.wall += ms
        elif step == "suspend":
            machine.boot += abs(ms)
        elif step == "never_before":
            clock.never_before(before + ms)
        else:
            clock.advance(ms)
        now = clock.now()
        assert now - before >= machine.boot - boot_before
        assert now >= machine.wall
        before, boot_before = now, machine.boot


def test_the_real_clock_runs():
    """The machine's own clocks agree with it, and it is in this century."""
    clock = SystemClock()
    first = clock.now()
    assert first <= clock.now()
    assert first > 1_600_000_000_000


def test_random_text_is_of_letters_and_digits():
    """62 characters, all of which come."""
    text = SystemRandomness().text(4000)
    assert text.isascii()
    assert text.isalnum()
    assert len(set(text)) == 62
    assert [len(SystemRandomness().text(length)) for length in range(1, 50)] == list(range(1, 50))


def test_random_letters_are_equally_likely():
    """chi-squared of 620,000 letters, 61 degrees of freedom: above 130 by chance once in a million times."""
    counts = Counter(SystemRandomness().text(620_000))
    assert sum((count - 10_000) ** 2 / 10_000 for count in counts.values()) < 130


def test_random_uuids_are_canonical():
    """36 characters in lower case, version 4, and never the same twice."""
    import uuid

    found = {SystemRandomness().uuid() for _ in range(100)}
    assert len(found) == 100
    assert all(str(uuid.UUID(one)) == one and uuid.UUID(one).version == 4 for one in found)


def test_random_bytes_are_as_many_as_asked():
    """And not the same twice."""
    randomness = SystemRandomness()
    assert len(randomness.bytes(16)) == 16
    assert randomness.bytes(16) != randomness.bytes(16)
