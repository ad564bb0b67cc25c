"""The process's random numbers belong to all of its threads:
an explanation reads their state and never writes it."""

import threading

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import camport
from tests.marks import rare
from tests.nets import GapNet, images, seeded

pytestmark = pytest.mark.filterwarnings("ignore::camport.errors.CamportWarning")


def attention(x):
    q = x.flatten(2).transpose(1, 2)
    return F.scaled_dot_product_attention(q, q, q, dropout_p=0.3).transpose(1, 2).reshape(x.shape)


DRAWS = {
    "dropout": lambda x: F.dropout(x, 0.4, training=True),
    "dropout of all": lambda x: F.dropout(x, 1.0, training=True) + x,
    "channels": lambda x: F.dropout2d(x, 0.4, training=True),
    "alpha dropout": lambda x: F.alpha_dropout(x, 0.3, training=True),
    "native dropout": lambda x: torch.native_dropout(x, 0.4, True)[0],
    "rand": lambda x: x + torch.rand(x.shape),
    "randn": lambda x: x + torch.randn(x.shape),
    "rand_like": lambda x: x * torch.rand_like(x),
    "randn_like": lambda x: x + torch.randn_like(x),
    "randint": lambda x: x + torch.randint(5, x.shape),
    "randint of an interval": lambda x: x + torch.randint(2, 5, x.shape),
    "randint_like": lambda x: x + torch.randint_like(x, 5),
    "randint_like of an interval": lambda x: x + torch.randint_like(x, 2, 5),
    "randperm": lambda x: x[:, torch.randperm(x.shape[1])],
    "normal": lambda x: x + torch.normal(0.0, 1.0, x.shape),
    "normal_": lambda x: x + torch.empty_like(x).normal_(),
    "uniform_": lambda x: x + torch.empty_like(x).uniform_(),
    "bernoulli": lambda x: x * torch.bernoulli(torch.full_like(x, 0.5)),
    "exponential": lambda x: x + torch.empty_like(x).exponential_(),
    "multinomial": lambda x: x[:, torch.multinomial(torch.ones(x.shape[1]), x.shape[1])],
    "poisson": lambda x: x + torch.poisson(torch.full_like(x, 3.0)),
    "rrelu": lambda x: F.rrelu(x, training=True),
    "gumbel": lambda x: x * F.gumbel_softmax(x, dim=1),
    "attention with dropout": attention,
}


class Drawing(GapNet):
    draw = staticmethod(DRAWS["dropout"])

    def forward(self, x):
        return super().forward(self.draw(x))


@pytest.mark.parametrize("draw", DRAWS)
def test_numbers_are_the_process_s_and_stay_there(draw):
    model = seeded(Drawing()).eval()
    model.draw = DRAWS[draw]
    x = images()
    torch.manual_seed(11)
    state = torch.get_rng_state()
    with torch.no_grad():
        expected = model(x)
    torch.set_rng_state(state)
    bound = camport.bind(model, "hirescam", "features")
    first, second = bound(x, 1), bound(x, 1)
    assert torch.equal(torch.get_rng_state(), state)
    torch.testing.assert_close(first.score, expected[:, 1])
    torch.testing.assert_close(second.score, expected[:, 1])
    assert torch.equal(first.raw, second.raw)
    if draw != "dropout of all":
        others = []
        for seed in (12, 13, 14):
            torch.manual_seed(seed)
            others.append(bound(x, 1).score)
        assert not all(torch.equal(other, first.score) for other in others)


def drawn_after_state(x):
    torch.set_rng_state(torch.Generator().manual_seed(99).get_state())
    return torch.randn(x.shape[1:], dtype=x.dtype)


def drawn_after_seed(x):
    torch.manual_seed(99)
    return torch.randn(x.shape[1:], dtype=x.dtype)


def drawn_in_fork(x):
    with torch.random.fork_rng():
        return drawn_after_seed(x)


def drawn_by_name(x):
    torch.random.manual_seed(99)
    return torch.randn(x.shape[1:], dtype=x.dtype, generator=torch.default_generator)


SEEDS = (drawn_after_seed, drawn_in_fork, drawn_after_state, drawn_by_name)


@pytest.mark.parametrize(
    "method", ["smoothgrad", *rare("integrated_gradients", "occlusion", "scorecam", "rise")]
)
@pytest.mark.parametrize("noise", SEEDS)
def test_a_model_that_seeds_itself_sees_the_same_noise_in_each_pass(noise, method):
    seeding, fixed = seeded(Drawing()), seeded(Drawing())
    seeding.draw = lambda x: x + noise(x)
    x = images()
    constant = torch.randn(x.shape[1:], dtype=x.dtype, generator=torch.Generator().manual_seed(99))
    fixed.draw = lambda x: x + constant
    torch.manual_seed(3)
    state = torch.get_rng_state()
    found, expected = (
        camport.explain(model, x, method, 1, layer="features") for model in (seeding, fixed)
    )
    torch.testing.assert_close(found.raw, expected.raw, rtol=0, atol=0)
    assert torch.equal(torch.get_rng_state(), state)


def test_seeds_without_numbers_stay_with_the_model():
    """Such a model draws nothing, and yet it cannot do without generators of its own."""
    model = seeded(Drawing())
    model.draw = lambda x: (torch.manual_seed(1), x)[1]
    bound, x = camport.bind(model, "gradcam", "features"), images()
    torch.manual_seed(3)
    state, name = torch.get_rng_state(), torch.random.default_generator
    for _ in range(3):
        bound(x, 1)
    assert torch.equal(torch.get_rng_state(), state)
    assert name is torch.default_generator is torch.random.default_generator


@pytest.mark.parametrize("noise", SEEDS)
def test_a_model_that_seeds_itself_beside_a_thread_that_draws(noise):
    model = seeded(Drawing())
    model.draw = lambda x: x + noise(x)
    bound, x = camport.bind(model, "gradcam", "features"), images()
    alone, stop, done = bound(x, 1).raw, threading.Event(), []

    def explain():
        while not stop.is_set():
            done.append(bound(x, 1).raw)

    threads = [threading.Thread(target=explain) for _ in range(2)]
    torch.manual_seed(7)
    for thread in threads:
        thread.start()
    drawn = []
    while len(done) < 6:
        drawn.append(float(torch.rand(())))
        stop.wait(0.001)  # lets the others run
    stop.set()
    for thread in threads:
        thread.join()
    serial = torch.Generator().manual_seed(7)
    assert drawn == [float(torch.rand((), generator=serial)) for _ in drawn]
    assert all(torch.equal(raw, alone) for raw in done)


@pytest.mark.parametrize("method", ["gradcam", "scorecam", "smoothgrad", "rise"])
@pytest.mark.parametrize("draw", [None, "dropout"])
def test_another_threads_numbers_are_its_own(method, draw):
    model = seeded(Drawing()).eval()
    model.draw = DRAWS[draw] if draw else (lambda x: x)
    bound, x = (
        camport.bind(model, method if method != "rise" else camport.plugins.RISE(40), "features"),
        images(),
    )
    stop, done = threading.Event(), []

    def explain():
        while not stop.is_set():
            done.append(bound(x, 1))

    thread = threading.Thread(target=explain)
    torch.manual_seed(7)
    thread.start()
    drawn = []
    while len(done) < 4 or len(drawn) < 500:
        drawn.append(float(torch.rand(())))
    stop.set()
    thread.join()
    serial = torch.Generator().manual_seed(7)
    assert drawn == [float(torch.rand((), generator=serial)) for _ in drawn]


def test_training_with_dropout_beside_explanations():
    """The trainer's losses are those that it has alone, to the last bit."""

    def trained() -> list[float]:
        pooled = (nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(96, 3))
        model = seeded(nn.Sequential(nn.Conv2d(3, 6, 3), nn.Dropout(0.5), *pooled))
        torch.manual_seed(5)
        optimizer, losses = torch.optim.SGD(model.parameters(), 0.1), []
        for _ in range(60):
            optimizer.zero_grad()
            x = torch.rand(4, *images().shape[1:], dtype=torch.float64)
            loss = F.cross_entropy(model(x), torch.tensor([0, 1, 2, 0]))
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        return losses

    alone = trained()
    bound, x = camport.bind(seeded(GapNet()).eval(), "gradcam", "features"), images()
    stop = threading.Event()

    def explain():
        while not stop.is_set():
            bound(x, 1)

    thread = threading.Thread(target=explain)
    thread.start()
    beside = trained()
    stop.set()
    thread.join()
    assert beside == alone


def test_a_model_that_begins_to_draw_is_watched_from_then_on():
    model, x = seeded(Drawing()).eval(), images()
    model.draw = lambda v: v
    bound = camport.bind(model, "gradcam", "features")
    bound(x, 1)
    model.draw = DRAWS["dropout"]
    bound(x, 1)  # nothing told that it would
    state = torch.get_rng_state()
    bound(x, 1)
    assert torch.equal(torch.get_rng_state(), state)


def test_training_mode_is_watched_anew():
    class Net(GapNet):
        def forward(self, x):
            return super().forward(F.dropout(x, 0.4, self.training))

    model, x = seeded(Net()).eval(), images()
    bound = camport.bind(model, "gradcam", "features")
    bound(x, 1)
    model.train()
    state = torch.get_rng_state()
    bound(x, 1)
    assert torch.equal(torch.get_rng_state(), state)
