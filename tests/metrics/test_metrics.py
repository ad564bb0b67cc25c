import pytest
import torch

from camport.metrics import EnergyInRegion, PointingGame


def test_by_hand():
    heat = torch.zeros(3, 4, 4)
    heat[0, 1, 1], heat[0, 3, 3] = 1.0, 0.25
    heat[1, 0, 0] = 0.5
    region = torch.zeros(3, 4, 4, dtype=torch.bool)
    region[:, 1:3, 1:3] = True
    assert PointingGame()(heat, region).tolist() == [1, 0, 0]  # the last one is flat
    heat[1, 0, 0], heat[1, 0, 1] = 0.0, 0.5
    assert PointingGame(margin=1)(heat, region).tolist() == [1, 1, 0]
    heat[1, 0, 1], heat[1, 0, 0] = 0.0, 0.5
    assert PointingGame()(heat, region).tolist() == [1, 0, 0]
    assert EnergyInRegion()(heat, region).tolist() == pytest.approx([0.8, 0, 0])
    assert EnergyInRegion()(torch.ones(1, 4, 4), region[:1]).tolist() == [0.25]


def test_a_segment_points_by_its_middle():
    """All of a segment's pixels have its value: its middle counts,
    or what of it is nearest to its centroid."""
    maps = torch.zeros(2, 9, 11)
    maps[0, 2:7, 3:10] = 1.0  # a block, its middle (4, 6)
    maps[1, 1, 1:9] = maps[1, 1:8, 1] = 1.0  # an angle, whose centroid lies outside of it
    region = torch.zeros(2, 9, 11, dtype=torch.bool)
    region[0, 4, 6] = region[1, 1:4, 1:4] = True
    assert PointingGame()(maps, region).tolist() == [1.0, 1.0]
    region[0, 4, 6] = False
    assert PointingGame()(maps, region).tolist() == [0.0, 1.0]
