from contextlib import nullcontext

import pytest
import torch
from threadpoolctl import threadpool_info

from senas_bench.experiments.threads import limited_threads


def pools() -> list[int]:
    return [pool["num_threads"] for pool in threadpool_info()]


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("threads", [1, 2])
def test_all_libraries_have_so_many_and_then_what_they_had(threads, fails):
    with limited_threads(3 - threads):
        before = torch.get_num_threads(), pools()
        with pytest.raises(ValueError) if fails else nullcontext(), limited_threads(threads):
            assert torch.get_num_threads() == threads and set(pools()) == {threads}
            if fails:
                raise ValueError
        assert (torch.get_num_threads(), pools()) == before == (3 - threads, [3 - threads] * len(before[1]))
