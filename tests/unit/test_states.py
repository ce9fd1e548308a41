"""The table of transitions against the contract's pictures (tasks §2 to §5)."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firecrest.model.tasks import Kind, Status
from firecrest.tasks.states import (
    FINAL,
    TABLE,
    Cause,
    IllegalTransition,
    Payload,
    check,
    failure,
    targets,
)

COMPUTE = [kind for kind in Kind if kind.service == "compute"]

#: The arrows of the pictures, and where a defect or an invalidation may lead besides.
PICTURES = {
    "compute": {"100 200", "100 400"},
    "upload": {
        *("100 110", "110 111", "111 112", "112 113", "113 114", "113 115", "115 112"),
        *("100 400", "110 400", "112 400", "115 400"),
        *("100 302", "110 302", "111 302", "112 302", "113 302", "114 302", "115 302"),
    },
    "download": {
        *("100 116", "116 117", "116 118", "100 400", "116 400"),
        *("100 302", "116 302", "117 302", "118 302"),
    },
}

#: What a request may cause besides the steps; 115 is left by requests only.
BY_CLIENTS = {"111 112", "115 112", "115 400"}
NOT_BY_STEPS = {"115 112", "115 400"}


def causes_of(move: str) -> set[Cause]:
    if move.endswith(" 302"):
        return {Cause.INVALIDATION}
    by_client = {Cause.CLIENT} if move in BY_CLIENTS else set()
    return by_client if move in NOT_BY_STEPS else {Cause.STEP, *by_client}


def accepted(kind: Kind, current: Status, to: Status) -> bool:
    """Whether anybody may cause the transition."""
    for cause in Cause:
        try:
            check(kind, current, to, cause)
        except IllegalTransition:
            continue
        return True
    return False


def picture(kind: Kind) -> set[str]:
    return PICTURES[kind.value if kind.value in PICTURES else "compute"]


@pytest.mark.parametrize("kind", Kind)
def test_the_edges_are_those_of_the_contract(kind: Kind) -> None:
    edges = [f"{edge.origin} {edge.to}" for edge in TABLE[kind]]
    assert set(edges) == picture(kind)
    assert len(edges) == len(set(edges))
    for current in Status:
        assert {f"{current} {to}" for to in targets(kind, current)} <= picture(kind)


@pytest.mark.parametrize("kind", Kind)
def test_only_edges_of_the_table_are_accepted(kind: Kind) -> None:
    for current, to, cause in itertools.product(Status, Status, Cause):
        move = f"{current} {to}"
        if move in picture(kind) and cause in causes_of(move):
            edge = check(kind, current, to, cause)
            assert (edge.origin, edge.to) == (current, to)
        else:
            with pytest.raises(IllegalTransition, match=f"{kind}: {current} to {to}"):
                check(kind, current, to, cause)


@pytest.mark.parametrize("kind", Kind)
def test_each_row_says_what_the_data_are(kind: Kind) -> None:
    for edge in TABLE[kind]:
        if edge.to is Status.INVALIDATED:
            assert edge.payload is Payload.NOTHING
        elif kind is Kind.DOWNLOAD:
            assert edge.payload is Payload.PUSH
        elif edge.to is Status.FAILED:
            assert edge.payload is Payload.REASON
        else:
            assert edge.payload is (Payload.TRANSFER if kind is Kind.UPLOAD else Payload.RESULT)


@given(kind=st.sampled_from(Kind), wishes=st.lists(st.sampled_from(Status), max_size=40))
def test_no_walk_leaves_a_final_state_but_to_be_invalidated(
    kind: Kind, wishes: list[Status]
) -> None:
    current, final = Status.QUEUED, False
    for wish in wishes:
        if not accepted(kind, current, wish):
            continue
        assert not final or wish is Status.INVALIDATED
        current, final = wish, final or wish in FINAL


@given(kind=st.sampled_from(Kind), wishes=st.lists(st.sampled_from(Status), max_size=40))
def test_nothing_is_queued_twice_and_nothing_refused_succeeds(
    kind: Kind, wishes: list[Status]
) -> None:
    path = [Status.QUEUED]
    for wish in wishes:
        if not accepted(kind, path[-1], wish):
            continue
        path.append(wish)
    assert Status.QUEUED not in path[1:]
    for ended in (Status.FAILED, Status.INVALIDATED):
        if ended in path:
            assert path[-1] is ended


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("current", Status)
def test_a_defect_leads_along_an_edge_to_an_error_or_nowhere(kind: Kind, current: Status) -> None:
    edge = failure(kind, current)
    if edge is not None:
        assert edge.to in {Status.FAILED, Status.COPY_FAILED, Status.PUSH_FAILED}
        assert check(kind, current, edge.to, Cause.STEP) is edge
    elif targets(kind, current) and current not in FINAL:
        # a form that was given out stays good; the look for the object is repeated; nobody
        # works on a failed copy before it is asked for again
        assert kind is Kind.UPLOAD
        assert current in (Status.FORM_READY, Status.COPY_FAILED)


@pytest.mark.parametrize("status", Status)
def test_statuses_are_text_that_is_also_a_number(status: Status) -> None:
    assert isinstance(status, str)
    assert str(int(status)) == status
    assert status.description


def test_clients_can_tell_the_end_by_comparing_texts() -> None:
    """They keep polling below "200", and call 400 and more an error."""
    assert [status for status in Status if status >= "400"] == [Status.FAILED]
    assert all(status < "200" for status in Status if status.startswith("1"))
    assert len(COMPUTE) >= 3
