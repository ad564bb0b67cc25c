"""An exported explainer with onnxruntime alone: python first_onnx.py FILE.onnx IMAGE HEATMAP.png"""

import json
import sys

import numpy as np
import onnxruntime
from PIL import Image

session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
about = session.get_modelmeta().custom_metadata_map
how = {"mean": [0, 0, 0], "std": [1, 1, 1], **json.loads(about["camport.preprocess"])}
height, width = how["size"]
photo = Image.open(sys.argv[2]).convert("RGB").resize((width, height), Image.Resampling.BILINEAR)
pixels = (np.asarray(photo, np.float32) / 255 - np.float32(how["mean"])) / np.float32(how["std"])
feeds = {"images": pixels.transpose(2, 0, 1)[None], "target": np.array([-1])}  # -1: the top class
logits, score, heatmap = session.run(["outputs", "score", "heatmap"], feeds)
labels = json.loads(about.get("camport.labels", "null")) or range(logits.shape[1])
print(f"{labels[int(logits[0].argmax())]}, score {score[0]:.2f}")
Image.fromarray(np.uint8(255 * heatmap[0])).save(sys.argv[3])
