"""What a runner does with records that were computed elsewhere."""

import pytest

from senas_bench.experiments.runner import Runner
from senas_bench.experiments.settings import make_spec
from senas_bench.experiments.spec import RunRecord
from senas_bench.experiments.store import RunStore


def test_a_record_from_elsewhere_takes_the_place_of_a_damaged_one_which_is_kept(tmp_path):
    record = RunRecord(make_spec("params", 0, "embedded"), "|a~0|", (), {}, None, {}, {})
    _, keep = Runner(tmp_path).apart()
    path = tmp_path / f"runs/{record.spec.run_id}.json"
    assert keep((record, None)) == record and keep((record, None)) == record
    path.write_text("{")
    with pytest.warns(UserWarning, match="is damaged .*; moved to "):
        assert keep((record, None)) == record
    assert path.with_name(f"{path.name}.corrupt").read_text() == "{" and RunStore(tmp_path).load(record.spec) == record
