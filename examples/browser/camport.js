// An exported explainer in a browser or in Node: onnxruntime-web runs the graph, this file does what is around it.
//
//   const explainer = await Explainer.load(ort, bytes);       // bytes: Uint8Array of the .onnx file
//   const { heatmap, score, outputs } = await explainer.explain(picture, 281);
//
// A picture is { width, height, data }, data RGBA bytes: an ImageData is one. Its twin in Python is camport.runtime;
// what the network sees is the same to the last bit: the resizing below is Pillow's, number for number.

import { TURBO } from "./turbo.js";

export class Explainer {
  /** Loads a file of `camport export`. Throws an Error of one line where it is none. */
  static async load(ort, bytes) {
    let metadata;
    try {
      metadata = readMetadata(bytes);
    } catch {
      throw new Error("this is no ONNX file, or it is cut short");
    }
    if (!metadata["camport.version"]) throw new Error("this ONNX file is no camport explainer: it has no camport.version");
    const session = await ort.InferenceSession.create(bytes, { executionProviders: ["wasm"] });
    return new Explainer(ort, session, metadata);
  }

  constructor(ort, session, metadata) {
    const json = (key, otherwise) => JSON.parse(metadata[`camport.${key}`] ?? JSON.stringify(otherwise));
    this.ort = ort;
    this.session = session;
    ({ name: this.method, family: this.family } = json("method", { name: "?" }));
    this.layer = json("layer", []).join(", ");
    this.labels = json("labels", null);
    this.preprocess = { ...DEFAULTS, ...json("preprocess", {}) };
    const extra = session.inputNames.filter((name) => !["images", "target"].includes(name));
    if (extra.length) throw new Error(`this page explains classifiers; the file also wants ${extra.join(", ")}`);
  }

  /** What the graph takes of one picture, and where the picture lies in the network's frame. */
  input(picture) {
    if (this.preprocess.in_graph) {
      const { data, height, width } = rgb(picture);
      const placement = place([height, width], this.preprocess);
      return { images: new this.ort.Tensor("uint8", data, [1, height, width, 3]), placement };
    }
    const { pixels, placement } = prepare(picture, this.preprocess);
    return { images: new this.ort.Tensor("float32", pixels, [1, 3, ...placement.network]), placement };
  }

  /** The name of a class, or its number. */
  label(index) {
    return this.labels?.[index] ?? `class ${index}`;
  }

  /**
   * Prediction and explanation of one picture.
   * @param target the class to explain, -1 for the top one
   * @returns heatmap {width, height, data} in [0,1] at the picture's own size, score, target, outputs (all logits),
   *   milliseconds of the run
   */
  async explain(picture, target = -1) {
    const { images, placement } = this.input(picture);
    const feeds = { images };
    if (this.session.inputNames.includes("target")) {
      feeds.target = new this.ort.Tensor("int64", BigInt64Array.of(BigInt(target)), [1]);
    }
    const started = performance.now();
    const found = await this.session.run(feeds, ["outputs", "score", "heatmap"]);
    const milliseconds = performance.now() - started;
    const outputs = Array.from(found.outputs.data);
    const [, height, width] = found.heatmap.dims;
    return {
      heatmap: toImage({ width, height, data: found.heatmap.data }, placement),
      score: found.score.data[0],
      target: target < 0 ? outputs.indexOf(Math.max(...outputs)) : target,
      outputs,
      milliseconds,
    };
  }
}

// ---- what the file says of itself -------------------------------------------------------------------------------

/** The metadata of an ONNX file as {key: text}; onnxruntime-web does not tell it. Field 14 of a ModelProto. */
export function readMetadata(bytes) {
  const found = {};
  for (const [field, entry] of fields(bytes)) {
    if (field !== 14) continue;
    const pair = Object.fromEntries(fields(entry));
    found[new TextDecoder().decode(pair[1])] = new TextDecoder().decode(pair[2]);
  }
  return found;
}

/** The fields of a protobuf message: [number, bytes] of those with a length; numbers are passed over. */
function* fields(bytes) {
  let at = 0;
  const varint = () => {
    let value = 0;
    for (let place = 1; ; place *= 128) {
      if (at >= bytes.length) throw new Error("cut short");
      const byte = bytes[at++];
      value += (byte & 127) * place;
      if (byte < 128) return value;
    }
  };
  while (at < bytes.length) {
    const tag = varint();
    const kind = tag % 8;
    if (kind === 0) varint();
    else if (kind === 1) at += 8;
    else if (kind === 5) at += 4;
    else if (kind === 2) {
      const length = varint();
      if (at + length > bytes.length) throw new Error("cut short");
      yield [Math.floor(tag / 8), bytes.subarray(at, at + length)];
      at += length;
    } else throw new Error("no protobuf");
  }
}

// ---- from a picture to the network's input, as camport.runtime.preprocess ----------------------------------------

const DEFAULTS = {
  size: null, fit: "stretch", resize: null, interpolation: "bilinear",
  scale: 1 / 255, mean: [0, 0, 0], std: [1, 1, 1], pad: 114, in_graph: false, stride: null,
};

/** Where a picture of [height, width] lies in the network's frame. */
export function place(image, { size, fit, resize, stride }) {
  const [height, width] = image;
  if (!size) return { image, network: image, resized: image, origin: [0, 0] };
  if (fit === "stretch") return { image, network: size, resized: size, origin: [0, 0] };
  if (fit === "letterbox") {
    const ratio = Math.min(size[0] / height, size[1] / width);
    const resized = [height, width].map((n) => Math.max(1, roundEven(n * ratio)));
    const network = stride ? size.map((n, i) => Math.min(n, Math.ceil(resized[i] / stride) * stride)) : size;
    // of an odd rest the larger half lies behind, as YOLO packages pad
    return { image, network, resized, origin: network.map((n, i) => Math.floor((n - resized[i]) / 2)) };
  }
  const short = resize ?? Math.max(...size);
  const resized = [height, width].map((n) => Math.floor((short * n) / Math.min(height, width)));
  return { image, network: size, resized, origin: size.map((n, i) => roundEven((n - resized[i]) / 2)) };
}

/** The network's input float32 [3,H,W] of a picture, and its placement. */
export function prepare(picture, preprocess) {
  const { interpolation, pad, scale, mean, std } = { ...DEFAULTS, ...preprocess };
  const placement = place([picture.height, picture.width], { ...DEFAULTS, ...preprocess });
  const small = resample(rgb(picture), ...placement.resized, interpolation);
  const [height, width] = placement.network;
  const [top, left] = placement.origin;
  const pixels = new Float32Array(3 * height * width);
  const table = [0, 1, 2].map((c) => {
    const [factor, shift, divisor] = [scale, mean[c], std[c]].map(Math.fround);
    return Float32Array.from({ length: 256 }, (_, v) => Math.fround(Math.fround(v * factor) - shift) / divisor);
  });
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const [row, column] = [y - top, x - left];
      const inside = row >= 0 && row < small.height && column >= 0 && column < small.width;
      for (let c = 0; c < 3; c++) {
        const value = inside ? small.data[3 * (row * small.width + column) + c] : pad;
        pixels[(c * height + y) * width + x] = table[c][value];
      }
    }
  }
  return { pixels, placement };
}

/** RGB bytes of a picture; it is opaque already. */
function rgb({ width, height, data }) {
  const result = new Uint8Array(3 * width * height);
  for (let i = 0; i < width * height; i++) for (let c = 0; c < 3; c++) result[3 * i + c] = data[4 * i + c];
  return { width, height, data: result };
}

const FILTERS = {
  bilinear: { support: 1, weight: (x) => Math.max(0, 1 - Math.abs(x)) },
  bicubic: {
    support: 2,
    weight: (x) => {
      const a = -0.5;
      x = Math.abs(x);
      if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
      return x < 2 ? (((x - 5) * x + 8) * x - 4) * a : 0;
    },
  },
};
const BITS = 22; // of Pillow's fixed-point weights

/** RGB bytes at another size as Pillow makes them: antialiased, first across, then down, bytes in between. */
export function resample(image, height, width, interpolation) {
  const filter = FILTERS[interpolation];
  if (!filter) throw new Error(`unknown interpolation ${interpolation}`);
  let { data } = image;
  if (width !== image.width) data = pass(data, image.height, 3 * image.width, 3, taps(image.width, width, filter));
  if (height !== image.height) data = pass(data, 1, 0, 3 * width, taps(image.height, height, filter));
  return { width, height, data };
}

/** For each place of the result: the first place it is made of, and the weights from there on. */
function taps(from, to, { support, weight }) {
  const scale = from / to;
  const wide = Math.max(1, scale);
  return Array.from({ length: to }, (_, place) => {
    const centre = (place + 0.5) * scale;
    const first = Math.max(0, Math.trunc(centre - support * wide + 0.5));
    const last = Math.min(from, Math.trunc(centre + support * wide + 0.5));
    const weights = Array.from({ length: last - first }, (_, i) => weight((i + first - centre + 0.5) * (1 / wide)));
    const total = weights.reduce((a, b) => a + b, 0);
    return { first, weights: weights.map((w) => Math.trunc((w / total) * 2 ** BITS + Math.sign(w) * 0.5)) };
  });
}

/** Weighted sums along one axis: `lines` lines of `length` bytes, neighbours on the axis `step` bytes apart. */
function pass(data, lines, length, step, places) {
  const result = new Uint8ClampedArray(lines * places.length * step);
  for (let line = 0; line < lines; line++) {
    places.forEach(({ first, weights }, place) => {
      for (let i = 0; i < step; i++) {
        let sum = 2 ** (BITS - 1);
        for (let k = 0; k < weights.length; k++) sum += data[line * length + (first + k) * step + i] * weights[k];
        result[(line * places.length + place) * step + i] = sum >> BITS;
      }
    });
  }
  return result;
}

/** To the nearest integer, halves to the even one, as Python rounds. */
function roundEven(x) {
  const low = Math.floor(x);
  if (x - low !== 0.5) return Math.round(x);
  return low % 2 ? low + 1 : low;
}

// ---- from the network's map to the picture -----------------------------------------------------------------------

/** A map at the network's size as one at the picture's, as Placement.to_image: what was padded is cut away. */
export function toImage(map, placement) {
  const rows = spread(placement, 0);
  const columns = spread(placement, 1);
  const [height, width] = placement.image;
  const wide = new Float32Array(map.height * width);
  for (let y = 0; y < map.height; y++) {
    for (let x = 0; x < width; x++) {
      const { first, weights } = columns[x];
      wide[y * width + x] = weights.reduce((sum, w, k) => sum + w * map.data[y * map.width + first + k], 0);
    }
  }
  const data = new Float32Array(height * width);
  for (let y = 0; y < height; y++) {
    const { first, weights } = rows[y];
    for (let x = 0; x < width; x++) {
      data[y * width + x] = weights.reduce((sum, w, k) => sum + w * wide[(first + k) * width + x], 0);
    }
  }
  return { width, height, data };
}

/** For each place on one axis of the picture: the network's places it is made of; none where it was cut off. */
function spread({ image, network, resized, origin }, axis) {
  const scale = resized[axis] / image[axis];
  const wide = Math.max(1, scale);
  const low = Math.max(0, origin[axis]);
  const high = Math.min(network[axis], origin[axis] + resized[axis]);
  return Array.from({ length: image[axis] }, (_, place) => {
    const centre = (place + 0.5) * scale + origin[axis];
    if (centre < low || centre > high) return { first: 0, weights: [] };
    const first = Math.max(low, Math.ceil(centre - wide - 0.5));
    const last = Math.min(high - 1, Math.floor(centre + wide - 0.5));
    const weights = Array.from({ length: last - first + 1 }, (_, i) => 1 - Math.abs(centre - (first + i + 0.5)) / wide);
    const total = weights.reduce((a, b) => a + b, 0);
    return { first, weights: weights.map((w) => w / total) };
  });
}

const SIGNED = 0.25; // as in camport.view.gradient, whose percentiles these are

/** A map as pictures show it, as camport.view.pictured: pixel gradients saturate beyond their 99th percentile. */
export function pictured(map, family) {
  if (family !== "input-gradient") return map;
  const unit = map.data.map((v) => Math.min(1, Math.max(0, v)));
  const awake = unit.filter((v) => v > 0).sort();
  const percentile = (share) => {
    const at = share * (awake.length - 1);
    const below = awake[Math.floor(at)];
    return below + (awake[Math.ceil(at)] - below) * (at - Math.floor(at));
  };
  const high = awake.length ? percentile(0.99) : 1;
  const low = awake.length && percentile(0.01) > SIGNED * high ? percentile(0.5) : 0;
  return { ...map, data: unit.map((v) => Math.min(1, Math.max(0, (v - low) / (high - low || 1)))) };
}

/** RGBA bytes of a picture with a map's colours over it, as camport.view.overlay: colour where it is hot. */
export function overlay(picture, map, alpha = 0.5, fade = 0.6) {
  const result = new Uint8ClampedArray(picture.data);
  for (let i = 0; i < map.data.length; i++) {
    const heat = Math.min(1, Math.max(0, map.data[i]));
    const colour = 3 * Math.min(255, Math.floor(heat * 256));
    const weight = alpha * Math.sqrt(heat);
    const [r, g, b] = result.subarray(4 * i, 4 * i + 3);
    const grey = 0.299 * r + 0.587 * g + 0.114 * b;
    for (let c = 0; c < 3; c++) {
      const base = result[4 * i + c] + (grey - result[4 * i + c]) * fade;
      result[4 * i + c] = base + (TURBO[colour + c] - base) * weight;
    }
  }
  return result;
}
