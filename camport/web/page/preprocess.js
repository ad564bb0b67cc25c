// From a picture to the network's input, as camport.runtime.Preprocess: Pillow's resizing, number for number.

export const DEFAULTS = {
  size: null, fit: "stretch", resize: null, interpolation: "bilinear",
  scale: 1 / 255, mean: [0, 0, 0], std: [1, 1, 1], pad: 114, in_graph: false, stride: null, side: null,
};

/** Where a picture of [height, width] lies in the network's frame. */
export function place(image, { size, fit, resize, stride, side }) {
  const [height, width] = image;
  if (!size) {
    const resized = side ? along(side, image) : image;
    return { image, network: resized, resized, origin: [0, 0] };
  }
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

/** The size of an image brought to one fixed side, in its own shape. */
function along([fixedHeight, fixedWidth], [height, width]) {
  if (fixedHeight !== null) return [fixedHeight, Math.max(1, roundEven((width * fixedHeight) / height))];
  return [Math.max(1, roundEven((height * fixedWidth) / width)), fixedWidth];
}

/** The network's input float32 [c,H,W] of a picture, and its placement; c is 3, or 1 for a grey picture. */
export function prepare(picture, preprocess) {
  const { interpolation, pad, scale, mean, std } = { ...DEFAULTS, ...preprocess };
  const placement = place([picture.height, picture.width], { ...DEFAULTS, ...preprocess });
  const channels = mean.length;
  const small = resample(planes(picture, channels), ...placement.resized, interpolation);
  const [height, width] = placement.network;
  const [top, left] = placement.origin;
  const pixels = new Float32Array(channels * height * width);
  const table = mean.map((_, c) => {
    const [factor, shift, divisor] = [scale, mean[c], std[c]].map(Math.fround);
    return Float32Array.from({ length: 256 }, (_, v) => Math.fround(Math.fround(v * factor) - shift) / divisor);
  });
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const row = y - top;
      const column = x - left;
      const inside = row >= 0 && row < small.height && column >= 0 && column < small.width;
      for (let c = 0; c < channels; c++) {
        const value = inside ? small.data[channels * (row * small.width + column) + c] : pad;
        pixels[(c * height + y) * width + x] = table[c][value];
      }
    }
  }
  return { pixels, placement };
}

/** The bytes of a picture that is opaque: R, G and B, or its grey as Pillow weighs it. */
export function planes({ width, height, data }, channels) {
  const result = new Uint8Array(channels * width * height);
  for (let i = 0; i < width * height; i++) { // no arrays made for each pixel: frames of a camera come by here
    const r = data[4 * i];
    const g = data[4 * i + 1];
    const b = data[4 * i + 2];
    if (channels === 1) {
      result[i] = (r * 19595 + g * 38470 + b * 7471 + 32768) >> 16;
    } else {
      result[3 * i] = r;
      result[3 * i + 1] = g;
      result[3 * i + 2] = b;
    }
  }
  return { width, height, channels, data: result };
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

/** Bytes at another size as Pillow makes them: antialiased, first across, then down, bytes in between. */
export function resample(image, height, width, interpolation) {
  const filter = FILTERS[interpolation];
  if (!filter) throw new Error(`unknown interpolation ${interpolation}`);
  const { channels } = image;
  let { data } = image;
  if (width !== image.width) {
    data = pass(data, image.height, channels * image.width, channels, taps(image.width, width, filter));
  }
  if (height !== image.height) data = pass(data, 1, 0, channels * width, taps(image.height, height, filter));
  return { width, height, channels, data };
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
    // integers, as Pillow's: sums of them and bytes stay within 32 bits
    return { first, weights: Int32Array.from(weights, (w) => (w / total) * 2 ** BITS + Math.sign(w) * 0.5) };
  });
}

/** Weighted sums along one axis: `lines` lines of `length` bytes, neighbours on the axis `step` bytes apart. */
function pass(data, lines, length, step, places) {
  const result = new Uint8ClampedArray(lines * places.length * step);
  for (let line = 0; line < lines; line++) {
    places.forEach(({ first, weights }, place) => {
      for (let i = 0; i < step; i++) {
        let sum = 1 << (BITS - 1);
        let at = line * length + first * step + i;
        for (let k = 0; k < weights.length; k++, at += step) sum = (sum + data[at] * weights[k]) | 0;
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
