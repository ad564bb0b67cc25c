import torch
from camport_sharpness import Sharpness

from camport.testing import check_metric


def test_conforms():
    check_metric(Sharpness)


def test_the_formula():
    maps = torch.zeros(3, 5, 5)
    maps[0, 2, 2] = 0.5  # alone among four neighbours
    maps[1] = 0.7
    assert Sharpness()(maps).tolist() == [4.0, 0.0, 0.0]
