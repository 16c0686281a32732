import subprocess
import sys

import pytest

PROGRAM = """
import resource, torch
from senas_bench.memory import keep_freed_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(50):
        torch.zeros(2_000_000)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

mapped = faults()
if keep_freed_memory():
    faults()
    assert faults() < 50, "the heap still shrinks"
"""


@pytest.mark.slow
def test_freed_memory_is_used_again():
    subprocess.run([sys.executable, "-c", PROGRAM], check=True)
