"""How often the demo's captioners, answerer and segmentation are right,
on the scenes that their maps lie on."""

from collections import defaultdict
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from camport.adapters import CaptioningAdapter
from camport.demo.language import ANSWERS, CAPTION_LENGTH, caption_text, question_tokens
from camport.demo.scenes import Scene, make_scene
from camport.demo.segmenter import CLASSES
from camport.demo.task_networks import INPUT_SIZE, MEAN, STD

Row = tuple[str, int, float]
"""What was counted, out of how many, and the share that was right."""


def normalised(scene: Scene) -> Tensor:
    """The scene as the networks take it, [1,3,H,W]."""
    pixels = torch.from_numpy(scene.image).float() / 255
    return ((pixels - torch.tensor(MEAN)) / torch.tensor(STD)).permute(2, 0, 1)[None]


def captions(network: nn.Module, seeds: Sequence[int]) -> Iterable[Row]:
    """Captions that the network writes and that are the scene's, word for word,
    by the number of digits."""
    adapter = CaptioningAdapter(length=CAPTION_LENGTH).settled(network, None)
    for digits in (1, 2, 3):
        scenes = [
            make_scene(seed, split="held-out", size=INPUT_SIZE, digits=digits) for seed in seeds
        ]
        maps = torch.cat([network.get_submodule("encoder")(normalised(scene)) for scene in scenes])
        tokens = adapter.written(
            network, lambda said, maps=maps: network.get_submodule("decoder")(maps, said), maps
        )
        right = [
            caption_text(row[1:]) == s.caption
            for row, s in zip(tokens.tolist(), scenes, strict=True)
        ]
        yield (
            f"captions of {digits} digit{'s' * (digits > 1)}, exact",
            len(right),
            sum(right) / len(right),
        )


def answers(network: nn.Module, seeds: Sequence[int]) -> Iterable[Row]:
    """Questions of `Scene.questions` but the tallest, by kind."""
    right: dict[str, list[bool]] = defaultdict(list)
    for seed in seeds:
        scene = make_scene(seed, split="held-out", size=INPUT_SIZE)
        pairs = [
            (question, answer) for question, answer in scene.questions if "tallest" not in question
        ]
        tokens = torch.tensor([question_tokens(question) for question, _ in pairs])
        said = network(normalised(scene).expand(len(pairs), -1, -1, -1), tokens).argmax(1).tolist()
        for (question, answer), index in zip(pairs, said, strict=True):
            right[_kind(question)].append(ANSWERS[index] == answer)
            right["all questions"].append(ANSWERS[index] == answer)
    for kind, hits in sorted(right.items()):
        yield f"answers: {kind}", len(hits), sum(hits) / len(hits)


def regions(network: nn.Module, seeds: Sequence[int]) -> Iterable[Row]:
    """Intersection over union of each digit class over all pixels, as their mean."""
    both, either = torch.zeros(len(CLASSES)), torch.zeros(len(CLASSES))
    for seed in seeds:
        scene = make_scene(seed, split="held-out", size=INPUT_SIZE)
        truth = torch.zeros(INPUT_SIZE, INPUT_SIZE, dtype=torch.int64)
        for digit in scene.digits:
            truth[torch.from_numpy(digit.mask)] = 1 + digit.label
        said = network(normalised(scene))["out"][0].argmax(0)
        for index in range(len(CLASSES)):
            mine, true = said == index, truth == index
            both[index] += (mine & true).sum()
            either[index] += (mine | true).sum()
    yield "mean IoU of the ten digits", len(seeds), float((both / either)[1:].mean())


def _kind(question: str) -> str:
    """ "how many" for "how many sevens?", "leftmost" for "which digit is leftmost?"."""
    words = question.rstrip("?").split()
    if words[0] == "which":
        return words[-1]
    return "how many digits" if words[-1] == "digits" else " ".join(words[:2])


SCORES = {"captioning": captions, "vqa": answers, "segmentation": regions}
"""What is counted, by the adapter of a network."""


@torch.no_grad()
def table(networks: dict[str, tuple[str, nn.Module]], seeds: Sequence[int]) -> list[str]:
    """A Markdown table; networks by name, with their adapters."""
    lines = ["| network | right | of | share |", "| :--- | :--- | ---: | ---: |"]
    for name, (adapter, network) in networks.items():
        lines += [
            f"| {name} | {what} | {count} | {share:.3f} |"
            for what, count, share in SCORES[adapter](network, seeds)
        ]
    return lines
