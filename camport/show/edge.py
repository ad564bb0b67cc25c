"""The demo's second process: runs an exported explainer on the samples and proves that PyTorch is
not there.

python -m camport.show.edge FILE.onnx SAMPLES_DIRECTORY OUT.npz ROUNDS THREADS
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from camport.runtime import load, open_image

FORBIDDEN = ("torch", "torchvision", "onnx", "matplotlib")


def main(file: str, samples: str, out: str, rounds: int, threads: int) -> None:
    """Heatmaps, scores and outputs of every (scene, digit) pair into OUT.npz,
    with the median milliseconds of a run."""
    explainer = load(file, ["cpu"], threads=threads)
    images, targets = [], []
    for scene in json.loads((Path(samples) / "samples.json").read_text()):
        pixels, _ = explainer.preprocess.apply(open_image(Path(samples) / scene["file"]))
        for digit in scene["digits"]:
            images.append(pixels)
            targets.append(digit["label"])
    result = explainer(np.stack(images), target=targets)
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        explainer(images[0][None], target=targets[:1])
        times.append(1e3 * (time.perf_counter() - start))
    found = [name for name in FORBIDDEN if name in sys.modules]
    if found:
        raise SystemExit(f"{', '.join(found)} should not be here")
    found_arrays: dict[str, Any] = {"milliseconds": np.median(times), **result}
    np.savez(out, **found_arrays)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5]))
