// Runs an exported file in Node: node explain.mjs FILE.onnx IMAGE OUT [CLASS]
//
// IMAGE is a PNG or JPEG file. OUT.png is the picture with the map over it, OUT.npy the map itself, float32 [h,w] at the
// picture's size. CLASS is a label or a number, the top class if left out. A detector's file (--one-image --nms) finds
// what it explains: the map of the most confident box is written.

import { readFile, writeFile } from "node:fs/promises";
import jpeg from "jpeg-js";
import * as ort from "onnxruntime-web"; // or onnxruntime-node, with native code
import { PNG } from "pngjs";
import { Explainer, overlay, pictured } from "../../camport/web/page/camport.js"; // or that of a site by camport web

/** { width, height, data } of an image file, RGBA bytes, on white where it is transparent. */
async function decoded(file) {
  const bytes = await readFile(file);
  const { width, height, data } = bytes[0] === 0xff ? jpeg.decode(bytes, { useTArray: true }) : PNG.sync.read(bytes);
  for (let i = 0; i < data.length; i += 4) {
    for (let c = 0; c < 3; c++) data[i + c] = Math.round((data[i + c] * data[i + 3] + 255 * (255 - data[i + 3])) / 255);
    data[i + 3] = 255;
  }
  return { width, height, data };
}

/** A map as numpy.save writes it. */
function npy({ width, height, data }) {
  const header = `{'descr': '<f4', 'fortran_order': False, 'shape': (${height}, ${width}), }`;
  const padded = header.padEnd(Math.ceil((header.length + 11) / 64) * 64 - 11) + "\n"; // of 10 bytes before it
  const length = Buffer.from([padded.length % 256, Math.floor(padded.length / 256)]);
  const magic = Buffer.concat([Buffer.from([0x93]), Buffer.from("NUMPY"), Buffer.from([1, 0]), length]);
  return Buffer.concat([magic, Buffer.from(padded), Buffer.from(data.buffer, data.byteOffset, data.byteLength)]);
}

async function found(explainer, picture, wanted) {
  if (explainer.kind === "detections") {
    const [first] = (await explainer.detect(picture)).detections;
    if (!first) throw new Error("the file finds nothing in this picture");
    return { heatmap: first.heatmap(), text: `${explainer.label(first.label)} ${first.confidence.toFixed(2)}` };
  }
  const named = explainer.labels?.indexOf(wanted) ?? -1;
  const target = wanted === undefined ? -1 : named >= 0 ? named : Number(wanted);
  if (!(Number.isInteger(target) && target >= -1 && target < (explainer.classes ?? Infinity))) {
    throw new Error(`the file has no class ${wanted}`);
  }
  const result = await explainer.explain(picture, target);
  return { heatmap: result.heatmap, text: `${explainer.label(result.target)}, score ${result.score.toFixed(2)}` };
}

const [file, image, out, wanted] = process.argv.slice(2);
if (!out) throw new Error("give FILE.onnx IMAGE OUT.png, and a class if it is not to be the top one");
const explainer = await Explainer.load(ort, new Uint8Array(await readFile(file)));
const picture = await decoded(image);
const { heatmap, text } = await found(explainer, picture, wanted);
if (out.endsWith(".npy")) await writeFile(out, npy(heatmap));
else {
  const png = new PNG({ width: picture.width, height: picture.height });
  png.data = Buffer.from(overlay(picture, pictured(heatmap, explainer.family)));
  await writeFile(out, PNG.sync.write(png));
}
console.log(`${image}: ${text}\nwrote ${out}`);
