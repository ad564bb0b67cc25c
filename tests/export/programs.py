"""Programs as `camport.core` makes them, written out by hand:
the engine is tested against the protocol alone."""

from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def gradcam(activations: Tensor, gradients: Tensor) -> Tensor:
    return (gradients.mean((2, 3), keepdim=True) * activations).sum(1, keepdim=True).relu()


def keep(activations: Tensor) -> Tensor:
    return activations


def tokens(activations: Tensor) -> Tensor:
    """Tokens behind a class token, as a square grid."""
    b, t, c = activations[:, 1:].shape
    side = round(t**0.5)
    return activations[:, 1:].transpose(1, 2).reshape(b, c, side, side)


def channels_last(activations: Tensor) -> Tensor:
    return activations.permute(0, 3, 1, 2)


class CamProgram:
    """Grad-CAM of a classifier at one layer."""

    inputs = ("images", "target")

    def __init__(
        self,
        model: nn.Module,
        layer: str,
        reshape: Callable[[Tensor], Tensor] = keep,
        classes: int = 1000,
    ) -> None:
        self.model, self.layer, self.reshape, self.classes = model, layer, reshape, classes
        self.state = {k: v.detach() for k, v in [*model.named_parameters(), *model.named_buffers()]}

    def __call__(
        self, state: Mapping[str, Tensor], inputs: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        images, target = inputs["images"], inputs["target"]
        seen: list[Tensor] = []

        def hook(module: nn.Module, args: object, output: Tensor) -> Tensor:
            leaf = output.detach().requires_grad_()
            seen.append(leaf)
            return leaf.clone()

        handle = self.model.get_submodule(self.layer).register_forward_hook(hook)
        try:
            with torch.enable_grad():
                outputs = torch.func.functional_call(self.model, dict(state), (images,))
                with torch.no_grad():
                    chosen = torch.where(target < 0, outputs.argmax(1), target)
                    onehot = (
                        torch.arange(outputs.shape[1], device=images.device)[None]
                        == chosen[:, None]
                    )
                    onehot = onehot.to(outputs.dtype)
                (gradient,) = torch.autograd.grad(outputs, seen[0], onehot)
        finally:
            handle.remove()
        outputs = outputs.detach()
        a, g = self.reshape(seen[0].detach()), self.reshape(gradient)
        raw = gradcam(a, g)
        heatmap = F.interpolate(raw, images.shape[-2:], mode="bilinear", align_corners=False)[:, 0]
        low, high = heatmap.amin((1, 2), keepdim=True), heatmap.amax((1, 2), keepdim=True)
        span = high - low
        heatmap = torch.where(span > 0, (heatmap - low) / torch.where(span > 0, span, 1), 0)
        return {
            "outputs": outputs,
            "score": (outputs * onehot).sum(1),
            "heatmap": heatmap,
            "feature_maps": a,
            "gradients": g,
        }

    def sample(self, images: Tensor, batch: int, seed: int) -> dict[str, Tensor]:
        generator = torch.Generator().manual_seed(seed)
        drawn = torch.randn((batch, *images.shape[1:]), generator=generator, dtype=images.dtype)
        target = torch.randint(-1, self.classes, (batch,), generator=generator)
        return {"images": drawn, "target": target}


class Bound:
    """What the public functions take: anything that gives a program and its metadata."""

    def __init__(self, program: CamProgram) -> None:
        self._program = program

    def program(self, images: Tensor, target: object = None) -> CamProgram:
        return self._program

    def metadata(self, images: Tensor) -> dict[str, str]:
        return {"camport.method": "gradcam", "camport.layer": self._program.layer}


def randomise(model: nn.Module, seed: int = 0) -> nn.Module:
    """Batch-norm statistics and scales as a trained model has them:
    nothing at its neutral value."""
    generator = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            for tensor, low, high in (
                (module.running_mean, -0.3, 0.3),
                (module.running_var, 0.5, 1.5),
                (module.weight, 0.5, 1.5),
                (module.bias, -0.3, 0.3),
            ):
                if tensor is not None:
                    tensor.data.uniform_(low, high, generator=generator)
    return model.eval()


def small() -> nn.Sequential:
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3, 2, 1, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(inplace=True),
        nn.Conv2d(8, 8, 3, 2, 1, groups=8),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.MaxPool2d(3, 2, 1),
        nn.Conv2d(8, 16, 3, 2, 1, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(inplace=True),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(16, 10),
    )
    return randomise(net)


IMAGES = torch.randn(1, 3, 33, 40, generator=torch.Generator().manual_seed(1))
