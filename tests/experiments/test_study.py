from senas_bench.experiments.settings import make_spec
from senas_bench.experiments.study import in_order


def test_costly_methods_begin_early_and_neighbours_apart():
    methods = ["random", "spos", "spos+", "se-nas", "se-nas+"]
    specs = [make_spec(method, seed, "embedded") for method in methods for seed in (0, 1)]
    order = in_order(specs, 2)
    assert sorted(spec.run_id for spec in order) == sorted(spec.run_id for spec in specs)
    assert [spec.seed for spec in order] == [0] * 5 + [1] * 5
    for some in (order[:5], order[5:]):
        assert [spec.method for spec in some] == ["random", "se-nas+", "spos+", "se-nas", "spos"]
    assert [spec.method for spec in in_order(specs, 8)][:5] == ["random", "se-nas+", "se-nas", "spos+", "spos"]
