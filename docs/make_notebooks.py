"""Writes docs/notebooks/*.ipynb, executed: `python docs/make_notebooks.py [NAME ...]`;
needs nbclient and ipykernel.

A notebook's text stands here, cells separated by lines of dashes; those that begin with # and a
blank are prose.
"""

import base64
import io
import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from PIL import Image

HERE = Path(__file__).parent
FOLDER = HERE / "notebooks"
LINE = "\n" + "-" * 20 + "\n"

NOTEBOOKS = {
    "first_map": """
# # A first map

Which part of a photograph made a network say "Egyptian cat"? `demo:imagenet` is a trained classifier that the package
index brings; a model of your own is any `torch.nn.Module`.
--------------------
import torch

import camport
from camport.demo.photographs import photograph
from camport.models import load_model

loaded = load_model("demo:imagenet")
cat = photograph("chelsea")
pixels, placement = loaded.preprocess.apply(cat)
images = torch.from_numpy(pixels)[None]

with torch.no_grad():
    probabilities = loaded.model(images).softmax(1)[0]
for index in probabilities.topk(5).indices:
    print(f"{float(probabilities[index]):6.1%}  {loaded.labels[index]}")
--------------------
# The explanation shows itself, with what was asked and the score. The layer was chosen, and is reported.
--------------------
egyptian = loaded.labels.index("Egyptian cat")
explanation = camport.explain(loaded.model, images, "gradcam", egyptian)
print(explanation.layers)
explanation
--------------------
# Over the photograph as it was taken: the placement knows where the network's square lies in it.
--------------------
from camport.view import overlay

overlay(cat, placement.to_image(explanation.heatmap[0].numpy()))
--------------------
# What tells this cat from a tiger cat? A contrast is explained instead of a score.
--------------------
from camport.adapters import ClassificationAdapter

tiger = loaded.labels.index("tiger cat")
contrast = ClassificationAdapter(score_as="contrast", against=tiger)
camport.explain(loaded.model, images, "gradcam", egyptian, adapter=contrast)
--------------------
# Several methods and classes side by side; `found.save("cats.html")` writes the report with a slider.
--------------------
found = camport.compare(
    loaded.model,
    images,
    ["gradcam", "finercam", "guided_gradcam"],
    ["Egyptian cat", "tiger cat"],
    labels=loaded.labels,
)
found.grid(cell=200)
""",
    "own_method": """
# # A method of your own, exported

A method is a class with one function from activations and gradients to a map. It then explains, lists and exports like
the built-in ones. Here: the maximum over channels instead of a weighted sum.
--------------------
import torch
from PIL import Image

import camport
from camport.core import fuse
from camport.demo.scenes import make_scene
from camport.models import load_model


class MaxCAM(camport.Explainer):
    \"\"\"The strongest channel at each place, of those that speak for the class.\"\"\"

    name, title, paper = "maxcam", "Max-CAM", "-"
    family, needs_gradients = "activation", True

    def saliency(self, probe):
        pairs = zip(probe.activations, probe.gradients, strict=True)  # of each target layer
        return fuse([(a * g.mean((2, 3), keepdim=True)).amax(1).relu() for a, g in pairs])


loaded = load_model("demo:digits")
scene = Image.fromarray(make_scene(3, split="held-out", digits=2).image)
images = torch.from_numpy(loaded.preprocess.apply(scene)[0])[None]
camport.explain(loaded.model, images, MaxCAM())
--------------------
# Does it keep what camport promises of a method? The kit tries it on small networks: batches, devices, several layers,
double precision, export.
--------------------
from camport.testing import check_explainer

check_explainer(MaxCAM)
--------------------
# Exported, it is one file of standard operators: network, gradient and map.
--------------------
from camport.export import to_onnx

report = to_onnx(camport.bind(loaded.model, MaxCAM()), "maxcam.onnx", images)
print(report)
--------------------
# ONNX Runtime runs it without PyTorch, and gives the same.
--------------------
from camport.runtime import load

edge = load("maxcam.onnx")(images.numpy(), target=-1)
eager = camport.explain(loaded.model, images, MaxCAM())
print("largest difference", float(abs(torch.from_numpy(edge.heatmap) - eager.heatmap).max()))
--------------------
# Is it better than Grad-CAM? Where the truth is known one can count whose maximum lies on the digit asked about.
--------------------
import numpy as np

from camport.metrics import PointingGame, region_of_boxes

game = PointingGame(margin=4)
bound = {"Max-CAM": camport.bind(loaded.model, MaxCAM()), "Grad-CAM": camport.bind(loaded.model, "gradcam")}
hits = dict.fromkeys(bound, 0)
for seed in range(20):
    scene = make_scene(seed, split="held-out")
    label = scene.digits[0].label
    pixels, placement = loaded.preprocess.apply(Image.fromarray(scene.image))
    boxes = placement.boxes_to_network(np.array([digit.box for digit in scene.digits if digit.label == label]))
    region = region_of_boxes([boxes], pixels.shape[-2:])
    for name, one in bound.items():
        hits[name] += int(game(one(torch.from_numpy(pixels)[None], label).heatmap, region))
print({name: f"{count} of 20" for name, count in hits.items()})
""",
    "detections": """
# # Why is it there? Detections

A detector's every box has its own map. `demo:detector` is a small trained one; `ultralytics:yolov8n.pt` and
`yolov5:best.pt` are loaded the same way where their packages are installed.
--------------------
import torch
from PIL import Image

import camport
from camport.demo.scenes import make_scene
from camport.models import load_model

loaded = load_model("demo:detector")
scene = Image.fromarray(make_scene(11, split="held-out", digits=3).image)
pixels, placement = loaded.preprocess.apply(scene)
images = torch.from_numpy(pixels)[None]

bound = camport.bind(loaded.model, adapter="detection")
explanation = bound(images)  # without a target: all that it finds, each with its map
print(bound)
for box, label, p in zip(
    explanation.figures["boxes"], explanation.target.tolist(), explanation.figures["confidence"], strict=True
):
    print(f"{p:.0%} digit {label} at {[round(v) for v in box.tolist()]}")
--------------------
# One map a detection, each in a row of its own.
--------------------
from camport.view import Box, Cell, grid, overlay

cells = []
boxes = placement.boxes_to_image(explanation.figures["boxes"].numpy())
for heatmap, box, label in zip(explanation.heatmap, boxes, explanation.target.tolist(), strict=True):
    drawn = overlay(scene, placement.to_image(heatmap.numpy()))
    cells.append(Cell(drawn, f"digit {label}", [Box(tuple(box))]))
grid([cells], cell=220)
--------------------
# One file for the edge: it takes the image alone, and gives the detections and a map for each.
--------------------
from camport.export import to_onnx
from camport.runtime import load

to_onnx(bound, "detector.onnx", images, one_image=True, nms=True)
edge = load("detector.onnx")(images.numpy())
print(edge)
""",
}


def smaller(output: dict) -> None:
    """A picture as JPEG, a fifth of its PNG; the text beside it would be the address of an
    object."""
    data = output.get("data", {})
    if "image/png" in data:
        buffer = io.BytesIO()
        picture = Image.open(io.BytesIO(base64.b64decode(data.pop("image/png"))))
        picture.convert("RGB").save(buffer, "JPEG", quality=85, optimize=True)
        output["data"] = {"image/jpeg": base64.b64encode(buffer.getvalue()).decode()}


def main(names: list[str]) -> None:
    """Writes them."""
    FOLDER.mkdir(exist_ok=True)
    for name, text in NOTEBOOKS.items():
        if names and name not in names:
            continue
        book = nbformat.v4.new_notebook()
        book.metadata["kernelspec"] = {
            "name": "python3",
            "display_name": "Python 3",
            "language": "python",
        }
        for number, cell in enumerate(text.strip().split(LINE)):
            prose = cell.startswith("# ")
            made = (
                nbformat.v4.new_markdown_cell(cell[2:])
                if prose
                else nbformat.v4.new_code_cell(cell)
            )
            made["id"] = f"cell-{number}"
            book.cells.append(made)
        with tempfile.TemporaryDirectory() as folder:
            NotebookClient(book, timeout=600, resources={"metadata": {"path": folder}}).execute()
        for cell in book.cells:
            cell.get("metadata", {}).pop("execution", None)  # when it ran
            if cell["cell_type"] == "code":  # what packages say of this machine is not the reader's
                cell["outputs"] = [
                    output for output in cell["outputs"] if output.get("name") != "stderr"
                ]
            for output in cell.get("outputs", []):
                smaller(output)
        nbformat.write(book, FOLDER / f"{name}.ipynb")
        print(name, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
