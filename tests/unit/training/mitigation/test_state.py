"""The state of a mitigation survives a checkpoint to the last bit."""

import pytest
import torch

from preflens.errors import InputError
from preflens.mitigations import LearnedMasks, MovingAverages
from preflens.training.mitigation.state import STATE_FILE, load_state, save_state


def test_a_damaged_state_is_refused_by_name(tmp_path):
    (tmp_path / STATE_FILE).write_bytes(b"no tensors")
    with pytest.raises(InputError, match="Delete it to start without a saved state"):
        load_state(tmp_path)


@pytest.mark.parametrize(
    "state",
    [
        MovingAverages({"S_w": 0.1, "D_l": -3.0}, 7),
        LearnedMasks({"a.b": (torch.tensor([0.5, 1.0], dtype=torch.float64), torch.zeros(0, dtype=torch.float64))}, 3),
        LearnedMasks({}, 5),
    ],
    ids=str,
)
def test_what_is_remembered_comes_back_to_the_last_bit(state, tmp_path):
    save_state(state, tmp_path)
    loaded = load_state(tmp_path)
    assert (type(loaded), loaded.updates) == (type(state), state.updates)
    if isinstance(state, MovingAverages):
        assert loaded.logs == state.logs
    else:
        assert loaded.masks.keys() == state.masks.keys()
        for key, masks in state.masks.items():
            assert all(torch.equal(a, b) for a, b in zip(masks, loaded.masks[key], strict=True))


def test_the_state_of_a_generator_continues_its_numbers(tmp_path):
    generator = torch.Generator().manual_seed(3)
    save_state(generator.get_state(), tmp_path)
    expected = torch.rand(3, generator=generator)
    other = torch.Generator()
    other.set_state(load_state(tmp_path))
    assert torch.equal(torch.rand(3, generator=other), expected)


def test_a_checkpoint_without_a_state_has_none(tmp_path):
    assert load_state(tmp_path) is None
