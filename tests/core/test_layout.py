"""Many images at once are laid out with channels last where the model can take them."""

import pytest
import torch

import camport
from camport.core.running.channels_last import FEWEST
from camport.errors import ModelError
from camport.plugins import IntegratedGradients, ScoreCAM
from tests.nets import Net, images, seeded

pytestmark = pytest.mark.filterwarnings("ignore::camport.errors.FlatMapWarning")  # random networks


def is_last(x):
    return x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()


SEEN = {}  # outside of the networks, since what one holds is copied with it


class Watched(Net):
    """Notes of each batch how large it is and how it lies."""

    def __init__(self):
        super().__init__()
        self.key = object()

    @property
    def seen(self):
        return SEEN.setdefault(self.key, [])

    def forward(self, x):
        self.seen.append((len(x), is_last(x)))
        return super().forward(x)


class Viewing(Watched):
    """Cannot flatten features whose channels come last."""

    def forward(self, x):
        self.seen.append((len(x), is_last(x)))
        a = self.head[:4](self.features(x))
        return self.head[5](a.view(len(a), -1))


def explained(model, method, chunk):
    return camport.bind(model.float(), method, "features", chunk=chunk)(images(1).float(), 1)


@pytest.mark.parametrize("method", [ScoreCAM(), IntegratedGradients(16)], ids=str)
def test_channels_come_last_in_batches_of_many(method):
    model, few = seeded(Watched()), seeded(Watched())
    found, wanted = explained(model, method, FEWEST), explained(few, method, FEWEST - 1)
    assert {last for n, last in model.seen if n >= FEWEST} == {True}
    assert {last for n, last in model.seen + few.seen if n < FEWEST} == {False}
    assert torch.allclose(found.raw, wanted.raw, rtol=1e-4, atol=1e-5)


def test_a_model_that_cannot_take_them_is_asked_once():
    model = seeded(Viewing())
    found = explained(model, IntegratedGradients(24), 8)
    many = [last for n, last in model.seen if n == 8]
    assert many == [True, False, False, False]
    assert torch.allclose(
        found.raw, explained(seeded(Net()), IntegratedGradients(24), 8).raw, rtol=1e-4, atol=1e-5
    )


def test_a_failure_is_still_told():
    class Failing(Net):
        def forward(self, x):
            if len(x) > 1:
                raise RuntimeError("too many")
            return super().forward(x)

    with pytest.raises(ModelError, match=r"RuntimeError: too many"):
        explained(seeded(Failing()), ScoreCAM(), 8)
