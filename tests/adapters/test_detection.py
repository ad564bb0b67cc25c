"""Which candidate is explained, in every form of output, and the habits of real detectors."""

import copy
import warnings

import pytest
import torch
import torchvision
from torch import nn

import camport
from camport.adapters import DetectionAdapter
from camport.adapters.detection.boxes import corners, overlap, suppressed
from camport.errors import DoubtWarning, InputError, MethodError, ModelError
from camport.testing import check_adapter
from tests.adapters.detectors import (
    CLASSES,
    AutoShaped,
    Backend,
    ClassicHead,
    Detector,
    FreeHead,
    Predictor,
    RememberingHead,
    Transformer,
    awake,
    photographs,
)

# random detectors' boxes lie anywhere, and some of their maps are flat
pytestmark = pytest.mark.filterwarnings(
    "ignore::camport.errors.DoubtWarning", "ignore::camport.errors.FlatMapWarning"
)
FORMS = {
    "yolov5": lambda: Detector(ClassicHead()),
    "yolov5 alone": lambda: Detector(ClassicHead(alone=True)),
    "yolov5 with masks": lambda: Detector(ClassicHead(extra=3)),
    "yolov8": lambda: Detector(FreeHead()),
    "yolov8 with maps": lambda: Detector(FreeHead("maps")),
    "yolov8 alone": lambda: Detector(FreeHead("nothing")),
    "yolov8 of the first branch": lambda: Detector(FreeHead("one2many")),
    "yolov8 of the second branch": lambda: Detector(FreeHead("one2one")),
    "yolov8 with points": lambda: Detector(FreeHead("nothing", extra=5)),
    "end2end": lambda: Detector(FreeHead("end2end")),
    "detr softmax": lambda: Transformer(softmax=True),
    "detr sigmoid": lambda: Transformer(softmax=False),
}
EVERYTHING = DetectionAdapter(threshold=0.0, most=4)


def truth(
    name: str, model: nn.Module, images: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """By hand, of one image: boxes [n,4], class logits [n,k] and confidences [n,k],
    of the raw numbers."""
    outputs = model(images)
    h, w = images.shape[2:]
    if name.startswith("detr"):
        logits, boxes = (
            outputs["logits"][0],
            corners(outputs["pred_boxes"][0]) * torch.tensor([w, h, w, h]),
        )
        p = logits.softmax(1)[:, :-1] if name == "detr softmax" else logits.sigmoid()
        return boxes, logits[:, :CLASSES], p
    if name.startswith("yolov5"):
        head = model.model[-1]
        inputs = []
        handle = head.register_forward_pre_hook(lambda m, args: inputs.extend(args[0]))
        table = model(images)
        handle.remove()
        table = (table if head.alone else table[0])[0]
        raw = [
            layer(x)[0].unflatten(0, (3, head.no)) for layer, x in zip(head.m, inputs, strict=True)
        ]
        numbers = torch.cat([r.permute(0, 2, 3, 1).flatten(0, 2) for r in raw])
        return (
            corners(table[:, :4]),
            numbers[:, 5 : 5 + CLASSES],
            table[:, 4:5] * table[:, 5 : 5 + CLASSES],
        )
    if name == "end2end":
        rows = outputs[0]
        p = torch.zeros(len(rows), CLASSES, dtype=rows.dtype)
        p[torch.arange(len(rows)), rows[:, 5].long()] = rows[:, 4]
        return rows[:, :4], torch.logit(p), p
    table = (outputs if isinstance(outputs, torch.Tensor) else outputs[0])[0]
    p = table[4 : 4 + CLASSES].T
    return corners(table[:4].T), torch.logit(p), p


@pytest.mark.parametrize("name", FORMS)
def test_the_candidate_is_the_one_that_matches_and_the_score_its_logit(name):
    model, images = awake(FORMS[name]()), photographs()
    with torch.no_grad():
        boxes, logits, p = truth(name, model, images)
    rows = p.max(1).values.topk(3).indices
    for row in rows.tolist():
        label = int(p[row].argmax())
        asked = boxes[row].clone().float()
        if not bool(((asked[2:] - asked[:2]) > 1).all()) or bool((asked[2:] <= 0).any()):
            continue
        best = int((overlap(asked.double()[None], boxes) * p[:, label]).argmax())
        explanation = camport.explain(
            model,
            images,
            "hirescam",
            {"boxes": asked[None], "class_ids": [label]},
            adapter=EVERYTHING,
        )
        assert int(explanation.figures["index"]) == best
        assert float(explanation.score) == pytest.approx(
            float(logits[best, label]), rel=1e-5, abs=1e-6
        )
        assert float(explanation.figures["confidence"]) == pytest.approx(
            float(p[best, label]), rel=1e-6
        )
        torch.testing.assert_close(explanation.figures["boxes"][0], boxes[best])
        assert explanation.target.tolist() == [label]


@pytest.mark.parametrize("name", FORMS)
def test_the_gradient_is_that_of_the_raw_logit(name):
    model, images = awake(FORMS[name]()), photographs()
    layers = ["model.2", "model.3", "model.4"] if "detr" not in name else ["body"]
    bound = camport.bind(model, "hirescam", adapter=EVERYTHING)
    explanation = bound(images)
    assert list(bound.layers) == layers
    row = int(explanation.figures["index"][0])
    kept = []
    handles = [
        model.get_submodule(n).register_forward_hook(lambda m, a, out: kept.append(out))
        for n in layers
    ]
    _, logits, _ = truth(name, model, images)
    for handle in handles:
        handle.remove()
    value = logits[row, int(explanation.target[0])]
    wanted = torch.autograd.grad(value, kept[-len(layers) :], allow_unused=True)
    for found, expected in zip(explanation.gradients, wanted, strict=True):
        expected = torch.zeros_like(found[:1]) if expected is None else expected
        torch.testing.assert_close(found[:1], expected, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("name", ["yolov5", "yolov8", "detr softmax"])
def test_all_detections_at_once_are_each_alone(name):
    model, images = awake(FORMS[name]()), photographs(2)
    bound = camport.bind(model, "layercam", adapter=EVERYTHING)
    together = bound(images)
    assert together.figures["image"].tolist() == sorted(together.figures["image"].tolist())
    assert (
        together.heatmap.shape
        == (len(together.score), 64, 96)
        == (*together.images.shape[:1], 64, 96)
    )
    assert set(together.figures["image"].tolist()) == {0, 1}
    for row, image in enumerate(together.figures["image"].tolist()):
        alone = bound(
            images[image : image + 1],
            {"index": together.figures["index"][row], "class_ids": together.target[row]},
        )
        torch.testing.assert_close(alone.raw[0], together.raw[row])
        torch.testing.assert_close(alone.score[0], together.score[row])
    first = together.figures["image"] == 0
    confidences = together.figures["confidence"][first].tolist()
    assert confidences == sorted(confidences, reverse=True)
    boxes, classes = together.figures["boxes"][first], together.target[first]
    kept = suppressed(
        boxes, together.figures["confidence"][first], classes, EVERYTHING.iou, len(boxes)
    )
    assert len(kept) == len(boxes)


@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.6])
def test_suppression_is_that_of_torchvision(threshold):
    chance = torch.Generator().manual_seed(7)
    corner, side = (
        torch.rand(200, 2, generator=chance) * 60,
        torch.rand(200, 2, generator=chance) * 30,
    )
    boxes, scores = torch.cat([corner, corner + side], 1), torch.rand(200, generator=chance)
    classes = torch.randint(3, (200,), generator=chance)
    kept = torchvision.ops.batched_nms(boxes, scores, classes, threshold)
    assert 3 < len(kept) < 200
    assert torch.equal(suppressed(boxes, scores, classes, threshold, 200), kept)
    assert torch.equal(suppressed(boxes, scores, classes, threshold, 5), kept[:5])


def test_boxes_outside_the_image_suppress_none_of_another_class():
    """torchvision's `batched_nms` moves classes apart by the largest coordinate alone."""
    boxes = torch.tensor([[0.0, 0, 10, 10], [-11, -11, -1, -1]])
    scores, classes = torch.tensor([0.9, 0.8]), torch.tensor([0, 1])
    assert torchvision.ops.batched_nms(boxes, scores, classes, 0.5).tolist() == [0]
    assert suppressed(boxes, scores, classes, 0.5, 9).tolist() == [0, 1]


@pytest.mark.parametrize(
    "method", ["odam", "layercam", "hirescam", "eigencam", "shapleycam", "saliency", "fullgrad"]
)
def test_methods_explain_several_boxes_of_one_image_as_each_alone(method):
    model, images = awake(FORMS["yolov8"]()), photographs()
    boxes = torch.tensor([[4.0, 4, 30, 40], [40.0, 10, 90, 60], [0.0, 20, 50, 64]])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", camport.CamportWarning)
        bound = camport.bind(
            model, method, ["model.3"] if method != "fullgrad" else None, DetectionAdapter()
        )
        together = bound(images, {"boxes": boxes, "class_ids": [0, 1, -1]})
        for row in range(3):
            alone = bound(images, {"boxes": boxes[row], "class_ids": [0, 1, -1][row]})
            torch.testing.assert_close(together.raw[row], alone.raw[0], rtol=1e-5, atol=1e-9)


def test_maps_are_compared_before_they_are_scaled():
    """Of the levels of a pyramid, one without evidence adds nothing."""
    model, images = awake(FORMS["yolov5"]()), photographs()
    explanation = camport.explain(
        model, images, "hirescam", adapter=DetectionAdapter(threshold=0.0, most=1)
    )
    found = [
        (a[:1] * g[:1]).sum(1).relu()
        for a, g in zip(explanation.activations, explanation.gradients, strict=True)
    ]
    largest = max(float(m.max()) for m in found)
    assert float(explanation.raw.max()) == pytest.approx(largest, rel=0.3)
    assert explanation.raw.shape[1:] == found[0].shape[1:]


def test_other_scores():
    model, images = awake(FORMS["yolov5"]()), photographs()
    asked = {"boxes": torch.tensor([[20.0, 10, 60, 50]]), "class_ids": [2]}
    values = {}
    for score in (
        "class",
        "objectness",
        "confidence",
        "class_sum",
        "left",
        "top",
        "right",
        "bottom",
    ):
        bound = camport.bind(model, "layercam", adapter=DetectionAdapter(score_as=score))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DoubtWarning)
            values[score] = bound(images, asked)
    one = values["class"]
    box = one.figures["boxes"][0]
    for i, side in enumerate(("left", "top", "right", "bottom")):
        assert float(values[side].score) == pytest.approx(float(box[i]), rel=1e-6)
    p = one.score.double().sigmoid() * values["objectness"].score.double().sigmoid()
    assert float(values["confidence"].score) == pytest.approx(float(p.log()), rel=1e-5)
    with torch.no_grad():
        table = model(images)[0][0]
    assert float(values["class_sum"].score) == pytest.approx(
        float((table[:, 4] * table[:, 7]).sum()), rel=1e-5
    )
    gradients = [torch.cat([g.flatten() for g in e.gradients]) for e in values.values()]
    assert all(not torch.equal(a, b) for i, a in enumerate(gradients) for b in gradients[:i])


def test_no_objectness_in_a_detector_without():
    with pytest.raises(MethodError, match="scores no objectness"):
        camport.explain(
            awake(FORMS["yolov8"]()), photographs(), adapter=DetectionAdapter(score_as="objectness")
        )


def test_masked_images_are_matched_anew():
    """What the masked image does not show any more is not found: the similarity falls to 0."""
    model, images = awake(FORMS["yolov5"]()), photographs()
    for kind in ("match", "drise"):
        adapter = DetectionAdapter(similarity=kind, threshold=0.0, most=1)
        bound = camport.bind(model, "layercam", adapter=adapter)
        explanation = bound(images)
        outputs = bound.adapter.call(model, images)
        target = bound.adapter.resolve(
            outputs, {"boxes": explanation.figures["boxes"], "class_ids": explanation.target}
        )
        with torch.no_grad():
            own = bound.adapter.probability(outputs, target)
            far = {**target, "matched": target["matched"] + 500}
            gone = bound.adapter.probability(outputs, far)
        assert 0 < float(own) <= 1
        assert float(gone) == 0
        if kind == "match":
            assert float(own) >= float(explanation.figures["confidence"]) - 1e-9


# what real detectors do


def test_tensors_cached_in_inference_mode():
    """After one prediction a head keeps anchors that no backward pass may touch."""
    for name in ("yolov5", "yolov8"):
        fresh, used = awake(FORMS[name]()), awake(FORMS[name]())
        with torch.inference_mode():
            used(photographs())
        cached = used.model[-1].grid[0] if name == "yolov5" else used.model[-1].points
        assert cached.is_inference()
        one, other = (camport.explain(m, photographs(), adapter=EVERYTHING) for m in (fresh, used))
        torch.testing.assert_close(one.raw, other.raw)
        assert (used.model[-1].grid[0] if name == "yolov5" else used.model[-1].points) is cached


def test_functions_that_remember_what_they_gave_in_inference_mode():
    """As functools.lru_cache does it: nothing of it may enter a backward pass,
    nor a fake tensor stay behind there."""
    RememberingHead.ramp.cache_clear()
    model = awake(Detector(RememberingHead()))
    with torch.inference_mode():
        model(photographs())
    assert RememberingHead.ramp((8, 12)).is_inference()
    found = camport.explain(model, photographs(), "layercam", adapter=EVERYTHING)
    assert "ramp" not in vars(model.model[-1])
    RememberingHead.ramp.cache_clear()
    fresh = camport.explain(model, photographs(), "layercam", adapter=EVERYTHING)
    torch.testing.assert_close(found.raw, fresh.raw)
    assert RememberingHead.ramp.cache_info().currsize == 0


@pytest.mark.parametrize("name", ["yolov5", "yolov8"])
def test_training_mode(name):
    """There outputs have another form; the model is explained as in evaluation,
    and left in training."""
    model = awake(FORMS[name]())
    expected = camport.explain(model, photographs(), adapter=EVERYTHING)
    model.train()
    found = camport.explain(model, photographs(), adapter=EVERYTHING)
    torch.testing.assert_close(found.raw, expected.raw)
    assert model.training
    assert model.model[-1].training


@pytest.mark.parametrize("wrap", [AutoShaped, Backend])
def test_wrappers_for_prediction(wrap):
    model = awake(FORMS["yolov5"]())
    wrapped = wrap(model)
    if wrap is AutoShaped:
        assert isinstance(wrapped(photographs()), list)
    bound = camport.bind(wrapped, adapter=EVERYTHING)
    assert bound.model is model
    torch.testing.assert_close(
        bound(photographs()).raw, camport.explain(model, photographs(), adapter=EVERYTHING).raw
    )


def test_the_predictors_copy_is_left_alone():
    """What a package predicts with is a copy, fused and frozen;
    explained is the network that it was made from."""
    model = awake(FORMS["yolov8"]())
    expected = camport.explain(model, photographs(), adapter=EVERYTHING)
    wrapped = Predictor(model)
    wrapped.predict(photographs())
    copied = wrapped.predictor.model.model
    bound = camport.bind(wrapped, adapter=EVERYTHING)
    assert bound.model is model
    torch.testing.assert_close(bound(photographs()).raw, expected.raw)
    assert model.training
    assert not copied.training
    assert not any(p.requires_grad for p in copied.parameters())
    held = camport.bind(wrapped.predictor.model, adapter=EVERYTHING)
    torch.testing.assert_close(held(photographs()).raw, expected.raw, rtol=1e-6, atol=1e-9)


def test_a_wrapper_of_something_else_says_so():
    backend = Backend(nn.Identity())
    del backend.model
    backend.__dict__["model"] = "best.engine"
    with pytest.raises(ModelError, match=r"holds str as its network, not a torch\.nn\.Module"):
        camport.bind(backend, adapter="detection")


def test_fused_and_frozen_copies():
    model = awake(FORMS["yolov5"]())
    expected = camport.explain(model, photographs(), adapter=EVERYTHING)
    fused = copy.deepcopy(model)
    for module in fused.model[:-1]:
        module.fuse()
    fused = fused.double().requires_grad_(False)
    found = camport.explain(fused, photographs(), adapter=EVERYTHING)
    torch.testing.assert_close(found.raw, expected.raw, rtol=1e-6, atol=1e-9)
    assert not any(p.requires_grad or p.grad is not None for p in fused.parameters())


def test_activations_before_an_activation_that_writes_over_them():
    model = awake(FORMS["yolov5"]())
    seen = []
    handle = model.model[3].bn.register_forward_hook(lambda m, a, out: seen.append(out.clone()))
    model(photographs())
    handle.remove()
    found = camport.explain(
        model, photographs(), "layercam", layer="model.3.bn", adapter=EVERYTHING
    )
    torch.testing.assert_close(found.activations[0][:1], seen[0])


def test_the_head_that_writes_into_its_input_list_is_explained_at_its_inputs():
    model = awake(FORMS["yolov5"]())
    found = camport.explain(model, photographs(), adapter=EVERYTHING)
    assert found.layers == ("model.2", "model.3", "model.4")
    assert [a.shape[1] for a in found.activations] == [12, 16, 16]


def test_nothing_found():
    with pytest.raises(
        InputError,
        match=r"no detection reaches a confidence of 1, the best has 0\.\d+; lower the thres",
    ):
        camport.explain(
            awake(FORMS["yolov5"]()), photographs(), adapter=DetectionAdapter(threshold=1.0)
        )


def test_a_weak_match_and_a_blunt_method_are_doubted():
    model = awake(FORMS["yolov5"]())
    with pytest.warns(
        DoubtWarning,
        match=r"box 0 matches no candidate well: the best, number \d+, overlaps it by an IoU",
    ):
        camport.explain(
            model, photographs(), target={"boxes": [0, 0, 1.5, 60]}, adapter="detection"
        )
    with pytest.warns(DoubtWarning, match="gradcam averages gradients over all places"):
        camport.explain(model, photographs(), "gradcam", adapter=EVERYTHING)


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (7, r"target is 7; a detection is asked about by None, \{\"boxes\""),
        ({"box": [1, 2, 3, 4]}, r"target has 'box'; a detection"),
        ({"class_ids": [1]}, r"target has 'class_ids'; a detection"),
        ({"boxes": [[1, 2, 3]]}, r"boxes have shape \(1, 3\); wanted \[b,4\]"),
        ({"boxes": [[10, 10, 10, 20]]}, r"box \(10, 10, 10, 20\) has no area"),
        (
            {"boxes": [[100, 10, 120, 20]]},
            r"box \(100, 10, 120, 20\) lies outside the image, which is 96 wide and 64",
        ),
        ({"boxes": [[1, 2, float("nan"), 4]]}, "NaN or infinite"),
        (
            {"boxes": [[1, 2, 30, 40]], "class_ids": [9]},
            r"class 9 is out of range: the model has 4 classes",
        ),
        ({"boxes": [[1, 2, 30, 40]], "class_ids": [-2]}, r"classes are 0 and up, -1 is any class"),
        ({"boxes": [[1, 2, 30, 40]], "class_ids": [0.5]}, "class_ids has dtype float32"),
        ({"boxes": [[1, 2, 30, 40]] * 2, "class_ids": [0, 1, 2]}, "boxes has 2 rows, wanted 3"),
        ({"index": [10**6]}, r"candidate \[1000000\] is out of range"),
        ({"index": [-1]}, "candidates are numbered from 0"),
        ({"boxes": "street"}, "boxes 'street' are no numbers"),
    ],
)
def test_bad_targets(target, message):
    with pytest.raises(InputError, match=message):
        camport.explain(awake(FORMS["yolov5"]()), photographs(), target=target, adapter="detection")


def test_two_images_and_three_questions():
    with pytest.raises(InputError, match="3 questions for 2 images"):
        camport.explain(
            awake(FORMS["yolov5"]()),
            photographs(2),
            target={"boxes": [[1, 2, 30, 40]] * 3},
            adapter="detection",
        )


class Says(nn.Module):
    """Whatever it is given, with a weight so that it is a model."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 2, 1)
        self.shape = shape

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scale = self.convolution(x).mean((1, 2, 3))
        table = torch.linspace(0.05, 0.95, self.shape[1] * self.shape[2], dtype=x.dtype).reshape(
            self.shape
        )
        table = (table * scale[:, None, None].sigmoid() + 0.01) % 1
        if self.shape[1] != 20:
            return table
        return torch.cat([table[:, :, :5], (10 * table[:, :, 5:6]).floor(), table[:, :, 6:]], 2)


@pytest.mark.parametrize(
    ("shape", "format"),
    [
        ((1, 9, 126), "yolov8"),
        ((1, 378, 9), "yolov5"),
        ((1, 126, 9), "rows"),
        ((1, 20, 6), "end2end"),
        ((1, 20, 9), "end2end"),
    ],
)
def test_bare_tables_are_told_by_the_number_of_their_rows(shape, format):
    """Images of 64 x 96 have 96 + 24 + 6 cells at strides 8, 16 and 32."""
    model = Says(shape).double().eval()
    bound = camport.bind(model, "saliency", adapter=DetectionAdapter(threshold=0.0))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", camport.CamportWarning)
        bound(photographs(), {"index": 0})
    assert bound.adapter.form.format == format


def test_an_ambiguous_table_asks_for_its_form():
    model = Says((1, 40, 9)).double().eval()
    with pytest.raises(
        ModelError,
        match=r"\[1, 40, 9\], which may be one of several forms; say which: format='yolov5'",
    ):
        camport.explain(model, photographs(), "saliency", {"index": 0}, adapter="detection")
    for format, classes in (("yolov5", 4), ("rows", 5)):
        bound = camport.bind(model, "saliency", adapter=DetectionAdapter(format=format))
        bound(photographs(), {"index": 0})
        assert bound.adapter.form.classes == classes
    with pytest.raises(camport.CamportError, match="unknown format 'yolo5'; did you mean 'yolov5'"):
        camport.explain(
            model, photographs(), "saliency", {"index": 0}, adapter=DetectionAdapter(format="yolo5")
        )


def test_logits_of_unknown_meaning_ask_for_the_number_of_classes():
    model = awake(Transformer(softmax=True, config=False))
    with pytest.raises(
        ModelError,
        match=r"5 logits a candidate, .* give the adapter classes=4 if so, classes=5 if not",
    ):
        camport.explain(model, photographs(), adapter="detection")
    bound = camport.bind(model, adapter=DetectionAdapter(classes=4, threshold=0))
    bound(photographs())
    assert bound.adapter.form.softmax


def test_the_conformance_kit():
    model = awake(FORMS["yolov5"]()).float()
    box = {"boxes": [[4.0, 4, 40, 40]] * 3}
    for adapter in (DetectionAdapter, DetectionAdapter(score_as="confidence")):
        check_adapter(adapter, model=model, images=photographs(3).float(), target=box, export=False)
