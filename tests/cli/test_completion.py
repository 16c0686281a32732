"""What the shell completes, and that nothing heavy is imported for it."""

import os
import subprocess
import sys

import pytest

from senas_bench.analysis.artefacts import ARTEFACTS, GROUPS
from senas_bench.cli.completion import names_of, one_of, several_of
from senas_bench.data import DATASETS
from senas_bench.experiments.executors import EXECUTORS
from senas_bench.experiments.presets import PRESETS
from senas_bench.kernels import ENGINES
from senas_bench.methods import METHODS
from senas_bench.proxies import PROXIES
from senas_bench.ranking import ESTIMATORS
from senas_bench.spaces import SPACES
from senas_bench.training.recipe import PRECISIONS

REGISTRIES = {
    "ARTEFACTS": ARTEFACTS, "DATASETS": DATASETS, "ENGINES": ENGINES, "EXECUTORS": EXECUTORS, "GROUPS": GROUPS,
    "METHODS": METHODS, "PRECISIONS": PRECISIONS, "PRESETS": PRESETS, "PROXIES": PROXIES, "SPACES": SPACES,
}  # fmt: skip


@pytest.mark.parametrize("name", REGISTRIES)
def test_the_names_in_the_source_are_those_of_the_registry(name):
    assert names_of(name) == list(REGISTRIES[name])


def test_estimators_are_those_of_two_registries():
    assert {*names_of("ESTIMATORS"), *names_of("PROXIES")} == {*ESTIMATORS}


def test_one_name_and_the_last_of_several():
    assert one_of("ARTEFACTS", "GROUPS")("fig1") == ["fig1", "fig10", "fig11", "fig12"]
    assert one_of("PRESETS")("x") == []
    assert several_of("METHODS")("spos,params,sp") == [
        f"spos,params,{name}" for name in METHODS if name.startswith("sp") and name != "spos"
    ]


def test_the_shell_gets_names_without_heavy_imports():
    code = """if True:
        import sys
        from senas_bench.cli import main
        sys.argv = ["senas-bench"]
        try:
            main()
        finally:
            print(*[name for name in ("torch", "numpy", "pandas", "scipy") if name in sys.modules], file=sys.stderr)
    """
    asked = {"COMP_WORDS": "senas-bench reproduce table3 --methods gd", "COMP_CWORD": "4"}
    environment = {**os.environ, **asked, "_SENAS_BENCH_COMPLETE": "complete_bash"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert (done.stdout.split(), done.stderr.split()) == (["gdas", "gdas-code"], [])
