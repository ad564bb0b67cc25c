import torch
from camport_maxcam import MaxCAM
from torch import nn

import camport
from camport.testing import check_explainer


def test_conforms():
    check_explainer(MaxCAM)


def test_the_formula():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    images = torch.randn(1, 3, 8, 8)
    explanation = camport.explain(model.eval(), images, MaxCAM(), 1, "1")
    # behind the ReLU: A >= 0, and the gradient of channel k is w_k / (h w) everywhere
    a = model[1](model[0](images))[0].detach()
    w = model[4].weight[1].detach() / (a.shape[1] * a.shape[2])
    by_hand = torch.stack([w[k].clamp(min=0) * a[k] for k in range(4)]).max(0).values
    torch.testing.assert_close(explanation.raw[0], by_hand)
