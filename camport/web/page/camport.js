// An exported explainer in a browser or in Node: ONNX Runtime's JavaScript runs the graph, this does what is around it.
//
//   const explainer = await Explainer.load(ort, bytes);       // bytes: Uint8Array of the .onnx file
//   const { heatmap, score, outputs } = await explainer.explain(picture, 281);
//   const { detections } = await explainer.detect(picture);   // of a file made with --one-image --nms
//
// `ort` is onnxruntime-web or onnxruntime-node. A picture is { width, height, data }, data RGBA bytes: an ImageData is
// one. The twin in Python is camport.runtime; what the network sees is the same to the last bit.

import { boxToImage, toImage } from "./heatmap.js";
import { readMetadata } from "./metadata.js";
import { DEFAULTS, place, planes, prepare } from "./preprocess.js";

export { overlay, pictured, toImage } from "./heatmap.js";
export { readMetadata } from "./metadata.js";
export { place, prepare, resample } from "./preprocess.js";

export class Explainer {
  /**
   * Loads a file of `camport export`. Throws an Error of one line where it is none, or one that cannot be asked here.
   * @param providers execution providers; by default "wasm", and "cpu" in onnxruntime-node
   */
  static async load(ort, bytes, { providers } = {}) {
    let metadata;
    try {
      metadata = readMetadata(bytes);
    } catch {
      throw new Error("this is no ONNX file, or it is cut short");
    }
    if (!metadata["camport.version"]) {
      throw new Error("this ONNX file is no camport explainer: it has no camport.version; make one with camport export");
    }
    const executionProviders = providers ?? ["listSupportedBackends" in ort ? "cpu" : "wasm"];
    const session = await ort.InferenceSession.create(bytes, { executionProviders });
    return new Explainer(ort, session, metadata);
  }

  /**
   * `kind` is "class" for files that are asked about a class, "detections" for files that find what they explain.
   * `classes`: how many there are, or null where the file's outputs are not one number a class.
   */
  constructor(ort, session, metadata) {
    const json = (key, otherwise) => JSON.parse(metadata[`camport.${key}`] ?? JSON.stringify(otherwise));
    this.ort = ort;
    this.session = session;
    ({ name: this.method, family: this.family } = json("method", { name: "?" }));
    this.task = json("adapter", { name: "classification" }).name;
    this.layer = json("layer", []).join(", ");
    this.labels = json("labels", null);
    this.preprocess = { ...DEFAULTS, ...json("preprocess", {}) };
    const { inputNames, outputNames } = session;
    const others = inputNames.filter((name) => !["images", "target"].includes(name));
    if (others.length) throw new Error(refusal(this.task, inputNames));
    if (!outputNames.includes("heatmap")) {
      throw new Error(`the file gives ${outputNames.join(", ")} and no heatmap to show; export it with heatmap`);
    }
    this.kind = outputNames.includes("detections") ? "detections" : "class";
    const shape = (found, name) => found.find((value) => value.name === name)?.shape;
    const outputs = shape(session.outputMetadata, "outputs");
    this.classes = outputs?.length === 2 ? outputs[1] : null;
    const images = shape(session.inputMetadata, "images");
    const channels = images[this.preprocess.in_graph ? 3 : 1];
    if (typeof channels === "number" && channels !== this.preprocess.mean.length) {
      const { mean, std } = this.preprocess;
      if (mean.some((v) => v !== 0) || std.some((v) => v !== 1)) {
        throw new Error(`camport.preprocess has ${mean.length} means, and the network takes ${channels} channels`);
      }
      this.preprocess = { ...this.preprocess, mean: Array(channels).fill(0), std: Array(channels).fill(1) };
    }
    if (![1, 3].includes(this.preprocess.mean.length)) {
      throw new Error(`the network takes ${this.preprocess.mean.length} channels, which a picture does not have`);
    }
  }

  /** What the graph takes of one picture, and where the picture lies in the network's frame. */
  input(picture) {
    if (this.preprocess.in_graph) {
      const { channels, data, height, width } = planes(picture, this.preprocess.mean.length);
      const placement = place([height, width], this.preprocess);
      return { images: new this.ort.Tensor("uint8", data, [1, height, width, channels]), placement };
    }
    const { pixels, placement } = prepare(picture, this.preprocess);
    const channels = this.preprocess.mean.length;
    return { images: new this.ort.Tensor("float32", pixels, [1, channels, ...placement.network]), placement };
  }

  /** The name of a class, or its number. */
  label(index) {
    return this.labels?.[index] ?? `class ${index}`;
  }

  /**
   * Prediction and explanation of one picture, by a file that is asked about a class.
   * @param target the class to explain, -1 for the top one
   * @returns heatmap {width, height, data} in [0,1] at the picture's own size, score, target, outputs (of all classes),
   *   milliseconds of the run
   */
  async explain(picture, target = -1) {
    if (this.kind !== "class") throw new Error("this file explains what it finds itself: call detect(picture)");
    const { images, placement } = this.input(picture);
    const feeds = { images };
    if (this.session.inputNames.includes("target")) {
      feeds.target = new this.ort.Tensor("int64", BigInt64Array.of(BigInt(target)), [1]);
    }
    const wanted = ["heatmap", "outputs", "score"].filter((name) => this.session.outputNames.includes(name));
    const { found, milliseconds } = await this.run(feeds, wanted);
    const outputs = this.classes === null ? [] : Array.from(found.outputs.data);
    const [, height, width] = found.heatmap.dims;
    return {
      heatmap: toImage({ width, height, data: found.heatmap.data }, placement),
      score: found.score?.data[0] ?? NaN,
      target: target < 0 ? outputs.indexOf(Math.max(...outputs)) : target,
      outputs,
      milliseconds,
    };
  }

  /**
   * What a file made with --one-image --nms finds, the most confident first, each with its map.
   * @returns detections [{box: [left, top, right, bottom] in the picture's pixels, label, confidence, heatmap}],
   *   milliseconds of the run; a heatmap is a function, since bringing one to the picture's size takes time
   */
  async detect(picture) {
    if (this.kind !== "detections") throw new Error("this file is asked about a class: call explain(picture, target)");
    const { images, placement } = this.input(picture);
    const { found, milliseconds } = await this.run({ images }, ["detections", "heatmap"]);
    const [, height, width] = found.heatmap.dims;
    const detections = Array.from({ length: found.detections.dims[0] }, (_, row) => {
      const [, left, top, right, bottom, confidence, label] = found.detections.data.subarray(7 * row, 7 * row + 7);
      const data = found.heatmap.data.subarray(row * height * width, (row + 1) * height * width);
      const heatmap = () => toImage({ width, height, data }, placement);
      return { box: boxToImage([left, top, right, bottom], placement), label, confidence, heatmap };
    });
    return { detections, milliseconds };
  }

  async run(feeds, wanted) {
    const started = performance.now();
    const found = await this.session.run(feeds, wanted);
    const milliseconds = performance.now() - started;
    if (!found.heatmap.data.every(Number.isFinite)) throw new Error("the file's heatmap of this picture is not finite");
    return { found, milliseconds };
  }
}

/** Why a file that takes more than pictures and a class is not asked here, in one sentence. */
function refusal(task, names) {
  const remedy = task === "detection" && names.includes("boxes")
    ? "a detector's file for this page is exported with --one-image --nms"
    : "it cannot be asked here; camport run and camport.runtime ask it";
  return `this file is of the task ${task} and takes ${names.join(", ")}: ${remedy}`;
}
