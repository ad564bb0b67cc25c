import pytest
import torch

torch.set_num_threads(2)


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
