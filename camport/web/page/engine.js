// The engine of this browser: WebGPU where there is one that gives the same map, else WASM.

import { Explainer } from "./camport.js";

const CLOSE = 1e-3; // of two maps in [0,1]; engines differ by some 1e-6

/** onnxruntime-web, and whether it has a GPU. `engines`: the modules that lie in the site's folder. */
export async function openEngine(engines) {
  const gpu = engines.includes("ort.webgpu.min.mjs") && (await navigator.gpu?.requestAdapter().catch(() => null));
  const name = gpu ? "ort.webgpu.min.mjs" : "ort.wasm.min.mjs";
  try {
    return { ort: await import(`./engine/${name}`), gpu: Boolean(gpu) };
  } catch {
    throw new Error(`onnxruntime-web is not beside this page (engine/${name}): write the site anew with camport web`);
  }
}

/** An explainer with `engine`, "WebGPU" or "WASM", which the first picture settles. */
export async function openExplainer({ ort, gpu }, bytes) {
  const slow = await Explainer.load(ort, bytes, { providers: ["wasm"] });
  slow.engine = "WASM";
  if (!gpu) return slow;
  try {
    const fast = await Explainer.load(ort, bytes, { providers: ["webgpu"] });
    return Object.assign(fast, { engine: "WebGPU", slow });
  } catch {
    return slow; // an operator that this WebGPU cannot run
  }
}

/** The explainer itself, or that with WASM where WebGPU's map of this picture is another one; asked once. */
export async function settled(explainer, picture) {
  const { slow } = explainer;
  if (!slow) return explainer;
  const maps = async (one) => {
    if (one.kind === "class") return [(await one.explain(picture)).heatmap.data];
    return (await one.detect(picture)).detections.map(({ heatmap }) => heatmap().data);
  };
  const expected = await maps(slow);
  const found = await maps(explainer).catch(() => []);
  const equal = found.length === expected.length
    && found.every((map, i) => map.every((value, k) => Math.abs(value - expected[i][k]) < CLOSE));
  const kept = equal ? explainer : slow;
  delete explainer.slow;
  await (equal ? slow : explainer).session.release();
  return kept;
}
