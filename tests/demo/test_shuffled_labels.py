"""The network of label randomisation, as `training/train_classifiers.py --shuffled` trains it."""

import runpy
from pathlib import Path

import torch

SCRIPT = Path(__file__).parents[2] / "training" / "train_classifiers.py"


def test_scenes_have_the_labels_of_others_and_are_not_augmented(monkeypatch):
    """What a step is given: whole scenes of the training set, each beside the labels of another,
    none lost."""
    script = runpy.run_path(str(SCRIPT))
    train, names = script["train"], script["train"].__globals__
    recipe = script["Recipe"](scenes=8, epochs=1, batch=8, rate=1e-3)
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (8, 16, 16, 3), generator=generator, dtype=torch.uint8)
    labels = torch.eye(8, 10)
    seen = []
    monkeypatch.setitem(names, "SHUFFLED", recipe)
    monkeypatch.setitem(
        names, "training_scenes", lambda count, size: (images[:count], labels[:count])
    )
    monkeypatch.setitem(
        names,
        "normalised",
        lambda batch, card: seen.append(batch) or script["normalised"](batch, card),
    )
    loss = torch.nn.functional.binary_cross_entropy_with_logits
    given = []
    monkeypatch.setattr(
        names["F"],
        "binary_cross_entropy_with_logits",
        lambda z, wanted: given.append(wanted) or loss(z, wanted),
    )
    train("digits", shuffled=True)
    (wanted,) = given
    own = [int((images == scene).flatten(1).all(1).nonzero()) for scene in seen[0]]
    learned = wanted.argmax(1).tolist()
    assert sorted(own) == sorted(learned) == list(range(8))
    assert own != learned
