import pytest
import torch


@pytest.fixture(autouse=True)
def one_thread():
    """Networks this small run several times faster on one thread,
    above all where other work goes on beside them."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
