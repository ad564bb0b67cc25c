"""Maps stop changing as training converges: python examples/maps_converge.py FIGURE.png"""

import sys

import torch
from cases import single_digits
from matplotlib.figure import Figure

import camport
from camport.demo.networks import DigitResNet
from camport.training import ExplanationDrift


def main(figure, count=600, epochs=24):
    torch.manual_seed(0)
    count, epochs = int(count), int(epochs)
    (images, labels), fixed = single_digits(range(count), "train"), single_digits(range(32), "held-out")
    model = DigitResNet()
    drift = ExplanationDrift(camport.bind(model, "gradcam", "layer3"), *fixed)
    drift()
    optimiser, losses = torch.optim.AdamW(model.parameters()), []
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 4e-3, total_steps=epochs * (count // 30))
    for epoch in range(epochs):
        model.train()
        losses.append(0.0)
        for rows in torch.randperm(count).view(-1, 30):
            loss = torch.nn.functional.cross_entropy(model(images[rows]), labels[rows])
            loss.backward()
            optimiser.step()
            schedule.step()
            optimiser.zero_grad()
            losses[-1] += float(loss.detach()) * 30 / count
        print(f"epoch {epoch + 1}: loss {losses[-1]:.3f}, maps changed by {drift():.3f}")
    drawn = Figure(figsize=(6, 3), layout="constrained")
    for axis, values, name in zip(drawn.subplots(1, 2), (losses, drift.means), ("loss", "drift"), strict=True):
        axis.plot(range(1, epochs + 1), values)
        axis.set(xlabel="epoch", ylabel=name, ylim=(0, None))
    drawn.savefig(figure, dpi=100)
    return losses, drift.means


if __name__ == "__main__":
    main(*sys.argv[1:])
