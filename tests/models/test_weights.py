import os
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torchvision import models

from kdsearch.errors import TeacherError
from kdsearch.models.weights import from_bytes, load_weights, read_weights, to_bytes


def network(classes=11, width=4):
    return nn.Sequential(
        nn.Conv2d(3, width, 3), nn.BatchNorm2d(width), nn.Flatten(), nn.Linear(width, classes)
    )


@pytest.fixture
def state():
    return network().state_dict()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "teacher.pt"


def equal(ours, theirs):
    assert ours.keys() == theirs.keys()
    return all(torch.equal(ours[key], theirs[key]) for key in ours)


def prefixed(state, prefix):
    return {prefix + key: tensor for key, tensor in state.items()}


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: state,
        lambda state: {"state_dict": state, "epoch": 7},
        lambda state: {"model": state, "optimizer": {"lr": 0.1}},
        lambda state: {"epoch": 3, "checkpoint": None, "model": {"state_dict": state}},
        lambda state: prefixed(state, "module."),
        lambda state: {"state_dict": prefixed(state, "model.module.")},
        lambda state: prefixed(state, "_orig_mod."),
    ],
    ids=["plain", "nested", "with optimizer", "twice", "parallel", "lightning", "compiled"],
)
def test_a_state_dict_is_found_where_people_put_it(state, path, wrap):
    torch.save(wrap(state), path)
    assert equal(read_weights(path), state)


def test_safetensors_are_read_too(state, tmp_path):
    save_file(state, tmp_path / "teacher.safetensors")
    assert equal(read_weights(tmp_path / "teacher.safetensors"), state)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_become_float32_and_counters_stay_integers(state, path, dtype):
    torch.save(
        {key: tensor.to(dtype) if tensor.is_floating_point() else tensor for key, tensor in state.items()},
        path,
    )
    weights = read_weights(path)
    assert {tensor.dtype for key, tensor in weights.items() if "num_batches" not in key} == {torch.float32}
    assert weights["1.num_batches_tracked"].dtype == torch.int64
    load_weights(network(), weights, "half")


class Marker:
    """Runs code when it is unpickled."""

    def __init__(self, touched):
        self.touched = touched

    def __reduce__(self):
        return Path.touch, (self.touched,)


@pytest.mark.parametrize("save", [torch.save, lambda content, path: path.write_bytes(pickle.dumps(content))])
def test_code_in_a_file_is_refused_and_does_not_run(path, tmp_path, save):
    save({"state_dict": Marker(tmp_path / "touched")}, path)
    with pytest.raises(TeacherError, match="could run code; save"):
        read_weights(path)
    assert not (tmp_path / "touched").exists()


def test_a_whole_pickled_network_is_refused(path):
    torch.save(network(), path)
    with pytest.raises(TeacherError, match="holds more than tensors"):
        read_weights(path)


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
@pytest.mark.parametrize("kept", [0, 0.001, 0.3, 0.95])
def test_a_file_cut_short_is_one_line(state, tmp_path, suffix, kept):
    path = tmp_path / f"teacher{suffix}"
    save_file(state, path) if suffix == ".safetensors" else torch.save(state, path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(kept * len(whole))])
    with pytest.raises(TeacherError, match=rf"teacher{suffix}: ") as error:
        read_weights(path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("content", [b"\x80", b"GIF89a", b"\x00" * 40, b"\x80\x02.", b"PK\x03\x04"])
def test_a_file_of_something_else_is_one_line(path, content):
    path.write_bytes(content)
    with pytest.raises(TeacherError) as error:
        read_weights(path)
    assert "\n" not in str(error.value)


def test_a_folder_is_no_file(tmp_path):
    with pytest.raises(TeacherError, match="Is a directory"):
        read_weights(tmp_path)


@pytest.mark.parametrize(
    "content", [{}, {"epoch": 3}, [torch.zeros(2)], torch.zeros(2), {"model": {"model": {}}}]
)
def test_a_file_without_a_state_dict_says_where_it_looked(path, content):
    torch.save(content, path)
    with pytest.raises(TeacherError, match="no state dict in it; looked at the top and under state_dict, "):
        read_weights(path)


@pytest.mark.timeout(30)  # whoever opens a pipe waits for a writer
@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_a_named_pipe_is_no_file(tmp_path, suffix):
    os.mkfifo(tmp_path / f"teacher{suffix}")
    with pytest.raises(TeacherError, match=rf"teacher{suffix}: cannot be read \(Is a named pipe\); name a"):
        read_weights(tmp_path / f"teacher{suffix}")


def test_a_file_that_may_not_be_read_is_no_damaged_one(state, without_privileges, shared_folder):
    path = shared_folder / "teacher.pt"
    torch.save(state, path)
    path.chmod(0)
    with without_privileges(), pytest.raises(TeacherError, match=r"cannot be read \(Permission denied\)"):
        read_weights(path)


def test_a_missing_file_is_named(path):
    with pytest.raises(TeacherError, match=r"teacher.pt: no such file"):
        read_weights(path)


def test_other_classes_are_told_with_both_numbers():
    with pytest.raises(TeacherError, match=r"^food.pt: has 10 classes, the data has 11$"):
        load_weights(network(11), network(10).state_dict(), "food.pt")


def test_other_keys_are_named(state):
    state["head.weight"] = state.pop("3.weight")
    with pytest.raises(TeacherError, match=r"^food.pt: .*lacks 3.weight; has unknown head.weight"):
        load_weights(network(), state, "food.pt")


def test_many_other_keys_are_counted(state):
    with pytest.raises(TeacherError, match=r"lacks 0.bias, 0.weight, 1.bias and 6 more"):
        load_weights(network(), {}, "food.pt")


def test_another_shape_is_named():
    with pytest.raises(
        TeacherError, match=r"0.weight has shape \(5, 3, 3, 3\), this network needs \(4, 3, 3, 3\)"
    ):
        load_weights(network(), network(width=5).state_dict(), "food.pt")


def test_weights_that_do_not_fit_leave_the_network_as_it_was(state):
    net = network()
    before = {key: tensor.clone() for key, tensor in net.state_dict().items()}
    with pytest.raises(TeacherError):
        load_weights(net, network(10).state_dict(), "food.pt")
    assert equal(net.state_dict(), before)


def test_bytes_hold_the_weights_whatever_their_layout(state):
    channels_last = network().to(memory_format=torch.channels_last)
    channels_last.load_state_dict(state)
    again = from_bytes(to_bytes(channels_last.state_dict()))
    assert equal(again, state)
    net = network()
    load_weights(net, again, "stored")
    assert equal(net.state_dict(), state)


def test_damaged_bytes_are_refused(state):
    with pytest.raises(TeacherError, match="stored weights: not a whole safetensors file"):
        from_bytes(to_bytes(state)[:-1])


def test_a_network_whose_weights_carry_a_version_takes_them_without_it():
    net, other = (models.mnasnet0_5(weights=None) for _ in range(2))
    load_weights(net, from_bytes(to_bytes(other.state_dict())), "mnasnet")
    assert equal(net.state_dict(), other.state_dict())
