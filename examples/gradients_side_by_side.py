"""Vanilla, deconvnet and guided backpropagation on a cat: python examples/gradients_side_by_side.py FIGURE.jpg

Each for two classes; the cosine of the two gradients says how much a method knows of the class.
"""

import sys

import torch
from torch.nn.functional import cosine_similarity

import camport
from camport.demo.photographs import photograph
from camport.models import load_model
from camport.view import gradient_picture, grid, save_image

METHODS = ("saliency", "deconvnet", "guided_backprop", "guided_gradcam")
CLASSES = (282, 285)


def main(figure):
    loaded = load_model("demo:imagenet")
    images = torch.from_numpy(loaded.preprocess.apply(photograph("chelsea"))[0])[None]
    seen = (images[0] / 2 + 0.5).clamp(0, 1).numpy()  # as the network sees it: mean and std are 0.5
    numbers, rows = {}, [[seen] for _ in CLASSES]
    for method in METHODS:
        bound = camport.bind(loaded.model, method)
        found = [bound(images, target).figures["gradient"] for target in CLASSES]
        numbers[method] = float(cosine_similarity(found[0].flatten(), found[1].flatten(), dim=0))
        print(f"{camport.methods()[method].title}: cosine of the two classes' gradients {numbers[method]:.3f}")
        for row, gradient in zip(rows, found, strict=True):
            row.append(gradient_picture(gradient[0].numpy(), "colour"))
    heads = ["seen by the network", *(camport.methods()[method].title for method in METHODS)]
    names = [loaded.labels[target] for target in CLASSES]
    save_image(figure, grid(rows, columns=heads, row_labels=names, cell=160), quality=80)
    return numbers


if __name__ == "__main__":
    main(*sys.argv[1:])
