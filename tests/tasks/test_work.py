"""What a budget makes of work that has a price, and of work that has none."""

from senas_bench.tasks.work import Budget


def test_one_price_is_nominal_too_and_two_are_kept_apart():
    budget = Budget()
    budget.add("search", 1.0, {"forward_paths": 2, "multiply_adds": 10})
    budget.add("search", 1.0, {"forward_paths": 1, "multiply_adds": 5, "nominal_multiply_adds": 8})
    search = budget.counts["search"]
    assert (search["forward_paths"], search["multiply_adds"], search["nominal_multiply_adds"]) == (3, 15, 18)
    assert budget.counts["report"]["multiply_adds"] == 0


def test_once_paths_ran_without_a_price_there_is_none():
    budget = Budget()
    budget.add("search", 1.0, {"forward_paths": 2, "multiply_adds": 10})
    budget.add("search", 1.0, {"forward_paths": 1})
    budget.add("search", 1.0, {"forward_paths": 2, "multiply_adds": 10})
    assert "multiply_adds" not in budget.counts["search"] and "nominal_multiply_adds" not in budget.counts["search"]
    assert budget.counts["search"]["forward_paths"] == 5 and budget.counts["report"]["multiply_adds"] == 0


def test_work_in_which_no_path_ran_needs_no_price():
    budget = Budget()
    budget.add("search", 1.0, {"train_steps": 0, "forward_paths": 0})
    assert budget.counts["search"]["multiply_adds"] == 0
