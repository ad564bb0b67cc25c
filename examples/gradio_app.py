"""A web page that explains a photograph: `pip install gradio`, then `python examples/gradio_app.py`.

With a model of your own: `python examples/gradio_app.py torchvision:resnet18`, or any other --model SPEC.
"""

import sys
from collections.abc import Callable

import torch
from PIL import Image

import camport
from camport.models import load_model

METHODS = ("gradcam", "layercam", "hirescam", "gradcam++", "eigencam")


def explained(spec: str) -> Callable[[Image.Image, str, int], tuple[Image.Image, dict[str, float]]]:
    """The function behind the page: a photograph, a method and a class to the overlay and the likeliest classes."""
    loaded = load_model(spec)
    bounds = {method: camport.bind(loaded.model, method) for method in METHODS}

    def explain(photo: Image.Image, method: str, target: int) -> tuple[Image.Image, dict[str, float]]:
        pixels, placement = loaded.preprocess.apply(photo.convert("RGB"))
        explanation = bounds[method](torch.from_numpy(pixels)[None], int(target))
        heat = placement.to_image(explanation.heatmap[0].numpy())
        chances = explanation.outputs[0].softmax(0)
        names = loaded.labels or [f"class {k}" for k in range(len(chances))]
        return camport.view.overlay(photo.convert("RGB"), heat), dict(zip(names, chances.tolist(), strict=True))

    return explain


def page(spec: str):
    """The page, not yet served."""
    import gradio

    return gradio.Interface(
        explained(spec),
        [gradio.Image(type="pil"), gradio.Dropdown(METHODS, value="gradcam"), gradio.Number(-1, precision=0)],
        [gradio.Image(), gradio.Label(num_top_classes=5)],
        title=f"Where {spec} looks",
        description="The class is a number; -1 is the likeliest one.",
    )


if __name__ == "__main__":
    page(sys.argv[1] if len(sys.argv) > 1 else "demo:imagenet").launch()
