import json
import os
import subprocess
import sys
from dataclasses import asdict, dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from senas_bench.analysis.join import changed_sizes
from senas_bench.experiments.settings import make_spec
from senas_bench.experiments.spec import RunRecord, RunSpec, settings_of

SPEC = RunSpec("spos", 3, "embedded", "nasbench201", "digits", "d1", settings={"lr": 0.05, "deep": {"b": 1, "a": [2]}})

names = st.text(min_size=1, max_size=8)
scalars = (
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | names
)
values = st.recursive(scalars, lambda v: st.lists(v, max_size=3) | st.dictionaries(names, v, max_size=3), max_leaves=6)
mappings = st.dictionaries(names, values, max_size=3)
specs = st.builds(
    RunSpec,
    method=names,
    seed=st.integers(0, 2**31),
    preset=names,
    space=names,
    dataset=names,
    data_id=names,
    device=st.sampled_from(["cpu", "cuda"]),
    threads=st.integers(1, 64),
    settings=mappings,
)
records = st.builds(
    RunRecord,
    spec=specs,
    pick=names,
    history=st.lists(mappings, max_size=3).map(tuple),
    counters=st.dictionaries(names, st.dictionaries(names, st.integers(0, 2**53), max_size=2), max_size=2),
    scores_sha256=st.none() | names,
    timing=st.dictionaries(names, st.floats(0, 1e9), max_size=2),
    provenance=mappings,
)


@pytest.mark.slow
@settings(max_examples=30, deadline=None)
@given(records)
def test_json_round_trip(record):
    again = RunRecord.from_json(record.to_json())
    assert again == record
    assert again.spec.run_id == record.spec.run_id
    assert again.to_json() == record.to_json()


def record_json() -> dict:
    return json.loads(RunRecord(SPEC, "|a~0|", ({"epoch": 1},), {}, None, {}, {}).to_json())


@pytest.mark.parametrize("field", sorted(record_json()))
def test_missing_record_field_is_rejected(field):
    raw = record_json()
    del raw[field]
    with pytest.raises(ValueError, match=field):
        RunRecord.from_json(json.dumps(raw))


@pytest.mark.parametrize("field", sorted(asdict(SPEC)))
def test_missing_spec_field_is_rejected(field):
    raw = record_json()
    del raw["spec"][field]
    with pytest.raises(ValueError, match=f"RunSpec.*{field}"):
        RunRecord.from_json(json.dumps(raw))


def test_unknown_fields_are_rejected():
    for change in ({"extra": 1}, {"spec": {**asdict(SPEC), "extra": 1}}):
        with pytest.raises(ValueError, match=r"unknown.*extra"):
            RunRecord.from_json(json.dumps({**record_json(), **change}))


@pytest.mark.parametrize("field", sorted(record_json()))
@pytest.mark.parametrize("value", [3.5, True, [[]]])
def test_values_of_another_type_are_rejected(field, value):
    if field == "history" and value == [[]]:
        value = "[]"
    with pytest.raises(ValueError, match=field):
        RunRecord.from_json(json.dumps({**record_json(), field: value}))


@pytest.mark.parametrize("field", sorted(asdict(SPEC)))
def test_values_of_another_type_in_a_spec_are_rejected(field):
    raw = record_json()
    for raw["spec"][field] in (3.5, None, False, []):
        with pytest.raises(ValueError, match=f"RunSpec field {field}"):
            RunRecord.from_json(json.dumps(raw))


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"schema": 2}'])
def test_not_a_record_is_rejected(text):
    with pytest.raises(ValueError):
        RunRecord.from_json(text)


def test_nan_cannot_be_written():
    with pytest.raises(ValueError):
        RunRecord(SPEC, "", (), {}, None, {"train": float("nan")}, {}).to_json()


@pytest.mark.parametrize(
    "change",
    [
        {"method": "x"},
        {"seed": 4},
        {"preset": "cpu"},
        {"space": "x"},
        {"dataset": "x"},
        {"data_id": "x"},
        {"device": "cuda"},
        {"threads": 2},
        {"settings": {}},
        {"settings": {**SPEC.settings, "lr": 0.050000001}},
        {"settings": {**SPEC.settings, "more": None}},
        {"settings": {**SPEC.settings, "deep": {"b": 1, "a": [3]}}},
    ],
)
def test_every_change_gives_another_run_id(change):
    assert replace(SPEC, **change).run_id != SPEC.run_id


def test_run_id_ignores_the_order_of_settings():
    assert replace(SPEC, settings={"deep": {"a": [2], "b": 1}, "lr": 0.05}).run_id == SPEC.run_id


def test_run_id_is_the_same_in_every_process():
    code = f"from senas_bench.experiments.spec import RunSpec; print(({SPEC!r}).run_id)"
    for hash_seed in ("0", "1234"):
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
        assert done.stdout.strip() == SPEC.run_id
    assert SPEC.run_id == "spos-embedded-digits-s3-ab3059433e"  # a new value orphans every record ever saved


def test_a_fact_is_never_part_of_a_spec_and_an_added_field_only_when_it_is_used():
    @dataclass(frozen=True)
    class Strategy:
        lr: float = 0.1
        added: int = field(default=0, metadata={"added": True})
        fact: str = field(default="", metadata={"fact": True})

    @dataclass(frozen=True)
    class Method:
        inner: Strategy = Strategy(fact="within")
        fact: bool = field(default=False, metadata={"fact": True})

    assert settings_of(Method(fact=True)) == {"inner": {"kind": "Strategy", "lr": 0.1}}
    assert settings_of(Method()) == settings_of(Method(fact=True))
    assert settings_of(Strategy(added=2, fact="x")) == {"lr": 0.1, "added": 2}


@pytest.mark.parametrize(
    ("preset", "dataset", "pad"),
    [
        ("paper", "cifar10", 4), ("paper", "cifar100", 4), ("paper", "imagenet16-120", 2),
        ("cpu", "cifar10", 2), ("cpu", "imagenet16-120", 2), ("embedded", "imagenet16-120", 1),
    ],
)  # fmt: skip
def test_the_border_is_that_of_the_images(preset, dataset, pad, monkeypatch):
    """AutoDL-Projects: RandomCrop(32, padding=4) of CIFAR and RandomCrop(16, padding=2) of ImageNet16."""
    monkeypatch.setattr("senas_bench.experiments.settings.data_id", lambda *_, **__: "d1")
    for method in ("spos", "gdas"):
        spec = make_spec(method, 0, preset, dataset=dataset)
        assert spec.settings["preset"]["pad"] == pad
        record = RunRecord(spec, "", (), {}, None, {}, {})
        assert changed_sizes([record]) == {}
