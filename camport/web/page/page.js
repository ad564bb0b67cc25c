// The page: files and pictures in, prediction and map out; what goes wrong is one line below the picture.

import { overlay, pictured } from "./camport.js";
import { kept, showBoxes } from "./boxes.js";
import { Camera } from "./camera.js";
import { openEngine, openExplainer, settled } from "./engine.js";

const $ = (id) => document.getElementById(id);
const camera = new Camera($("video"));
let site = { files: [], samples: [], engines: [] };
let engine, explainer, picture, result;
let chosen = 0; // of the boxes, the most confident one first

const say = (text, wrong = false) => {
  if ($("status").textContent !== text) $("status").textContent = text;
  $("status").classList.toggle("wrong", wrong);
};

let last = Promise.resolve();
let waiting = 0;

/** Runs a step when those before it are done: a session takes one run at a time. */
const step = (work) => (...given) => {
  waiting++;
  $("stage").setAttribute("aria-busy", true);
  last = last.then(() => work(...given)).catch((error) => {
    say(String(error?.message ?? error).split("\n")[0], true);
  }).finally(() => $("stage").setAttribute("aria-busy", --waiting > 0));
  return last;
};

// ---- files -------------------------------------------------------------------------------------------------------

const openModel = step(async (read, name) => {
  say(`loading ${name} ...`);
  $("file").textContent = "";
  await explainer?.session.release();
  await explainer?.slow?.session.release();
  [explainer, result, chosen] = [null, null, 0];
  $("classes").hidden = true;
  $("target").replaceChildren();
  draw();
  let bytes;
  try {
    bytes = await read();
    engine ??= await openEngine(site.engines);
    explainer = await openExplainer(engine, bytes).catch((error) => {
      throw new Error(`${name}: ${String(error.message ?? error).split("\n")[0]}`);
    });
  } catch (error) {
    $("file").textContent = "No file.";
    throw error;
  }
  explainer.told = (by) => `${name}: ${explainer.method} at ${explainer.layer}, `
    + `${(bytes.length / 1e6).toFixed(1)} MB, by ${by}`;
  $("file").textContent = explainer.told(explainer.engine);
  if (explainer.classes) {
    $("target").append(new Option("the top class", -1));
    for (let i = 0; i < explainer.classes; i++) $("target").append(new Option(explainer.label(i), i));
    $("classes").hidden = false;
  }
  say(picture ? "" : "Choose an image.");
  await explain();
});

/** The bytes at an address below this page's own. */
async function fetched(address, name) {
  const answer = await fetch(address).catch(() => null);
  if (!answer?.ok) {
    const why = answer ? `the server says ${answer.status}` : "only files of this page's own site are asked for";
    throw new Error(`${name} is not at the address ${address}: ${why}`);
  }
  return new Uint8Array(await answer.arrayBuffer());
}

function openListed(name) {
  const address = site.files.includes(name) ? `files/${encodeURIComponent(name)}` : name;
  $("files").value = name;
  return openModel(() => fetched(address, name), name);
}

function openFile(file) {
  $("files").selectedIndex = -1;
  return openModel(async () => new Uint8Array(await file.arrayBuffer()), file.name);
}

// ---- pictures ----------------------------------------------------------------------------------------------------

const openPicture = step(async (read, name) => {
  camera.stop();
  const bitmap = await createImageBitmap(await read(), { colorSpaceConversion: "none" }).catch(() => {
    throw new Error(`${name} is no image that the browser can read`);
  });
  const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
  const context = canvas.getContext("2d");
  context.fillStyle = "white"; // what is transparent
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(bitmap, 0, 0);
  picture = context.getImageData(0, 0, canvas.width, canvas.height);
  [result, chosen] = [null, 0];
  draw();
  await explain();
});

function offerSamples() {
  const buttons = site.samples.map(({ file, caption }) => {
    const button = Object.assign(document.createElement("button"), { type: "button", title: caption });
    const address = `samples/${encodeURIComponent(file)}`;
    button.append(Object.assign(new Image(), { src: address, alt: caption }));
    button.onclick = () => {
      pressed($("samples").children, button);
      return openPicture(async () => new Blob([await fetched(address, file)]), file);
    };
    return button;
  });
  $("samples").replaceChildren(...buttons);
  pressed(buttons, null);
  return buttons[0]?.onclick();
}

const pressed = (buttons, one) => {
  for (const button of buttons) button.setAttribute("aria-pressed", button === one);
};

async function toggleCamera() {
  if (camera.running) {
    camera.stop();
    return;
  }
  const show = step(async (frame, pace) => {
    if (!camera.running) return;
    [picture, result] = [frame, null];
    if (explainer) await explain();
    else draw();
    if (pace) $("pace").textContent = `${pace.toFixed(1)} frames a second`;
  });
  pressed($("samples").children, null);
  $("camera").setAttribute("aria-pressed", true);
  $("camera").textContent = "Stop the camera";
  $("status").setAttribute("aria-live", "off"); // a line a frame is not to be read aloud
  try {
    await camera.run(show);
  } catch (error) {
    say(error.message, true);
  }
  $("camera").setAttribute("aria-pressed", false);
  $("camera").textContent = "Use the camera";
  $("status").setAttribute("aria-live", "polite");
  $("pace").textContent = "";
}

// ---- explanations ------------------------------------------------------------------------------------------------

async function explain() {
  if (!explainer || !picture) return;
  explainer = await settled(explainer, picture);
  $("file").textContent = explainer.told?.(explainer.engine) ?? $("file").textContent;
  if (explainer.kind === "class") {
    result = await explainer.explain(picture, Number($("target").value || -1));
    const what = result.target < 0 ? "the top class" : explainer.label(result.target);
    say(`${what}: score ${result.score.toFixed(2)}, ${result.milliseconds.toFixed(0)} ms`);
    listClasses();
  } else {
    result = await explainer.detect(picture);
    const count = result.detections.length;
    chosen = Math.min(chosen, Math.max(0, count - 1));
    say(`${count === 1 ? "1 box" : `${count || "no"} boxes`}, ${result.milliseconds.toFixed(0)} ms`);
  }
  draw();
}

function listClasses() {
  const order = result.outputs.map((value, index) => [value, index]).sort((a, b) => b[0] - a[0]).slice(0, 5);
  list(order.length ? "The five highest outputs" : "", order.map(([value, index]) => ({
    text: explainer.label(index), value, on: index === result.target,
    choose: () => { $("target").value = index; again(); },
  })));
}

const again = step(explain);

/** Lines that are chosen by a click or by the keyboard. */
function list(title, lines) {
  if ($("listed").textContent !== title) $("listed").textContent = title;
  const items = kept($("best"), lines.length, () => {
    const item = document.createElement("li");
    item.append(Object.assign(document.createElement("button"), { type: "button" }));
    item.firstChild.append(document.createElement("span"), document.createElement("span"));
    return item;
  });
  items.forEach(({ firstChild: button }, index) => {
    const { text, value, on, choose } = lines[index];
    button.onclick = choose;
    button.firstChild.textContent = text;
    button.lastChild.textContent = value.toFixed(2);
    button.setAttribute("aria-pressed", on);
  });
}

function draw() {
  const detections = result?.detections ?? [];
  const heatmap = result?.heatmap ?? detections[chosen]?.heatmap();
  if (!result) list("", []);
  if (picture) {
    const { width, height } = picture;
    const canvas = $("picture");
    Object.assign(canvas, { width, height });
    Object.assign($("stage").style, { aspectRatio: `${width} / ${height}`, maxWidth: `calc(75vh * ${width / height})` });
    const shown = heatmap && pictured(heatmap, explainer.family);
    const data = shown ? overlay(picture, shown, Number($("alpha").value)) : picture.data;
    canvas.getContext("2d").putImageData(new ImageData(data, width, height), 0, 0);
    canvas.setAttribute("aria-label", heatmap ? "the picture with the map over it" : "the picture");
  }
  const choose = (index) => { chosen = index; draw(); };
  const found = detections.map(({ box, label, confidence }) => {
    const name = explainer.label(label);
    return { box, text: `${name} ${confidence.toFixed(2)}`, name, confidence };
  });
  showBoxes($("boxes"), picture, found, chosen, choose);
  if (result?.detections) {
    list(found.length ? "Boxes; the map of one is shown" : "No box is confident enough", found.map((one, index) => (
      { text: one.name, value: one.confidence, on: index === chosen, choose: () => choose(index) })));
  }
}

// ---- the page's own ----------------------------------------------------------------------------------------------

function listenToDrops() {
  const over = (on) => (event) => {
    event.preventDefault();
    document.body.classList.toggle("dropping", on);
  };
  addEventListener("dragover", over(true));
  addEventListener("dragleave", over(false));
  addEventListener("drop", (event) => {
    over(false)(event);
    const [file] = event.dataTransfer.files;
    if (file) take(file);
    else say("What was dropped is no file: save the image first, then drop it.", true);
  });
}

function take(file) {
  if (file.name.toLowerCase().endsWith(".onnx")) return openFile(file);
  pressed($("samples").children, null);
  return openPicture(async () => file, file.name);
}

$("model").onchange = ({ target: { files: [file] } }) => file && openFile(file);
$("image").onchange = ({ target: { files: [file] } }) => file && take(file);
$("files").onchange = ({ target: { value } }) => openListed(value);
$("camera").onclick = toggleCamera;
$("target").onchange = again;
$("alpha").oninput = () => draw();
addEventListener("resize", () => draw());
listenToDrops();

await step(async () => {
  const answer = await fetch("site.json").catch(() => null);
  if (!answer?.ok) throw new Error("site.json is not beside this page: write the site anew with camport web");
  site = await answer.json();
  $("files").append(...site.files.map((name) => new Option(name, name)));
  $("files").disabled = site.files.length === 0;
})();
if (site.engines.length) {
  await offerSamples();
  const name = new URLSearchParams(location.search).get("model") ?? site.files[0];
  if (name) await openListed(name);
  else say("Choose a file made by camport export.");
}
document.body.dataset.ready = "yes"; // for whoever drives the page
