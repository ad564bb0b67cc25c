// Runs exported files with onnxruntime-web in the page that benchmarks/engines/web.py drives.

import * as ort from "/examples/browser/node_modules/onnxruntime-web/dist/ort.wasm.min.mjs";

ort.env.wasm.numThreads = 1;
const ARRAYS = { float32: Float32Array, int64: BigInt64Array };
const sessions = new Map();

/** A file's session, made once. */
async function open(file) {
  if (!sessions.has(file)) {
    sessions.set(file, await ort.InferenceSession.create(file, { executionProviders: ["wasm"] }));
  }
  return sessions.get(file);
}

/** Tensors of {name: {type, dims, file}}, each file the plain numbers. */
async function read(feeds) {
  const tensors = {};
  for (const [name, { type, dims, file }] of Object.entries(feeds)) {
    const numbers = new ARRAYS[type](await (await fetch(file)).arrayBuffer());
    tensors[name] = new ort.Tensor(type, numbers, dims);
  }
  return tensors;
}

/** All outputs as {name: {type, dims, base64}}. */
export async function run(file, feeds) {
  const session = await open(file);
  const found = await session.run(await read(feeds));
  return Object.fromEntries(Object.entries(found).map(([name, { type, dims, data }]) =>
    [name, { type, dims, base64: base64(data) }]));
}

/** Milliseconds of each run of both files in turns: [bare, explained]; the first few are left out. */
export async function race(bare, explained, feeds, seconds, rounds) {
  const tensors = await read(feeds);
  const sides = [];
  for (const file of [bare, explained]) {
    const session = await open(file);
    sides.push([session, Object.fromEntries(session.inputNames.map((name) => [name, tensors[name]]))]);
  }
  const times = [[], []];
  const begun = performance.now();
  for (let round = -3; round < rounds[1]; round++) {
    if (round >= rounds[0] && performance.now() - begun > 1000 * seconds) break;
    for (const [side, [session, given]] of sides.entries()) {
      const started = performance.now();
      await session.run(given);
      if (round >= 0) times[side].push(performance.now() - started);
    }
  }
  return times;
}

/** Lets a file go. */
export async function close(file) {
  await sessions.get(file)?.release();
  sessions.delete(file);
}

/** Numbers as text. */
export function base64(array) {
  const bytes = new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
  let letters = "";
  for (let i = 0; i < bytes.length; i += 32768) letters += String.fromCharCode(...bytes.subarray(i, i + 32768));
  return btoa(letters);
}
