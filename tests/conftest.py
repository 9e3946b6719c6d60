"""What every test starts from: no network, a fixed seed, float64 unless asked otherwise."""

import os

os.environ |= {
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "OMP_NUM_THREADS": "1",  # tiny tensors, and one test process a core
    "CUDA_VISIBLE_DEVICES": os.environ.get("CUDA_VISIBLE_DEVICES", ""),
}

from pathlib import Path

import pytest
import torch
from transformers.utils.logging import disable_progress_bar

disable_progress_bar()  # of saving models: tests look at what the commands write to standard error
torch.set_num_threads(1)

HERE = Path(__file__).parent
FAST_LAWS = {
    "test_mutants.py",
    "test_package.py",
    "test_dynamics.py",
    "test_docs.py",
    "test_examples.py",
    "test_mitigations.py",
}
DTYPES = {"float64": torch.float64, "float32": torch.float32}


def pytest_addoption(parser):
    parser.addoption("--dtype", choices=list(DTYPES), default="float64", help="type the laws are tested in")
    parser.addoption("--device", default="cpu", help="device the laws are tested on")


def pytest_collection_modifyitems(items):
    """Unit tests are fast, but for those marked as slow or on real data; so are the laws of small tables."""
    for item in items:
        place = item.path.relative_to(HERE).parts if item.path.is_relative_to(HERE) else ("src",)
        slow = any(item.get_closest_marker(name) for name in ("slow", "real_data", "wheel", "browser"))
        if not slow and (place[0] == "unit" or place[-1] in FAST_LAWS):
            item.add_marker(pytest.mark.fast)


@pytest.fixture
def dtype(request):
    return DTYPES[request.config.getoption("--dtype")]


@pytest.fixture
def device(request):
    return torch.device(request.config.getoption("--device"))


@pytest.fixture(autouse=True)
def fixed_seed():
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def real_data():
    """The folder with real data sets and models; tests that need it skip without."""
    place = os.environ.get("PREFLENS_REAL_DATA")
    if not place:
        pytest.skip("PREFLENS_REAL_DATA is not set: no folder with real data sets and models")
    if not (Path(place) / "data" / "preference").is_dir():
        pytest.skip(f"PREFLENS_REAL_DATA={place} holds no data/preference")
    return Path(place)
