"""The official files: real records against numbers of another source, hostile ones, and memory."""

import bz2
import os
import pickle
import subprocess
import sys
import zipfile

import numpy as np
import pyarrow.parquet as pq
import pytest

from senas_bench.errors import DataError
from senas_bench.groundtruth import Query, benchmark_verify, import_table, load_parquet, official, unpickle
from senas_bench.groundtruth.archs import official_index
from senas_bench.groundtruth.official import fold_trial, read_nats, read_pth

INDICES = [0, 11, 284]
NAMES = list(official_index())


def real_records(folder):
    return {
        index: pickle.loads(bz2.decompress((folder / f"{index:06d}.pickle.pbz2").read_bytes())) for index in INDICES
    }


def as_pth(records):
    """The content of a `.pth` that holds records of NATS-Bench."""
    infos = {index: {"less": record["12"], "full": record["200"]} for index, record in records.items()}
    return {"meta_archs": NAMES, "arch2infos": infos, "evaluated_indexes": set(infos)}


def write_zip(path, content, name="archive/data.pkl", protocol=2):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(name, content if isinstance(content, bytes) else pickle.dumps(content, protocol))
    return path


def write_nats(folder, record, index=11):
    folder.mkdir(exist_ok=True)
    content = record if isinstance(record, bytes) else pickle.dumps(record, 4)
    (folder / f"{index:06d}.pickle.pbz2").write_bytes(bz2.compress(content, 1))  # the fastest
    return folder


@pytest.fixture(scope="module")
def records(nats_folder):
    return real_records(nats_folder)


@pytest.fixture
def one(official_files):
    """A record of index 11 under NATS-Bench's names."""
    return official_files.record(11, NAMES[11], ("12", "200"))


def test_real_records_agree_with_the_published_tables(shared, nats_folder):
    truth = read_nats(nats_folder)
    assert truth.arch_strs == tuple(NAMES[index] for index in INDICES)
    published = pq.read_table(shared / "nb201" / "nb201_accuracies.parquet").take(INDICES).to_pydict()
    checked = 0
    for query, values in truth.columns.items():
        if str(query) in published:
            assert values == pytest.approx(published[str(query)], abs=1e-9), query
            checked += 1
    assert checked == 12
    for model in ("cifar10-valid", "cifar100", "imagenet16-120"):
        column = f"{model}_train_s_per_epoch"
        assert truth.costs[column] == pytest.approx(published[column], abs=1e-5)
    seeds = pq.read_table(shared / "nb201" / "nb201_per_seed.parquet").take(INDICES).to_pydict()
    for dataset, split in (("cifar10", "val"), ("cifar100", "valtest"), ("imagenet16-120", "valtest")):
        for number, seed in enumerate((777, 888, 999)):
            expected = seeds[f"{dataset}_{split}_acc_200_seed{number}"]
            assert truth.columns[Query(dataset, split, 200, seed)] == pytest.approx(expected, abs=1e-5)


def test_what_no_published_table_has_is_read_off_the_record(nats_folder):
    truth = read_nats(nats_folder)
    of = {str(query): values[1] for query, values in truth.columns.items()}
    assert len(of) == 56
    # seeds of 12 epochs differ by model; these were read with Python's own unpickler
    assert of["cifar10-valid_test_acc_12ep_seed111"] == pytest.approx(62.48)
    assert of["cifar10-valid_test_acc_200ep_seed999"] == pytest.approx(87.39)
    assert of["cifar10_test_acc_12ep_seed111"] == 74.0 and "cifar10_test_acc_12ep_seed777" not in of
    assert of["cifar100_valtest_acc_12ep"] == pytest.approx(33.2)
    assert of["imagenet16-120_test_acc_200ep_seed888"] == pytest.approx(30.9667, abs=1e-4)
    assert truth.costs["cifar10_latency_s"][1] == pytest.approx(0.016163252947623268)
    assert truth.costs["cifar10-valid_val_s"][1] == pytest.approx(4.151251713434855)
    assert truth.costs["cifar10_train_s_per_epoch"][1] == pytest.approx(24.924113591512043)
    assert "cifar10_val_s" not in truth.costs  # that model has no validation images


def test_torch_writes_what_is_read(nats_folder, records, tmp_path):
    torch = pytest.importorskip("torch")
    torch.save(as_pth(records), tmp_path / "new.pth")
    torch.save(as_pth(records), tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    expected = read_nats(nats_folder)
    for name in ("new.pth", "old.pth"):
        truth = read_pth(tmp_path / name)
        assert (truth.sha256, truth.costs_sha256) == (expected.sha256, expected.costs_sha256)
        assert truth.source["file"] == name and "MIT" in truth.source["licence"] and len(truth.source["sha256"]) == 64


def test_weights_in_a_record_are_passed_over(nats_folder, records, tmp_path):
    torch = pytest.importorskip("torch")
    content = as_pth(real_records(nats_folder))
    trial = content["arch2infos"][11]["full"]["all_results"]["cifar10", 777]
    trial["net_state_dict"] = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4)).state_dict()
    for number, zipped in enumerate((True, False)):
        torch.save(content, tmp_path / f"{number}.pth", _use_new_zipfile_serialization=zipped)
        assert read_pth(tmp_path / f"{number}.pth").sha256 == read_nats(nats_folder).sha256


def test_the_api_of_the_benchmark_answers_the_same(nats_folder, records):
    """With its own classes: `pip install nas-bench-201`. It takes the dict, as it cannot open its file any more."""
    api = pytest.importorskip("nas_201_api").NASBench201API(as_pth(records), verbose=False)
    truth = read_nats(nats_folder)
    for query, values in truth.columns.items():
        model = {"imagenet16-120": "ImageNet16-120"}.get(query.model, query.model)
        of_split = {"val": "valid-accuracy", "test": "test-accuracy", "valtest": "valtest-accuracy"}[query.split]
        seed = False if query.seeds == "mean" else query.seeds
        for row, index in enumerate(INDICES):
            answer = api.get_more_info(index, model, hp=str(query.epochs), is_random=seed)
            assert values[row] == pytest.approx(answer[of_split], abs=1e-9), (query, index)
    for row, index in enumerate(INDICES):
        costs = api.get_cost_info(index, "cifar100", hp="200")
        assert truth.costs["cifar100_latency_s"][row] == pytest.approx(costs["latency"])
        assert truth.costs["cifar100_train_s_per_epoch"][row] == pytest.approx(costs["T-train@epoch"])


def test_state_dicts_of_the_api_classes_are_read(nats_folder, tmp_path):
    utils = pytest.importorskip("nas_201_api.api_utils")
    records = real_records(nats_folder)
    for record in records.values():
        for length, state in record.items():
            record[length] = utils.ArchResults.create_from_state_dict(state).state_dict()
    truth = read_pth(write_zip(tmp_path / "t.pth", as_pth(records)))
    assert truth.sha256 == read_nats(nats_folder).sha256


def test_import_by_content_keeps_everything(nats_folder, shared, records, tmp_path):
    costs = shared / "nb201" / "hw_nas_bench.parquet"
    first = import_table(nats_folder, tmp_path / "a.parquet", costs)
    second = import_table(write_zip(tmp_path / "t.pth", as_pth(records)), tmp_path / "b.parquet", costs)
    assert (first.sha256, first.costs_sha256) == (second.sha256, second.costs_sha256)
    again = load_parquet(tmp_path / "a.parquet")
    assert (again.sha256, again.costs_sha256, again.source) == (first.sha256, first.costs_sha256, first.source)
    assert (again.name, second.name) == ("nats-bench", "nas-bench-201")
    latency = pq.read_table(costs).take(INDICES)["cifar10_edgegpu_latency"].to_pylist()
    assert again.costs["cifar10_edgegpu_latency"].tolist() == latency
    assert again.source["costs_file"] == "hw_nas_bench.parquet" and len(again.source["costs_file_sha256"]) == 64
    assert benchmark_verify(tmp_path / "a.parquet") == benchmark_verify(tmp_path / "b.parquet") == []
    third = import_table(tmp_path / "a.parquet", tmp_path / "c.parquet")
    assert (tmp_path / "c.parquet").read_bytes() == (tmp_path / "a.parquet").read_bytes() and third.costs


def test_a_missing_seed_is_left_empty_and_out_of_the_mean(one, official_files, tmp_path):
    del one["200"]["all_results"]["cifar10", 888]
    write_nats(tmp_path / "n", one)
    write_nats(tmp_path / "n", official_files.record(12, NAMES[12], ("12", "200")), 12)
    truth = read_nats(tmp_path / "n")
    seeds = [truth.columns[Query("cifar10", "test", 200, seed)] for seed in (777, 888, 999)]
    assert np.isnan(seeds[1]).tolist() == [True, False]
    assert truth.accuracy(Query("cifar10", "test", 200, "mean"))[0] == pytest.approx((seeds[0][0] + seeds[2][0]) / 2)


def test_fold_frees_what_is_not_kept(one):
    state = one["12"]["all_results"]["cifar100", 777]
    last, accuracies = state["eval_acc1es"]["x-test@11"], state["eval_acc1es"]
    assert fold_trial(state)
    trial = state["trial"]
    assert list(state) == ["trial"] and not accuracies
    assert (trial.model, trial.seed, trial.epochs, trial.accuracies["x-test"]) == ("cifar100", 777, 12, last)
    assert (trial.train_s, trial.latency_s) == pytest.approx((7.25, 0.0139))
    assert not fold_trial({"name": "cifar10"})


def changes():
    """(name, what is done to a record of index 11, part of the message)."""

    def of(field, value, run=("cifar10", 777), length="200"):
        return lambda record: record[length]["all_results"][run].__setitem__(field, value)

    def swap(record):  # the accuracies of the model trained on half the images under the name of the other
        runs = record["200"]["all_results"]
        runs["cifar10", 777] = runs["cifar10-valid", 777]

    def lengths(record):
        record["12"], record["200"] = record["200"], record["12"]

    def last(record):
        del record["200"]["all_results"]["cifar10", 777]["eval_acc1es"]["ori-test@199"]

    return [
        ("swapped models", swap, "under .'cifar10', 777., 200 epochs, it has cifar10-valid, seed 777, 200 epochs"),
        ("swapped lengths", lengths, "12 epochs, it has cifar10-valid, seed 777, 200 epochs"),
        ("another seed", of("seed", "0888"), "it has cifar10, seed 888"),
        ("another data set", of("name", "svhn"), "a training of 'svhn'"),
        ("90 epochs", of("epochs", 90), "for 90 epochs"),
        ("no last epoch", last, "without an accuracy after epoch 200"),
        ("cut times", of("train_times", {0: 1.0}), "1 training times for 200 epochs"),
        ("another arch", lambda record: record["200"].update(arch_str=NAMES[12]), "index 11 is of"),
        ("above 100", of("eval_acc1es", {"ori-test@199": 101.0}), "outside 0 to 100"),
        ("text", of("eval_acc1es", {"ori-test@199": "high"}), "could not convert"),
        ("no state", lambda record: record.update({"200": None}), "NoneType"),
        ("the size space", lambda record: record["200"].update(arch_str="8:8:8:8:8"), "is of '8:8:8:8:8'"),
    ]


@pytest.mark.parametrize("change, message", [case[1:] for case in changes()], ids=[case[0] for case in changes()])
def test_a_record_that_contradicts_itself_is_refused(one, tmp_path, change, message):
    change(one)
    with pytest.raises(DataError, match=message) as error:
        import_table(write_nats(tmp_path / "n", one), tmp_path / "out.parquet")
    assert "\n" not in str(error.value) and not (tmp_path / "out.parquet").exists()


def test_an_order_that_is_not_the_official_one_is_refused(one, tmp_path):
    content = {"meta_archs": [*NAMES[1:], NAMES[0]], "arch2infos": {11: one}, "evaluated_indexes": [11]}
    with pytest.raises(DataError, match="which is not NAS-Bench-201's order"):
        read_pth(write_zip(tmp_path / "t.pth", content))
    with pytest.raises(DataError, match="1 archs that it lists as evaluated are not in it"):
        content = {"meta_archs": NAMES, "arch2infos": {11: one}, "evaluated_indexes": [11, 12]}
        read_pth(write_zip(tmp_path / "t.pth", content))


@pytest.mark.slow
def test_damage_is_found(official_files, nats_folder, tmp_path):
    for legacy in (False, True):
        content = official_files.write_pth(tmp_path / "t.pth", 1, legacy=legacy).read_bytes()
        for size in (0, 1, 100, len(content) // 2, len(content) - 30):
            (tmp_path / "cut.pth").write_bytes(content[:size])
            with pytest.raises(DataError, match="get the official one again"):
                read_pth(tmp_path / "cut.pth")
    content = bytearray(official_files.write_pth(tmp_path / "t.pth", 1).read_bytes())
    content[-2000] ^= 1  # one bit, in a number
    (tmp_path / "flipped.pth").write_bytes(content)
    with pytest.raises(DataError):
        read_pth(tmp_path / "flipped.pth")
    good = (nats_folder / "000011.pickle.pbz2").read_bytes()
    (tmp_path / "n").mkdir()
    for bad in (b"", good[:-10], good[:40_000], good[:50_000] + b"\0" + good[50_001:], good + good):
        (tmp_path / "n" / "000011.pickle.pbz2").write_bytes(bad)
        with pytest.raises(DataError, match="000011"):
            read_nats(tmp_path / "n")


def test_missing_files_say_what_to_give(tmp_path):
    with pytest.raises(DataError, match="no NAS-Bench-201 file at"):
        import_table(tmp_path / "none.pth", tmp_path / "o.parquet")
    with pytest.raises(DataError, match="has no NATS-Bench records"):
        import_table(tmp_path, tmp_path / "o.parquet")
    with pytest.raises(ValueError, match=r"end in \.parquet or \.csv.*name the whole folder"):
        import_table(tmp_path / "000011.pickle.pbz2", tmp_path / "o.parquet")


def of_the_size_space(record):
    """As a real one: lengths 01, 12, 90, and a configuration with channels."""
    record["90"] = record.pop("200")
    for length in record.values():
        for state in length["all_results"].values():
            state["arch_config"] = {"name": "infer.shape.tiny", "channels": "8:8:8:16:32", "class_num": 10}


def with_weights(record):
    torch = pytest.importorskip("torch")
    record["200"]["all_results"]["cifar10", 777]["net_state_dict"] = torch.nn.Linear(2, 3).state_dict()


@pytest.mark.parametrize(
    "change, found, advice",
    [
        (of_the_size_space, "of NATS-Bench's size space", "name a NATS-tss folder, such as NATS-tss-v1_0-3ffb9-simple"),
        (with_weights, "it holds trained weights", 'name the "simple" archive without weights'),
        ("long", "it has 0 MB, as with trained weights", 'name the "simple" archive without weights'),
    ],
)
def test_other_archives_are_named_with_what_to_do(one, tmp_path, monkeypatch, change, found, advice):
    if change == "long":
        monkeypatch.setattr(official, "_LONGEST_RECORD", 1 << 17)
    else:
        change(one)
    with pytest.raises(DataError) as error:
        import_table(write_nats(tmp_path / "n", one), tmp_path / "out.parquet")
    said = str(error.value)
    assert found in said and advice in said and "again" not in said and "\n" not in said


def test_a_folder_without_records_says_what_is_in_it(one, tmp_path):
    def refusal():
        with pytest.raises(DataError) as error:
            import_table(tmp_path, tmp_path / "o.parquet")
        return str(error.value)

    assert refusal().endswith("it is empty: unpack NATS-tss-v1_0-3ffb9-simple.tar and name its folder")
    (tmp_path / "NATS-tss-v1_0-3ffb9-full.taraa").write_bytes(b"")
    (tmp_path / "notes.txt").write_bytes(b"")
    assert "it has 2 other files: unpack" in refusal()
    (tmp_path / "NATS-tss-v1_0-3ffb9-simple.tar").write_bytes(b"")
    assert "it has NATS-tss-v1_0-3ffb9-simple.tar: unpack" in refusal()
    write_nats(tmp_path / "NATS-tss-v1_0-3ffb9-simple", one)
    assert refusal().endswith("name the folder NATS-tss-v1_0-3ffb9-simple in it")


@pytest.mark.parametrize("name", ["NATS-tss-v1_0-3ffb9-simple.tar", "NATS-tss-v1_0-3ffb9.pickle.pbz2", "NATS-sss-v1_0"])
def test_packed_archives_are_to_be_unpacked(tmp_path, name):
    with pytest.raises(ValueError, match=r"of NATS-Bench unpack NATS-tss-v1_0-3ffb9-simple\.tar"):
        import_table(tmp_path / name, tmp_path / "o.parquet")


def test_the_record_of_one_arch_is_not_the_benchmark(one, tmp_path):
    with pytest.raises(DataError, match=r"it is the record of one arch.*; name the file of all, NAS-Bench-201-v1_1"):
        read_pth(write_zip(tmp_path / "000011-FULL.pth", {"full": one["200"], "less": one["12"]}))


class Call:
    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def hostile(canary):
    """Name -> a value whose unpickling would make the canary, or bytes that are no plain pickle."""
    write = f"open({str(canary)!r}, 'w').close()"
    deep = Call(os.system, f"touch {canary}")
    for _ in range(50):
        deep = {"full": [(deep,)]}
    gadget = f"cnumpy.testing._private.utils\nrunstring\n(V{write}\n}}tR."
    return {
        "os.system": Call(os.system, f"touch {canary}"),
        "eval": Call(eval, write),
        "exec": Call(exec, write),
        "open": Call(open, str(canary), "w"),
        "getattr": Call(getattr, Call(__import__, "os"), "system"),
        "subprocess": Call(subprocess.check_call, ["touch", str(canary)]),
        "numpy gadget": gadget.encode(),
        "nested": deep,
        "a global alone": b"\x80\x02cos\nsystem\n.",
        "numpy load": Call(np.load, str(canary)),
        "dict with a hostile key": {("cifar10", Call(os.system, f"touch {canary}")): 1},
        "a name in an allowed module": b"\x80\x02ctorch._utils\nos.system\n(X\x05\0\0\0touchtR.",
    }


HOSTILE = list(hostile("x"))


@pytest.mark.parametrize("kind", ["zip", "legacy", "nats", "renamed"])
@pytest.mark.parametrize("payload", HOSTILE)
def test_hostile_files_are_refused_and_nothing_runs(tmp_path, payload, kind):
    canary = tmp_path / "canary"
    value = hostile(canary)[payload]
    content = value if isinstance(value, bytes) else pickle.dumps({"arch2infos": {0: value}}, 2)
    if kind == "zip":
        path = write_zip(tmp_path / "t.pth", content)
    elif kind == "nats":
        path = write_nats(tmp_path / "n", content)
    else:
        path = tmp_path / "t.pth"
        magic = b"" if kind == "renamed" else b"".join(pickle.dumps(v, 2) for v in (official._LEGACY_MAGIC, 1001, {}))
        path.write_bytes(magic + content)
    with pytest.raises(DataError) as error:
        import_table(path, tmp_path / "out.parquet")
    assert "\n" not in str(error.value) and len(str(error.value)) < 500
    assert not canary.exists() and not (tmp_path / "out.parquet").exists()


@pytest.mark.slow
@pytest.mark.parametrize("place", ["evaluated_indexes", "meta_archs", "name", "epochs", "seed", "latency"])
def test_endless_nesting_does_not_overflow_the_stack(tmp_path, one, place):
    """Python hashes tuples by recursion without a limit, so one in a set would end the process."""
    content = {"meta_archs": [*NAMES[:12]], "arch2infos": {11: one}, "evaluated_indexes": [11]}
    trial = one["200"]["all_results"]["cifar10", 777]
    marker = "put it here"
    if place == "evaluated_indexes":
        content[place] = [marker]
    elif place == "meta_archs":
        content[place][11] = marker
    else:
        trial[place] = marker
    pickled = pickle.dumps(content, 4)
    nested = b")" + b"\x85" * 200_000
    at = pickled.index(b"\x8c\x0bput it here")
    write_zip(tmp_path / "t.pth", pickled[:at] + nested + pickled[at + 13 :])
    with pytest.raises(DataError) as error:
        read_pth(tmp_path / "t.pth")
    assert "\n" not in str(error.value) and len(str(error.value)) < 500


def test_the_payloads_are_hostile(tmp_path):
    """Python's own unpickler makes the canary of each that makes one, so the test above could fail."""
    made = []
    for payload in ("os.system", "eval", "exec", "open", "subprocess", "nested", "dict with a hostile key"):
        canary = tmp_path / payload.replace(" ", "-")
        made.append((canary, pickle.dumps(hostile(canary)[payload], 2)))
    script = "import pickle, sys\nfor content in pickle.load(sys.stdin.buffer): pickle.loads(content)"
    subprocess.run([sys.executable, "-c", script], input=pickle.dumps([content for _, content in made]), check=True)
    assert all(canary.exists() for canary, _ in made)


@pytest.mark.slow
def test_bombs_are_refused(tmp_path, monkeypatch):
    """Small files that would grow: bz2 streams of pickles and of zeros, and a zip."""
    monkeypatch.setattr(unpickle, "PATIENCE", 1 << 20)
    pushed_and_popped = b"\x80\x02]" + b"N0" * (3 << 20) + b"."
    for content in (bytes(8 << 20), pushed_and_popped, b"\x80\x02(" + b"]" * (6 << 20)):
        folder = write_nats(tmp_path / "n", content)
        assert (folder / "000011.pickle.pbz2").stat().st_size < len(content) / 1000
        with pytest.raises(DataError, match=r"000011.*(opcode 0x00|1 MB without a record|3 MB of values)"):
            read_nats(folder)
    with zipfile.ZipFile(tmp_path / "t.pth", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(50 << 20))
    with pytest.raises(DataError, match=r"data\.pkl is compressed"):
        read_pth(tmp_path / "t.pth")
    with open(tmp_path / "n" / "000011.pickle.pbz2", "r+b") as file:
        file.truncate(1 << 30)  # a sparse file
    with pytest.raises(DataError, match="it has 1024 MB"):
        read_nats(tmp_path / "n")


def test_a_record_has_a_longest_size(tmp_path, monkeypatch, one):
    folder = write_nats(tmp_path / "n", one)
    monkeypatch.setattr(official, "_LONGEST_RECORD", 300_000)
    with pytest.raises(DataError, match="it grows beyond"):
        read_nats(folder)


@pytest.mark.parametrize("name", ["../../canary", "/tmp/canary", "archive/../../data.pkl", "..\\canary"])
def test_paths_that_lead_out_of_an_archive_are_refused(tmp_path, official_files, name):
    path = official_files.write_pth(tmp_path / "t.pth", 1)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(name, b"x")
    with pytest.raises(DataError, match="leads out of the archive"):
        read_pth(path)


def test_other_files_in_a_folder_are_not_opened(tmp_path, one):
    folder = write_nats(tmp_path / "n", one)
    (folder / "meta.pickle.pbz2").write_bytes(bz2.compress(pickle.dumps(Call(os.system, f"touch {tmp_path}/canary"))))
    (folder / "000012.pickle.pbz2").mkdir()
    os.mkfifo(folder / "000013.pickle.pbz2")  # opening it would wait for ever
    assert read_nats(folder).arch_strs == (NAMES[11],)
    assert not (tmp_path / "canary").exists()


MEASURE = """
import sys
from pathlib import Path
import pyarrow.parquet
from senas_bench.groundtruth.official import read_pth
from senas_bench.groundtruth.table import official_index

def peak():
    (line,) = [line for line in open("/proc/self/status") if line.startswith("VmHWM")]
    return int(line.split()[1]) << 10

official_index()
before = peak()
truth = read_pth(Path(sys.argv[1]))
read = peak() - before
truth.save(Path(sys.argv[2]))
print(read, peak() - before, len(truth.arch_strs), len(truth.columns))
"""
SIZES = [int(count) for count in os.environ.get("SENAS_IMPORT_ARCHS", "20,60").split(",")]
"""Archs of the two files; `SENAS_IMPORT_ARCHS=1000,2000` takes minutes and 1.3 GB of disk."""
WRITER = 64 << 20
"""Memory that Arrow takes to write a table of any size, of which these small files would be no measure."""


def measured(official_files, tmp_path, count, legacy):
    """(bytes of a file of `count` archs, bytes above the interpreter's to read it, and to read and save it)."""
    path = official_files.write_pth(tmp_path / "t.pth", count, legacy=legacy)
    size = path.stat().st_size
    command = [sys.executable, "-c", MEASURE, str(path), str(tmp_path / "o.parquet")]
    result = subprocess.run(command, check=True, capture_output=True, text=True)
    path.unlink()
    read, imported, archs, columns = map(int, result.stdout.split())
    assert (archs, columns) == (count, 63)
    print(f"{count} archs, {size / 1e6:.1f} MB: read {read / 1e6:.1f} MB, imported {imported / 1e6:.1f} MB")
    return size, read, imported


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read from /proc")
@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
def test_memory_stays_below_twice_the_file_and_grows_with_it(official_files, tmp_path, legacy):
    """Less than the file in fact, beyond a few MB that do not grow."""
    sizes, read, imported = zip(*(measured(official_files, tmp_path, n, legacy) for n in SIZES), strict=True)
    assert read[1] - read[0] < sizes[1] - sizes[0]
    for size, of_read, of_import in zip(sizes, read, imported, strict=True):
        assert of_read < 2 * size and of_import < max(2 * size, of_read + WRITER)


def test_columns_hold_what_was_written(official_files, tmp_path):
    truth = read_pth(official_files.write_pth(tmp_path / "t.pth", 3, legacy=True))
    record = official_files.record(0, "any")
    for query, model, on, length in (
        (Query("cifar10", "val", 12, 111), "cifar10-valid", "x-valid", "less"),
        (Query("cifar10", "test", 200, 999), "cifar10", "ori-test", "full"),
        (Query("imagenet16-120", "valtest", 200, 888), "ImageNet16-120", "ori-test", "full"),
    ):
        expected = record[length]["all_results"][model, query.seeds]["eval_acc1es"][f"{on}@{query.epochs - 1}"]
        assert truth.columns[query].tolist() == [expected] * 3
    assert truth.accuracy(Query("cifar10", "val", 12, "mean"))[0] == pytest.approx(
        (truth.columns[Query("cifar10", "val", 12, 111)][0] + truth.columns[Query("cifar10", "val", 12, 777)][0]) / 2
    )
