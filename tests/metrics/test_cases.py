"""What a metric is given: the score of any images, of every task, and maps of changed images."""

import copy
import inspect

import pytest
import torch
from torch import nn

import camport
from camport import Case, Metric
from camport.adapters import CaptioningAdapter, DetectionAdapter
from camport.core.scorer import Scorer
from camport.errors import InputError
from camport.metrics import PointingGame
from camport.testing.fingerprint import changes, fingerprint
from camport.testing.networks import CaptionNet
from camport.testing.networks import seeded as kit_seeded
from tests.adapters.detectors import Detector, FreeHead, awake, photographs
from tests.nets import GapNet, Net, images, seeded

quiet = pytest.mark.filterwarnings(
    "ignore::camport.errors.DoubtWarning", "ignore::camport.errors.FlatMapWarning"
)


def test_scores_are_the_models_softmax_and_logit_of_each_rows_class():
    model, x, target = seeded(Net()), images(2), torch.tensor([3, 1])
    scorer = Scorer.of(camport.bind(model, "gradcam", "features", chunk=4), x, target)
    others, rows = images(7, seed=5), torch.tensor([0, 1, 1, 0, 1, 0, 0])
    z = model(others).detach()
    at = torch.arange(7)
    torch.testing.assert_close(scorer(others, rows), z.softmax(1)[at, target[rows]])
    torch.testing.assert_close(scorer(others, rows, probability=False), z[at, target[rows]])
    torch.testing.assert_close(scorer.probability, model(x).detach().softmax(1)[[0, 1], target])
    torch.testing.assert_close(scorer.y, model(x).detach()[[0, 1], target])
    with pytest.raises(
        InputError, match=r"7 images for 2 rows of the target; say whose each image is"
    ):
        scorer(others)


class Means(nn.Module):
    """A class a colour: its mean."""

    def __init__(self):
        super().__init__()
        self.features = nn.Identity()

    def forward(self, x):
        return self.features(x * 1.0).mean((2, 3))


def test_the_top_class_is_that_of_the_clean_images():
    model, x = Means().eval(), images(3)
    top, others = model(x).argmax(1), x.roll(1, 1)
    assert torch.equal(model(others).argmax(1), (top + 1) % 3)
    scorer = Scorer.of(camport.bind(model, "saliency"), x)
    torch.testing.assert_close(scorer(others), model(others).softmax(1)[[0, 1, 2], top])


def test_variants_go_through_in_batches():
    model, x, sizes = seeded(GapNet()), images(2), []
    scorer = Scorer.of(camport.bind(model, "gradcam", "features", chunk=6), x, 2)

    def variants(numbers):
        sizes.append(len(numbers))
        return x * (numbers / 10)[:, None, None, None, None]

    found = scorer.each(10, variants)
    wanted = torch.stack([model(x * (i / 10)).detach().softmax(1)[:, 2] for i in range(10)])
    torch.testing.assert_close(found, wanted)
    assert sizes == [3, 3, 3, 1]


@quiet
def test_a_detection_is_scored_by_overlap_and_confidence():
    model, x = awake(Detector(FreeHead()), seed=1), photographs(1)
    adapter = DetectionAdapter(threshold=0.0, most=3)
    bound = camport.bind(model, "odam", adapter=adapter)
    explanation = bound(x)
    case = Case.of(bound, x)
    assert case.heatmap.shape[0] == case.images.shape[0] == 3
    assert torch.equal(case.scores.target["class_ids"], explanation.target)
    table = model(x)[0][0].detach()
    boxes = torch.cat([table[:2] - table[2:4] / 2, table[:2] + table[2:4] / 2]).T
    for r in range(3):
        box = explanation.figures["boxes"][r]
        low, high = torch.maximum(box[:2], boxes[:, :2]), torch.minimum(box[2:], boxes[:, 2:])
        both = (high - low).clamp(min=0).prod(1)
        area = (boxes[:, 2:] - boxes[:, :2]).prod(1)
        iou = both / ((box[2:] - box[:2]).prod() + area - both)
        wanted = (iou * table[4 + int(explanation.target[r])]).max()
        assert float(case.scores.probability[r]) == pytest.approx(float(wanted), rel=1e-4)
        assert float(case.scores(x, torch.tensor([r]))[0]) == pytest.approx(float(wanted), rel=1e-4)


@quiet
def test_lists_of_several_images_are_one_case():
    model, x = awake(Detector(FreeHead()), seed=1), photographs(2)
    bound = camport.bind(model, "odam", adapter=DetectionAdapter(threshold=0.0, most=2))
    case = Case.of(bound, x)
    for i in range(2):
        alone = Case.of(bound, x[i : i + 1])
        torch.testing.assert_close(
            case.scores.probability[2 * i : 2 * i + 2], alone.scores.probability
        )
        torch.testing.assert_close(case.images[2 * i], x[i])


@quiet
def test_a_caption_is_scored_by_the_probability_of_its_tokens():
    model, x = kit_seeded(CaptionNet()), images(2)
    tokens = torch.tensor([[0, 2, 3, 5, 6, 1], [0, 2, 8, 1, 1, 1]])
    bound = camport.bind(model, "hirescam", "features", CaptioningAdapter(length=6))
    case = Case.of(bound, x, {"tokens": tokens, "span": (1, 3)})
    others = images(2, seed=4)
    p = model(others, tokens).softmax(2).detach()
    wanted = torch.stack([p[i, 0, tokens[i, 1]] * p[i, 1, tokens[i, 2]] for i in range(2)])
    torch.testing.assert_close(case.scores(others), wanted)
    again = case.explain(others)
    torch.testing.assert_close(
        again.heatmap, bound(others, {"tokens": tokens, "span": (1, 3)}).heatmap
    )


def test_changed_images_are_explained_for_the_class_of_the_clean_ones():
    model, x = Means().eval(), images(3)
    bound, others = camport.bind(model, "hirescam", "features"), x.roll(1, 1)
    case = Case.of(bound, x)
    top = model(x).argmax(1)
    assert torch.equal(model(others).argmax(1), (top + 1) % 3)
    torch.testing.assert_close(case.explain(others).raw, bound(others, top).raw)


class Writes(nn.Module):
    """Writes into its input and its parameter, draws random numbers, and counts its calls."""

    def __init__(self):
        super().__init__()
        self.inner, self.gain = seeded(GapNet()), nn.Parameter(torch.ones(1, dtype=torch.float64))

    def forward(self, x):
        self.gain.data.clamp_(0, 0.5)
        torch.rand(1)
        return self.inner(x.mul_(self.gain))


def test_nothing_of_the_users_changes():
    model, x, others = Writes().eval(), images(2), images(5, seed=3)
    before = fingerprint(model, x=x, others=others)
    case = Case.of(camport.bind(model, "saliency"), x, 1)
    found = case.scores(others, torch.tensor([0, 1, 0, 1, 0]))
    case.explain(x)
    assert not sorted(changes(before, fingerprint(model, x=x, others=others)))
    torch.testing.assert_close(found, model.inner(others / 2).detach().softmax(1)[:, 1])


def test_a_case_lacks_what_it_was_not_made_of():
    class Asks(Metric):
        name, title = "asks", "Asks"

        def measure(self, case):
            case.check(self)
            return case.heatmap.amax((1, 2))

    def needing(*needs):
        return type("A", (Asks,), {"needs": frozenset(needs)})()

    x = images(2)
    maps = torch.rand(2, 14, 18)
    bare = Case(x, maps)
    for need, match in (
        ("region", "give region="),
        ("model", r"Case\.of\(bound"),
        ("explain", "without heatmap="),
    ):
        with pytest.raises(InputError, match=f"asks needs the .*{match}"):
            needing(need).measure(bare)
    bound = camport.bind(seeded(Net()), "gradcam", "features")
    case = Case.of(bound, x, heatmap=maps)
    assert torch.equal(needing("model").measure(case), maps.amax((1, 2)))
    assert torch.equal(case.heatmap, maps)
    with pytest.raises(InputError, match="the method"):
        needing("explain").measure(case)
    with pytest.raises(InputError, match=r"needs the model; measure it by asks\.measure"):
        needing("model")(maps)
    with pytest.raises(InputError, match=r"heatmap has shape \(2, 5, 5\); wanted \(2, 14, 18\)"):
        Case.of(bound, x, heatmap=torch.rand(2, 5, 5))
    with pytest.raises(
        InputError, match=r"region is bool \(1, 14, 18\); wanted bool \(2, 14, 18\)"
    ):
        Case(x, maps, torch.ones(1, 14, 18, dtype=torch.bool))


def test_region_metrics_measure_a_case():
    x, region = images(2), torch.zeros(2, 14, 18, dtype=torch.bool)
    maps = torch.zeros(2, 14, 18)
    maps[0, 2, 3] = maps[1, 4, 4] = 1.0
    region[:, 2, 3] = True
    assert PointingGame().measure(Case(x, maps, region)).tolist() == [1.0, 0.0]


def test_what_metrics_declare_is_listed():
    listed = camport.metrics()
    assert listed["pointing_game"] == camport.MetricInfo(
        "pointing_game",
        "Pointing game",
        "1608.00507",
        ("region",),
        "higher",
        (0.0, 1.0),
        "",
        "camport",
    )
    assert inspect.ismodule(camport.metrics)
    assert copy.copy(camport.metrics.PointingGame(margin=3)) == PointingGame(margin=3)
