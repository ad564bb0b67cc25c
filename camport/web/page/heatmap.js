// From the network's map to the picture, as camport.runtime.Placement and camport.view.

import { TURBO } from "./turbo.js";

/** A map at the network's size as one at the picture's, as Placement.to_image: what was padded is cut away. */
export function toImage(map, placement) {
  const rows = spread(placement, 0);
  const columns = spread(placement, 1);
  const [height, width] = placement.image;
  const wide = new Float32Array(map.height * width);
  for (let x = 0; x < width; x++) {
    const { first, weights } = columns[x];
    for (let y = 0; y < map.height; y++) {
      let sum = 0;
      for (let k = 0; k < weights.length; k++) sum += weights[k] * map.data[y * map.width + first + k];
      wide[y * width + x] = sum;
    }
  }
  const data = new Float32Array(height * width);
  for (let y = 0; y < height; y++) {
    const { first, weights } = rows[y];
    for (let x = 0; x < width; x++) {
      let sum = 0;
      for (let k = 0; k < weights.length; k++) sum += weights[k] * wide[(first + k) * width + x];
      data[y * width + x] = sum;
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

/** A box in the network's pixels as one in the picture's, as Placement.boxes_to_image; not clipped to the picture. */
export function boxToImage(box, { image, resized, origin }) {
  return box.map((value, i) => {
    const axis = i % 2 ? 0 : 1; // left, top, right, bottom; sizes are height, width
    return ((value - origin[axis]) * image[axis]) / resized[axis];
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
    const grey = 0.299 * result[4 * i] + 0.587 * result[4 * i + 1] + 0.114 * result[4 * i + 2];
    for (let c = 0; c < 3; c++) {
      const base = result[4 * i + c] + (grey - result[4 * i + c]) * fade;
      result[4 * i + c] = base + (TURBO[colour + c] - base) * weight;
    }
  }
  return result;
}
