import warnings

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from senas_bench.training.checkpoint import read_arrays, read_checkpoint, write_arrays, write_checkpoint

TENSORS = {
    "network.w": torch.arange(24, dtype=torch.float32)
    .reshape(2, 3, 2, 2)
    .contiguous(memory_format=torch.channels_last),
    "slice": torch.arange(10)[::2],
    "count": torch.tensor(7),
    "generator": torch.Generator().manual_seed(3).get_state(),
    "half": torch.tensor([1.5, float("inf")], dtype=torch.bfloat16),
}
STATE = {"done": 3, "rng": np.random.default_rng(5).bit_generator.state, "history": [{"loss": 0.1 + 0.2}]}


def assert_none(path):
    """That what lies at `path` counts as no checkpoint, and that this is said in one line which names it."""
    with pytest.warns(UserWarning, match="is damaged .*; what it held is computed again") as caught:
        assert read_checkpoint(path) is None
    (warning,) = caught
    assert str(path) in str(warning.message) and "\n" not in str(warning.message)


def test_round_trip(tmp_path):
    path = tmp_path / "phase.safetensors"
    write_checkpoint(path, TENSORS, STATE)
    tensors, state = read_checkpoint(path)
    assert state == STATE  # 128-bit random states and floats to the last digit
    assert tensors.keys() == TENSORS.keys()
    for name, value in TENSORS.items():
        assert tensors[name].dtype == value.dtype and torch.equal(tensors[name], value)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_tensors_that_require_gradients(tmp_path):
    write_checkpoint(tmp_path / "c", {"w": torch.nn.Parameter(torch.ones(2))}, {})
    assert not read_checkpoint(tmp_path / "c")[0]["w"].requires_grad


def test_a_new_checkpoint_replaces_the_old_one_even_while_it_is_in_use(tmp_path):
    path = tmp_path / "c"
    write_checkpoint(path, {"w": torch.zeros(1000)}, {"done": 1})
    old, _ = read_checkpoint(path)
    write_checkpoint(path, {"w": torch.ones(5)}, {"done": 2})
    assert (old["w"] == 0).all()
    old["w"] += 3  # what was read can be written to, and the file does not change
    tensors, state = read_checkpoint(path)
    assert state == {"done": 2} and (tensors["w"] == 1).all()


def test_a_failed_write_leaves_the_old_checkpoint(tmp_path):
    path = tmp_path / "c"
    write_checkpoint(path, {"w": torch.zeros(3)}, {"done": 1})
    with pytest.raises(TypeError):
        write_checkpoint(path, {"w": torch.ones(3)}, {"done": object()})
    assert read_checkpoint(path)[1] == {"done": 1}
    assert [file.name for file in tmp_path.iterdir()] == ["c"]


def test_no_checkpoint(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_checkpoint(tmp_path / "absent") is None


def test_a_checkpoint_from_before_schemas_were_written_down_loads(tmp_path):
    path = tmp_path / "c"
    write_checkpoint(path, TENSORS, STATE)
    with safe_open(path, "pt") as file:
        metadata, tensors = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    assert metadata.pop("schema") == "1"
    save_file(tensors, path, metadata=metadata)
    assert read_checkpoint(path)[1] == STATE
    save_file(tensors, path, metadata={**metadata, "schema": "2"})
    assert_none(path)


def test_what_a_killed_writer_left_goes_with_the_next_write(tmp_path):
    for name in (".c.0a.tmp", ".other.0a.tmp"):
        (tmp_path / name).touch()
    write_checkpoint(tmp_path / "c", {}, {})
    assert sorted(file.name for file in tmp_path.iterdir()) == [".other.0a.tmp", "c"]


def test_arrays(tmp_path):
    arrays = {"scores": np.linspace(0, 1, 5)[::2], "count": np.array(3), "seconds": np.array(0.1 + 0.2)}
    write_arrays(tmp_path / "a", arrays)
    read = read_arrays(tmp_path / "a")
    assert read.keys() == arrays.keys()
    for name, array in arrays.items():
        assert read[name].dtype == array.dtype and read[name].shape == array.shape and (read[name] == array).all()
    assert read_arrays(tmp_path / "absent") is None


@pytest.mark.parametrize("kept", [0, 4, 8, 100, 0.5, -1])
def test_truncated_checkpoint_counts_as_none(tmp_path, kept):
    path = tmp_path / "c"
    write_checkpoint(path, TENSORS, STATE)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * kept)] if isinstance(kept, float) else data[:kept])
    assert_none(path)


@pytest.mark.parametrize("data", [b"not a checkpoint", b"\0" * 4096, b"\xff" * 4096])
def test_garbage_counts_as_none(tmp_path, data):
    (tmp_path / "c").write_bytes(data)
    assert_none(tmp_path / "c")


@pytest.mark.parametrize("metadata", [None, {"other": "1"}, {"state": "{not json"}])
def test_a_file_of_somebody_else_counts_as_none(tmp_path, metadata):
    save_file({"w": torch.ones(2)}, tmp_path / "c", metadata=metadata)
    assert_none(tmp_path / "c")


def test_a_folder_in_its_place_counts_as_none(tmp_path):
    assert_none(tmp_path)
