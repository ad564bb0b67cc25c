"""Fine-tuning with Group-CAM's augmentation and without: python examples/train_with_explanations.py FIGURE.png

A network that knows ten digits learns to name the one digit of a scene, over five seeds. Both runs of a seed have the
same images, order and start; they differ in the augmentation alone.
"""

import sys

import torch
from cases import single_digits
from matplotlib.figure import Figure

from camport.models import load_model
from camport.training import ExplanationAugmentation


def accuracy(model, images, labels):
    with torch.no_grad():
        return float((model.eval()(images).argmax(1) == labels).float().mean())


def finetuned(seed, count, epochs, augmented):
    """The network after a few epochs on this seed's scenes."""
    torch.manual_seed(seed)
    model = load_model("demo:gap-pool").model.train()
    augment = ExplanationAugmentation(model, layer="features") if augmented else lambda *pair: pair
    images, labels = single_digits(range(10_000 + seed * count, 10_000 + (seed + 1) * count), "train")
    optimiser = torch.optim.SGD(model.parameters(), 2e-3, momentum=0.9, weight_decay=1e-4)
    for _ in range(epochs):
        for rows in torch.randperm(count).split(32):
            seen, named = augment(images[rows], labels[rows])
            torch.nn.functional.cross_entropy(model(seen), named).backward()
            optimiser.step()
            optimiser.zero_grad()
    return model


def main(figure, seeds=5, count=192, epochs=2, held_out=500):
    test = single_digits(range(int(held_out)), "held-out")
    before = accuracy(load_model("demo:gap-pool").model, *test)
    pairs = [
        [accuracy(finetuned(s, int(count), int(epochs), a), *test) for a in (False, True)] for s in range(int(seeds))
    ]
    without, beside = torch.tensor(pairs, dtype=torch.float64).T
    gain = beside - without
    print(f"before {before:.3f}, without {without.mean():.3f}, with {beside.mean():.3f}")
    print(f"difference {gain.mean():+.4f}, standard deviation over {len(gain)} seeds {gain.std():.4f}")
    drawn = Figure(figsize=(4, 3), layout="constrained")
    axis = drawn.subplots()
    axis.plot(["without", "with"], [without, beside], marker="o")
    axis.set(ylabel="accuracy on held-out scenes", xlim=(-0.5, 1.5))
    drawn.savefig(figure, dpi=100)
    return before, without.tolist(), beside.tolist()


if __name__ == "__main__":
    main(*sys.argv[1:])
