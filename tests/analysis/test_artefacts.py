import subprocess
import sys

import pytest

from analysis.artefacts import ARTEFACTS
from senas_bench.names import lookup


def test_names_and_defaults():
    assert all(artefact.name == name and artefact.methods for name, artefact in ARTEFACTS.items())
    assert ARTEFACTS["table3"].methods[0] == "random"
    assert ARTEFACTS["table3"].methods[-1] == "se-nas+"


def test_rendering_goes_through_the_artefact(runs, truth):
    artefact = ARTEFACTS["table3"]
    table = artefact.render(runs.records, runs.scores, truth, no_timing=True, methods=artefact.methods)
    assert table.name == artefact.name
    assert table.meta["title"] == artefact.title


def test_unknown_artefact():
    with pytest.raises(ValueError, match="did you mean 'table3'"):
        lookup("artefact", "table4", ARTEFACTS)


def test_analysis_never_loads_torch():
    code = "import sys, analysis.artefacts, analysis.statistics; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
