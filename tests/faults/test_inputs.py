"""What a user can write: what is right survives a round trip, what is wrong costs one line and no traceback."""

import contextlib
import csv
import io
import json
import signal
import sys
import warnings
from dataclasses import asdict

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from senas_bench import cli, groundtruth
from senas_bench.analysis.evaluation import read_scores
from senas_bench.errors import DataError
from senas_bench.experiments.spec import RunRecord, RunSpec, canonical_json
from senas_bench.experiments.store import RunStore
from senas_bench.experiments.study import Setting
from senas_bench.spaces import SPACES
from senas_bench.spaces.nasbench201 import arch_from_str, arch_to_str, official_archs

pytestmark = pytest.mark.slow

CASES = {"archs": (500, 7000), "scores": (250, 5000), "specs": (150, 4000), "commands": (100, 4000)}
"""1,000 in all; in full 20,000."""
TEXT = st.text(st.characters(exclude_characters="/\\~\0", exclude_categories=["Cs"]), max_size=5)
"""Of a file name it makes one in the working folder or the one above."""


@pytest.fixture(scope="module")
def examples(full):
    """Call with a family and a test: run it on that many cases. They are the same each time."""

    def run(family: str, strategy, test) -> None:
        number, passed = CASES[family][full], 0
        quiet = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example]

        @settings(max_examples=number, deadline=None, database=None, derandomize=True, suppress_health_check=quiet)
        @given(strategy)
        def each(case):
            nonlocal passed
            test(case)
            passed += 1

        each()
        print(f"{family}: {passed} cases")
        assert passed >= number * 0.9  # fewer where hypothesis finds that a strategy has no more

    return run


def refused(read, argument):
    """What `read` gives, or None where it refuses in one line."""
    try:
        return read(argument)
    except (ValueError, DataError, FileNotFoundError) as error:
        assert str(error) and "\n" not in str(error) and len(str(error)) < 2000, str(error)
        return None


def mutated(texts, alphabet):
    """Texts of which a piece is lost, doubled or replaced."""

    def change(drawn):
        text, start, length, inserted = drawn
        start %= len(text) + 1
        return text[:start] + inserted + text[start + length :]

    pieces = st.text(alphabet, max_size=6) | st.sampled_from(
        ["|", "~", "+", "none", "\n", ",", '"', "\ufeff", "²", "1e9"]
    )
    return st.tuples(texts, st.integers(0, 10_000), st.integers(0, 12), pieces).map(change)


def arch_texts(name):
    """Strings of archs of a space."""
    space = SPACES[name].whole
    choices = st.tuples(*(st.sampled_from(candidates) for candidates in space.candidates))
    return choices.filter(lambda arch: arch in space).map(SPACES[name].to_str)


def test_arch_strings(examples):
    def check(case):
        name, text, valid = case
        arch = refused(SPACES[name].from_str, text)
        if valid:
            assert arch is not None and SPACES[name].to_str(arch) == text
        elif arch is not None:
            again = SPACES[name].to_str(arch)
            assert SPACES[name].from_str(again) == arch
            assert name != "nasbench201" or again == text.strip() or "~0" in again  # leading zeros of a source

    spaces = ("nasbench201", "mobilenet")
    valid = [st.tuples(st.just(name), arch_texts(name), st.just(True)) for name in spaces]
    broken = [
        st.tuples(st.just(name), mutated(arch_texts(name), st.characters()) | st.text(), st.just(False))
        for name in spaces
    ]
    examples("archs", st.one_of(*valid, *broken), check)


ROWS = st.lists(
    st.tuples(st.integers(0, 15_624), st.floats(allow_nan=False, allow_infinity=False)),
    min_size=1,
    max_size=6,
    unique_by=lambda row: row[0],
)


def as_csv(rows) -> str:
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(["arch_str", "score"])
    writer.writerows((arch_to_str(official_archs()[index]), repr(score)) for index, score in rows)
    return out.getvalue()


def test_score_files(examples, tmp_path):
    path = tmp_path / "scores.csv"

    def check(case):
        rows, broken = case
        path.write_bytes(as_csv(rows).encode() if broken is None else broken)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of pandas, on columns of mixed types
            table = refused(read_scores, path)
        if broken is None:
            expected = [arch_to_str(official_archs()[index]) for index, _ in rows]
            assert table["arch_str"].tolist() == expected
            assert table["score"].tolist() == pytest.approx([score for _, score in rows], rel=1e-15)
        elif table is not None:
            assert len(table) and table["score"].notna().all() and not table["arch_str"].duplicated().any()
            assert [arch_to_str(arch_from_str(text)) for text in table["arch_str"]] == table["arch_str"].tolist()

    broken = mutated(ROWS.map(as_csv), st.characters(exclude_categories=["Cs"])).map(str.encode) | st.binary(
        max_size=80
    )
    examples("scores", st.tuples(ROWS, st.none()) | st.tuples(ROWS, broken), check)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
SPECS = st.builds(
    RunSpec,
    method=st.sampled_from(["spos", "se-nas", "se-nas+"]),
    seed=st.integers(0, 2**70),
    preset=st.just("embedded"),
    space=st.sampled_from(list(SPACES)),
    dataset=st.just("digits"),
    data_id=st.text("0123456789abcdef", min_size=16, max_size=16),
    device=st.sampled_from(["cpu", "cuda"]),
    threads=st.integers(1, 128),
    settings=st.dictionaries(st.text(max_size=8), JSON, max_size=4),
)


def test_specs(examples, tmp_path):
    """Through the store, where a spec is a file that others can damage."""
    store = RunStore(tmp_path)
    (tmp_path / "runs").mkdir()

    def check(case):
        spec, change = case
        again = RunSpec(**json.loads(json.dumps(asdict(spec))))
        assert (
            again == spec
            and again.run_id == spec.run_id
            and canonical_json(asdict(again)) == canonical_json(asdict(spec))
        )
        record = RunRecord(spec, "|a~0|", (), {}, None, {}, {})
        assert RunRecord.from_json(record.to_json()) == record
        path = tmp_path / "runs" / f"{spec.run_id}.json"
        path.write_text(change(record.to_json()))
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            found = store.has(spec)
        if found:
            assert caught == [] and store.load(spec).spec == spec
        else:  # said in a line, and left where it is
            assert "\n" not in str(caught[0].message) and len(caught) == 1 and path.exists()
        for left in (tmp_path / "runs").iterdir():
            left.unlink()

    def replaced(field, value):
        def change(text):
            raw = json.loads(text)
            raw["spec"][field] = value
            return json.dumps(raw)

        return change

    fields = st.sampled_from([*RunSpec.__dataclass_fields__, "unknown"])
    examples(
        "specs",
        st.tuples(SPECS, st.just(str))
        | st.tuples(SPECS, st.builds(replaced, fields, JSON))
        | st.tuples(SPECS, JSON.map(lambda value: lambda text: json.dumps(value)))
        | st.tuples(SPECS, st.integers(0, 400).map(lambda kept: lambda text: text[:kept])),
        check,
    )


NAMES = [
    "spos",
    "se-nas",
    "params",
    "spo",
    "",
    "digits",
    "cifar10",
    "cpu",
    "embedded",
    "nasbench201",
    "mobilenet",
    "darts",
]
FILES = ["scores.csv", "none.csv", "none.parquet", "."]
NUMBERS = ["0", "1", "-1", "12", "200", "0.5", "nan", "1e400", "0-2", "2-0", "1,1", "99999999999999999999"]
VALUES = st.sampled_from([*NAMES, *FILES, *NUMBERS]) | TEXT
COMMANDS = {
    "reproduce": ["--preset", "--seeds", "--methods", "--dataset", "--jobs", "--threads", "--executor", "--data-dir",
                  "--ground-truth", "--stage-epochs", "--rank-archs", "--candidates", "--results"],
    "rank": ["--out", "--method", "--preset", "--seed", "--dataset", "--stage-epochs", "--rank-archs", "--results"],
    "evaluate-ranking": ["--dataset", "--split", "--epochs", "--k", "--ground-truth"],
    "cost": ["--space", "--dataset"],
    "status": ["--results"],
    "report": ["--results", "--out"],
    "compare": [],
    "benchmark query": ["--dataset", "--split", "--epochs"],
    "benchmark info": ["--ground-truth"],
    "data verify": ["--data-dir"],
    "data list": ["--data-dir"],
}  # fmt: skip
FLAGS = ["--json", "--dry-run", "--no-timing", "--fresh", "--no", "--", "-"]


@st.composite
def command_lines(draw) -> list[str]:
    command = draw(st.sampled_from(list(COMMANDS)))
    given = [["--device", "cpu"]] if command in ("reproduce", "rank") else []
    for option in draw(st.lists(st.sampled_from(COMMANDS[command] or ["--json"]), max_size=4)):
        given.append([option, draw(VALUES)])
    given += [
        [value]
        for value in draw(st.lists(st.sampled_from(["table3", "fig7", "11", "scores.csv"]) | VALUES, max_size=2))
    ]
    given += [[flag] for flag in draw(st.lists(st.sampled_from(FLAGS), max_size=1))]
    return [*command.split(), *(word for words in draw(st.permutations(given)) for word in words)]


def call(arguments) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        patch.setattr(sys, "argv", ["senas-bench", *arguments])
        patch.setattr(signal, "signal", lambda *_: None)
        with pytest.raises(SystemExit) as stop, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            cli.main()
    return stop.value.code, out.getvalue(), err.getvalue()


@pytest.fixture
def idle(tmp_path, monkeypatch):
    """A working folder, and a command line that reads its ground truth once and computes nothing."""
    folder = tmp_path / "above" / "here"
    folder.mkdir(parents=True)
    (folder / "scores.csv").write_text(as_csv([(index, index) for index in range(20)]))
    monkeypatch.chdir(folder)
    monkeypatch.setenv("SENAS_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("SENAS_OFFLINE", "1")
    monkeypatch.delenv("SENAS_DEBUG", raising=False)
    table, load = groundtruth.load_ground_truth(), groundtruth.load_ground_truth
    monkeypatch.setattr(groundtruth, "load_ground_truth", lambda path=None: table if path is None else load(path))
    monkeypatch.setattr(Setting, "compute", lambda *_: [])
    return folder


def test_command_lines(examples, idle, full):
    codes = set()

    def check(arguments):
        code, out, err = call(arguments)
        codes.add(code)
        assert code in (0, 1, 2, 3), (arguments, code)
        assert "Traceback" not in out + err and "this is a bug" not in err, (arguments, err)
        if code and err:
            lines = err.splitlines()
            assert lines[0].startswith(("error: ", "Usage: ")) and (
                len(lines) == 1 or lines[0].startswith("Usage: ")
            ), err
        assert err or not code or arguments[0] == "benchmark", arguments

    examples("commands", command_lines(), check)
    assert codes >= ({0, 2, 3} if full else {0, 2})  # what was drawn met all outcomes
