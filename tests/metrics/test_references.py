import pytest
import torch

import camport
from camport import Case
from camport.core import registry
from tests.metrics.references import REFERENCES, Asked
from tests.nets import Net, images, seeded

SIZE = (8, 7)
TARGET = torch.tensor([1, 3])


def built_in():
    return sorted(
        name for name, info in camport.metrics().items() if info.distribution == "camport"
    )


def test_every_metric_has_a_reference():
    assert sorted(REFERENCES) == built_in()


@pytest.fixture(scope="module")
def case():
    model, x = seeded(Net()), images(2, SIZE)
    region = torch.rand(2, *SIZE, generator=torch.Generator().manual_seed(2)) < 0.4
    bound = camport.bind(model, "hirescam", "features", chunk=7)
    return Case.of(bound, x, TARGET, region)


@pytest.mark.parametrize("name", sorted(REFERENCES))
def test_the_figure_equals_the_paper(case, name):
    found = registry.metric(name)().measure(case)
    bound = case.bound
    for i, c in enumerate(TARGET.tolist()):

        def explain(x, c=c):
            return bound(torch.tensor([x], dtype=torch.float64), c).heatmap[0].tolist()

        asked = Asked(
            bound.model,
            case.images[i].tolist(),
            c,
            case.heatmap[i].tolist(),
            case.explanation.raw[i].tolist(),
            case.region[i].tolist(),
            explain,
        )
        assert float(found[i]) == pytest.approx(REFERENCES[name](asked), rel=1e-6, abs=1e-6)
        assert registry.metric(name).range[0] <= float(found[i]) <= registry.metric(name).range[1]
