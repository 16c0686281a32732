import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from senas_bench.shrinking import CriterionOutput, shrink, shrink_edge_by_edge, shrink_per_edge
from senas_bench.shrinking.shrink import even_drops
from senas_bench.spaces import SearchSpace
from senas_bench.spaces.darts import DARTS
from senas_bench.spaces.nasbench201 import NB201


def a_space(*candidates: tuple[int, ...]) -> SearchSpace:
    return SearchSpace("toy", tuple("abcde"), tuple(f"e{i}" for i in range(len(candidates))), candidates)


def dropped(before: SearchSpace, after: SearchSpace) -> set[tuple[int, int]]:
    assert set(after.alive()) <= set(before.alive())
    return set(before.alive()) - set(after.alive())


candidate_sets = st.sets(st.integers(0, 4), min_size=1).map(sorted).map(tuple)
spaces = st.lists(candidate_sets, min_size=1, max_size=6).map(lambda sets: a_space(*sets))
levels = st.sampled_from([-1.0, 0.0, 0.5, 0.5, 2.0, float("inf")])  # few of them, so that ties are common


@given(spaces, st.data(), st.integers(0, 25), st.sampled_from([None, 1, 2]))
@settings(max_examples=150, deadline=None)
def test_the_lowest_leave_one_after_the_other(space, data, k, max_per_edge):
    """As the definition says it: k times, the lowest of all that may still leave."""
    scores = {pair: data.draw(levels) for pair in space.alive()}
    after = shrink(space, scores, k, max_per_edge)
    left = {edge: list(alive) for edge, alive in enumerate(space.candidates)}
    for _ in range(k):
        taken = {edge: len(space.candidates[edge]) - len(ops) for edge, ops in left.items()}
        free = [
            (scores[edge, op], edge, op)
            for edge, ops in left.items()
            if len(ops) > 1 and (max_per_edge is None or taken[edge] < max_per_edge)
            for op in ops
        ]
        if not free:
            break
        _, edge, op = min(free)
        left[edge].remove(op)
    assert after.candidates == tuple(tuple(ops) for ops in left.values())


@given(spaces, st.data(), st.integers(0, 30))
@settings(max_examples=60, deadline=None)
def test_exactly_k_leave_or_as_many_as_can(space, data, k):
    scores = {pair: data.draw(levels) for pair in space.alive()}
    after = shrink(space, scores, k)
    assert len(dropped(space, after)) == min(k, len(space.alive()) - len(space.edges))
    assert all(after.candidates)


def test_global_order_by_hand():
    """0.1 and 0.2 go; 0.3 is the last of its edge and stays; 0.4 goes."""
    space = a_space((0, 1), (2, 3, 4))
    scores = {(0, 0): 0.1, (0, 1): 0.3, (1, 2): 0.9, (1, 3): 0.4, (1, 4): 0.2}
    assert shrink(space, scores, 3).candidates == ((1,), (2,))


def test_ties_break_by_edge_then_operator():
    space = a_space((0, 1, 2), (0, 1), (3, 4))
    scores = dict.fromkeys(space.alive(), 1.0)
    assert [dropped(space, shrink(space, scores, k)) for k in range(1, 5)] == [
        {(0, 0)},
        {(0, 0), (0, 1)},
        {(0, 0), (0, 1), (1, 0)},
        {(0, 0), (0, 1), (1, 0), (2, 3)},
    ]


def test_order_of_the_scores_does_not_matter():
    rng = np.random.default_rng(0)
    scores = {pair: float(rng.integers(3)) for pair in NB201.alive()}
    backwards = dict(reversed(scores.items()))
    assert shrink(NB201, scores, 10) == shrink(NB201, backwards, 10)


def test_two_shrinks_of_ten_leave_ten_operators_on_nasbench201():
    rng, space = np.random.default_rng(1), NB201
    for left in (20, 10):
        space = shrink(space, {pair: rng.random() for pair in space.alive()}, 10)
        assert len(space.alive()) == left
    assert 5 <= space.size <= 16  # docs/method.md 2.3


def test_at_most_so_many_per_edge():
    space = a_space((0, 1, 2), (0, 1, 2), (0, 1, 2), (3,))
    scores = {(edge, op): float(10 * edge + op) for edge, op in space.alive()}
    assert dropped(space, shrink(space, scores, 3)) == {(0, 0), (0, 1), (1, 0)}
    assert dropped(space, shrink(space, scores, 3, max_per_edge=1)) == {(0, 0), (1, 0), (2, 0)}
    assert len(dropped(space, shrink(space, scores, 9, max_per_edge=1))) == 3


def test_scores_must_cover_the_alive_operators():
    space = a_space((0, 1), (2, 3))
    scores = dict.fromkeys(space.alive(), 1.0)
    with pytest.raises(ValueError, match=r"no score for operators .*\(1, 3\)"):
        shrink(space, {pair: score for pair, score in scores.items() if pair != (1, 3)}, 1)
    with pytest.raises(ValueError, match=r"no score for operators .*\(0, 1\)"):
        shrink(space, {**scores, (0, 1): float("nan")}, 1)
    assert shrink(space, {**scores, (1, 4): -9.0}, 1).candidates == ((1,), (2, 3))  # a dead one does not count


def test_infinite_scores_leave_last():
    space = a_space((0, 1), (2, 3))
    scores = {(0, 0): float("inf"), (0, 1): 1e30, (1, 2): -1.0, (1, 3): float("inf")}
    assert shrink(space, scores, 1).candidates == ((0, 1), (3,))
    assert shrink(space, scores, 2).candidates == ((0,), (3,))


def test_groups_stay():
    space = a_space((0, 1), (2, 3)).with_groups(((0, 1),))
    assert shrink(space, dict.fromkeys(space.alive(), 0.0), 1).groups == ((0, 1),)


def test_the_same_number_from_every_edge():
    space = a_space((0, 1, 2), (1, 3, 4))
    scores = {(0, 0): 5.0, (0, 1): 6.0, (0, 2): 7.0, (1, 1): 0.1, (1, 3): 0.3, (1, 4): 0.2}
    assert shrink_per_edge(space, scores).candidates == ((1, 2), (3, 4))
    assert shrink_per_edge(space, scores, 2).candidates == ((2,), (3,))


def test_dropping_per_edge_needs_equal_counts_that_suffice():
    scores = dict.fromkeys(NB201.alive(), 1.0)
    with pytest.raises(ValueError, match=r"edges have \[2, 3\] candidates"):
        shrink_per_edge(a_space((0, 1), (2, 3, 4)), scores)
    with pytest.raises(ValueError, match="cannot drop 2 per edge"):
        shrink_per_edge(a_space((0, 1), (2, 3)), scores, 2)


def test_a_negative_k_is_an_error():
    with pytest.raises(ValueError, match="cannot drop -1"):
        shrink(NB201, dict.fromkeys(NB201.alive(), 0.0), -1)


def test_only_the_named_edges_lose_operators():
    """Also where scores tie at infinity, and others would go first."""
    space = a_space((0, 1, 2), (0, 1, 2), (3, 4))
    scores = dict.fromkeys(space.alive(), float("inf"))
    assert dropped(space, shrink(space, scores, 2, edges=(1,))) == {(1, 0), (1, 1)}
    assert dropped(space, shrink(space, {**scores, (0, 2): -1.0}, 9, edges=(1, 2))) == {(1, 0), (1, 1), (2, 3)}


def test_drops_are_spread_evenly_and_shallow_edges_first():
    assert even_drops(NB201, 10) == [2, 2, 2, 2, 1, 1]
    uneven = a_space((0, 1, 2), (0, 1, 2), (3,), (0, 1, 2, 3, 4))
    assert even_drops(uneven, 4) == [2, 1, 0, 1]
    assert even_drops(uneven, 7) == [2, 2, 0, 3]
    assert even_drops(uneven, 99) == [2, 2, 0, 4]
    assert even_drops(uneven, 0) == [0] * 4


@given(spaces, st.integers(0, 30))
@settings(max_examples=60, deadline=None)
def test_drops_could_not_be_spread_more_evenly(space, k):
    """No edge has lost two more than one that could still lose, and the deeper of two alike never more."""
    drops, room = even_drops(space, k), [len(alive) - 1 for alive in space.candidates]
    assert sum(drops) == min(k, sum(room))
    assert all(drop <= most for drop, most in zip(drops, room, strict=True))
    for edge, (drop, most) in enumerate(zip(drops, room, strict=True)):
        if drop < most:
            assert all(other <= drop + (deeper < edge) for deeper, other in enumerate(drops))


def test_an_operator_without_which_a_space_would_not_do_stays():
    """The two lowest are needed; the next two of them go."""
    space = a_space((0, 1, 2), (0, 1, 2))
    scores = {pair: float(rank) for rank, pair in enumerate([(1, 0), (0, 2), (0, 0), (1, 2), (0, 1), (1, 1)])}
    after = shrink(space, scores, 2, keep=lambda left: 0 in left.candidates[1] and 2 in left.candidates[0])
    assert dropped(space, after) == {(0, 0), (1, 2)}


def test_per_edge_the_next_of_an_edge_goes_in_place_of_one_that_is_needed():
    space = a_space((0, 1, 2), (0, 1, 2))
    scores = {pair: float(pair[1]) for pair in space.alive()}
    after = shrink_per_edge(space, scores, keep=lambda left: 0 in left.candidates[1])
    assert after.candidates == ((1, 2), (0, 2))


def test_per_edge_none_goes_where_an_edge_must_keep_all():
    """Counts stay equal, also where two per edge are to go and one edge could give one."""
    space = a_space((0, 1, 2), (0, 1, 2))
    scores = {pair: float(pair[1]) for pair in space.alive()}
    assert shrink_per_edge(space, scores, keep=lambda left: len(left.candidates[1]) == 3) == space
    assert shrink_per_edge(space, scores, 2, keep=lambda left: len(left.candidates[1]) > 1) == space


def test_edge_by_edge_an_operator_without_which_a_space_would_not_do_stays():
    """Edge 0 loses its next; edge 1, which must keep all, none; edge 2 its lowest."""
    space = a_space((0, 1, 2), (0, 1), (0, 1))
    score = lambda left, edge: CriterionOutput({pair: float(pair[1]) for pair in left.alive()})  # noqa: E731
    keep = lambda left: 0 in left.candidates[0] and len(left.candidates[1]) == 2  # noqa: E731
    after, output = shrink_edge_by_edge(space, score, 3, keep)
    assert after.candidates == ((0, 2), (0, 1), (1,))
    assert output.scores == {pair: float(pair[1]) for pair in space.alive()}


def test_none_of_darts_is_neither_scored_nor_dropped():
    """Every edge keeps `none` and one operator beside it, however many are to go."""
    scores = {pair: float(pair[1]) for pair in DARTS.droppable()}
    assert len(scores) == 14 * 7
    assert shrink(DARTS, scores, 1000).candidates == ((0, 7),) * 14
    assert shrink(DARTS, scores, 1000, max_per_edge=1).candidates == ((0, 2, 3, 4, 5, 6, 7),) * 14


def test_edge_by_edge_scores_what_is_left():
    """Each edge's scores are asked for once, on the space as the shallower ones left it; others do not decide."""
    space, asked = a_space((0, 1, 2), (2,), (0, 1, 2)).with_groups(((0, 1), (2,))), []

    def score(left, edge):
        asked.append((left, edge))
        # where edge 0 has lost 0 and 1, edge 2 loses its highest operator, else its lowest
        sign = -1 if left.candidates[0] == (2,) else 1
        scores = {(e, op): float(sign * op) if e == edge else -99.0 for e, op in left.alive()}
        return CriterionOutput(scores, {"twice": {pair: 2 * value for pair, value in scores.items()}})

    after, output = shrink_edge_by_edge(space, score, 3)
    narrowed = space.without(0, 0).without(0, 1)
    assert asked == [(space, 0), (narrowed, 2)]
    assert after == narrowed.without(2, 2)
    assert output.scores == {(0, 0): 0, (0, 1): 1, (0, 2): 2, (2, 0): 0, (2, 1): -1, (2, 2): -2}
    assert output.parts == {"twice": {pair: 2 * value for pair, value in output.scores.items()}}
