import os

import pytest
import torch

from tests.fresh_process import forks, fresh_process  # noqa: F401 - fixtures
from tests.shared_files import shared  # noqa: F401 - a fixture

WORKERS = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
torch.set_num_threads(max(1, min(2, (os.cpu_count() or 1) // WORKERS)))


@pytest.fixture(autouse=True)
def nothing_left_behind():
    """Fails a test that leaves PyTorch's global state changed."""
    before = (
        torch.is_grad_enabled(),
        torch.get_default_dtype(),
        len(torch.overrides._get_current_function_mode_stack()),
    )
    torch.manual_seed(0)
    yield
    after = (
        torch.is_grad_enabled(),
        torch.get_default_dtype(),
        len(torch.overrides._get_current_function_mode_stack()),
    )
    assert before == after


def pytest_addoption(parser):
    parser.addoption("--all", action="store_true", help="also the tests marked `everything`")


def pytest_collection_modifyitems(config, items):
    """Without --all, and without -m, leaves out what is marked `everything`,
    except in files that are named."""
    if config.option.all or config.option.markexpr:
        # begins with the file that waits longest,
        # so that no process is left alone with it at the end
        items.sort(key=lambda item: "/yolo/" not in item.nodeid)
        return
    named = {
        (config.invocation_params.dir / argument.partition("::")[0]).resolve()
        for argument in config.args
    }
    left_out = [
        item
        for item in items
        if item.get_closest_marker("everything") and item.path.resolve() not in named
    ]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in set(left_out)]
