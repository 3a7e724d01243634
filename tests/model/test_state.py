"""The states and their transitions, as data."""

from __future__ import annotations

import pytest

from queuectl_nb.model.errors import WrongState
from queuectl_nb.model.state import (
    ALLOWED_STATES,
    FINISHED_STATES,
    TRANSITIONS,
    UNFINISHED_STATES,
    WAITING_STATES,
    IllegalTransition,
    State,
    check_action,
    check_transition,
)

BORN = {State.PENDING, State.BLOCKED, State.CANCELLED}
"""The states in which an enqueue may write a job."""
BY_ITSELF = {
    State.PENDING: {State.PROCESSING},
    State.PROCESSING: {State.COMPLETED, State.FAILED, State.DEAD, State.PENDING},
    State.FAILED: {State.PROCESSING},
    State.BLOCKED: {State.PENDING, State.CANCELLED},
}
"""The moves that happen without a person."""


def test_table_is_complete() -> None:
    """Each of the seven states has a row, and transitions lead to states only."""
    assert set(TRANSITIONS) == set(State)
    assert len(State) == 7
    assert frozenset.union(*TRANSITIONS.values()) <= set(State)


def test_names_of_the_states() -> None:
    """The names are part of the JSON output and of the schema; they come in the order of the status summary."""
    names = ["pending", "processing", "failed", "completed", "dead", "cancelled", "blocked"]
    assert [state.value for state in State] == names
    assert [repr(state) for state in State] == [repr(name) for name in names]


def test_every_state_is_reachable() -> None:
    """Each state is reached from those that an enqueue writes."""
    reached, found = set[State](), set(BORN)
    while found:
        reached |= found
        found = {new for old in found for new in TRANSITIONS[old]} - reached
    assert reached == set(State)


def test_finished_states() -> None:
    """Completed, dead and cancelled are left by ``retry`` only, to pending or blocked."""
    for state in FINISHED_STATES:
        assert TRANSITIONS[state] == {State.PENDING, State.BLOCKED}
        assert state in ALLOWED_STATES["retry"]
        assert state not in BY_ITSELF


def test_open_states_end() -> None:
    """Every open state can reach a finished one without a user's action."""
    for start in UNFINISHED_STATES:
        reached, found = set[State](), {start}
        while found:
            reached |= found
            found = {new for old in found for new in BY_ITSELF.get(old, set())} - reached
        assert reached & FINISHED_STATES, start


def test_actual_transitions_are_allowed() -> None:
    """The transitions that the engine makes are part of the table."""
    for old, news in BY_ITSELF.items():
        assert news <= TRANSITIONS[old]


def test_state_groups() -> None:
    """Finished, open and waiting are the documented ones, and every state is either open or finished."""
    assert {State.COMPLETED, State.DEAD, State.CANCELLED} == FINISHED_STATES
    assert set(State) == UNFINISHED_STATES | FINISHED_STATES
    assert not UNFINISHED_STATES & FINISHED_STATES
    assert {State.PENDING, State.FAILED} == WAITING_STATES


@pytest.mark.parametrize("old", State)
@pytest.mark.parametrize("new", State)
def test_illegal_transition(old: State, new: State) -> None:
    """A transition that is not in the table raises with the job, both states and the legal ones."""
    if new in TRANSITIONS[old]:
        check_transition("a", old, new)
        return
    with pytest.raises(IllegalTransition) as caught:
        check_transition("a", old, new)
    allowed = ", ".join(state for state in State if state in TRANSITIONS[old])
    assert str(caught.value) == f"job a is {old} and cannot become {new}; allowed: {allowed}"


TAKEN = {
    "retry": {State.FAILED, State.DEAD, State.CANCELLED, State.COMPLETED},
    "cancel": {State.PENDING, State.PROCESSING, State.FAILED, State.BLOCKED},
    "edit": {State.PENDING, State.PROCESSING, State.FAILED, State.BLOCKED},
    "delete": set(State) - {State.PROCESSING},
    "dlq retry": {State.DEAD},
    "dlq purge": {State.DEAD},
}


@pytest.mark.parametrize("verb", TAKEN)
@pytest.mark.parametrize("state", State)
def test_states_of_verbs(verb: str, state: State) -> None:
    """Each verb accepts its states; for others the error names job, state, verb and the accepted states."""
    if state in TAKEN[verb]:
        check_action(verb, "a", state)
        return
    with pytest.raises(WrongState) as caught:
        check_action(verb, "a", state)
    assert str(caught.value) == f"job a is {state}; '{verb}' takes jobs that are " + ", ".join(
        each for each in State if each in TAKEN[verb]
    )


def test_state_is_a_string() -> None:
    """Counts by state are printed with the names of the states."""
    assert repr({State.DEAD: 3}) == "{'dead': 3}"
