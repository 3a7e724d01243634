"""The states and the moves between them, as data."""

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


def test_the_table_knows_every_state_and_no_other() -> None:
    """Each of the seven states has a row, and moves lead to states only."""
    assert set(TRANSITIONS) == set(State)
    assert len(State) == 7
    assert frozenset.union(*TRANSITIONS.values()) <= set(State)


def test_every_state_can_be_reached_from_an_enqueue() -> None:
    """No state is dead code: each is reached from those that an enqueue writes."""
    reached, found = set[State](), set(BORN)
    while found:
        reached |= found
        found = {new for old in found for new in TRANSITIONS[old]} - reached
    assert reached == set(State)


def test_what_is_at_rest_is_moved_by_a_verb_only() -> None:
    """From completed, dead and cancelled the only way is ``retry``, to pending or blocked; nothing else moves them."""
    for state in FINISHED_STATES:
        assert TRANSITIONS[state] == {State.PENDING, State.BLOCKED}
        assert state in ALLOWED_STATES["retry"]
        assert state not in BY_ITSELF


def test_what_is_open_comes_to_rest_by_itself() -> None:
    """From every open state a way without a person leads to rest, so that nothing waits for ever."""
    for start in UNFINISHED_STATES:
        reached, found = set[State](), {start}
        while found:
            reached |= found
            found = {new for old in found for new in BY_ITSELF.get(old, set())} - reached
        assert reached & FINISHED_STATES, start


def test_moves_that_happen_are_moves_that_are_allowed() -> None:
    """The list above is part of the table: a change of the table that breaks the engine is seen here."""
    for old, news in BY_ITSELF.items():
        assert news <= TRANSITIONS[old]


def test_the_groups_of_states_are_those_of_the_contract() -> None:
    """At rest, open and waiting are what the contract says, and every state is either open or at rest."""
    assert {State.COMPLETED, State.DEAD, State.CANCELLED} == FINISHED_STATES
    assert set(State) == UNFINISHED_STATES | FINISHED_STATES
    assert not UNFINISHED_STATES & FINISHED_STATES
    assert {State.PENDING, State.FAILED} == WAITING_STATES


@pytest.mark.parametrize("old", State)
@pytest.mark.parametrize("new", State)
def test_an_illegal_move_raises_with_the_jobs_story(old: State, new: State) -> None:
    """A move that the table has passes; any other raises and names the job, both states and the ways that are open."""
    if new in TRANSITIONS[old]:
        check_transition("a", old, new)
        return
    with pytest.raises(IllegalTransition) as caught:
        check_transition("a", old, new)
    assert str(caught.value).startswith(f"job a is {old} and cannot become {new}; allowed: ")


TAKEN = {
    "retry": {State.FAILED, State.DEAD, State.CANCELLED, State.COMPLETED},
    "cancel": {State.PENDING, State.PROCESSING, State.FAILED, State.BLOCKED},
    "delete": set(State) - {State.PROCESSING},
    "dlq retry": {State.DEAD},
    "dlq purge": {State.DEAD},
}


@pytest.mark.parametrize("verb", TAKEN)
@pytest.mark.parametrize("state", State)
def test_a_verb_takes_the_states_of_the_contract_and_names_them_to_others(verb: str, state: State) -> None:
    """Each verb takes exactly its states; for another the error names job, state, verb and the states that do."""
    if state in TAKEN[verb]:
        check_action(verb, "a", state)
        return
    with pytest.raises(WrongState) as caught:
        check_action(verb, "a", state)
    assert str(caught.value) == f"job a is {state}; '{verb}' takes jobs that are " + ", ".join(
        each for each in State if each in TAKEN[verb]
    )


def test_a_state_looks_like_its_word() -> None:
    """Counts by state are read as they are printed."""
    assert repr({State.DEAD: 3}) == "{'dead': 3}"
