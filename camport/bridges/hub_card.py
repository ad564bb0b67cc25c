"""The card of an explained .onnx file: README.md of its repository on the Hugging Face Hub."""

from pathlib import Path

from camport.runtime import load

TASKS = {"classification": "image-classification", "detection": "object-detection"}
TASKS |= {"segmentation": "image-segmentation", "captioning": "image-to-text"}
CARD = """---
library_name: onnx
tags: [camport, explainability, onnx, onnxruntime]
{head}---

# {title}, explained by {method}

The model's prediction and, in the same graph, its explanation by `{method}`,
made by camport {version}.

| name | | type and shape |
|---|---|---|
{rows}

```python
from camport.bridges.hub import download

explainer = download("{repo}")  # no PyTorch is needed
pixels, placement = explainer.preprocess.apply(image)
result = explainer(pixels[None])
```
"""


def card(file: str | Path, repo: str, licence: str | None = None) -> str:
    """README.md of an exported file: what it explains, what goes in and comes out,
    and the lines that run it."""
    known = (explainer := load(file)).metadata
    method, task = known["method"]["name"], known["adapter"]["name"]
    head = {"pipeline_tag": TASKS.get(task), "license": licence}
    shown = "".join(f"{key}: {value}\n" for key, value in head.items() if value)
    ports = [(port, "in") for port in explainer.inputs] + [
        (port, "out") for port in explainer.outputs
    ]
    rows = "\n".join(
        f"| `{p.name}` | {way} | {p.dtype} [{', '.join(map(str, p.shape))}] |" for p, way in ports
    )
    names = {
        "title": task.capitalize(),
        "method": method,
        "version": known["version"],
        "repo": repo,
    }
    return CARD.format(head=shown, rows=rows, **names)
