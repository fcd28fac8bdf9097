"use strict";
(() => {
const $ = (id) => document.getElementById(id);
const data = JSON.parse($("data").textContent);
const { pictures } = data;
const form = $("controls"), stage = $("stage"), canvas = $("canvas"), root = document.documentElement;
const cells = [...document.querySelectorAll(".cell")].map((figure) => ({
  figure, number: +figure.dataset.picture, canvas: figure.querySelector("canvas"), range: figure.querySelector(".range") }));
const clamp = (v, low, high) => Math.min(Math.max(v, low), high);
const told = (v) => Number(v.toPrecision(3)).toLocaleString("en", { maximumSignificantDigits: 3 }).replace("-", "−");
const at = { zoom: 1, x: 0.5, y: 0.5, lines: {}, drawing: null, front: 0 };

// ---- choices: the form is the state --------------------------------------------------------------------------------
const choice = (name) => form.elements[name].value;
const flat = data.depth === 1;
const view = () => (flat ? "xy" : choice("view"));
const isPlane = () => !flat && view() === "xy" && choice("what") === "plane";
const plane = () => data.planes[+choice("z")];
const pitch = () => (isPlane() ? data.pitchPlane : data.pitch[view()]);
const both = () => [+choice("a"), +choice("b")];
form.elements.a.value = 0;
form.elements.b.value = data.first;
form.elements.z.max = Math.max(data.planes.length - 1, 0);
form.elements.z.value = data.planes.length >> 1;
for (const option of form.querySelectorAll("select[name=a] option, select[name=b] option"))
  option.defaultSelected = option.value === String(option.parentNode.name === "a" ? 0 : data.first);
form.elements.z.defaultValue = form.elements.z.value;

// ---- pixels: 8 bits, decoded once ----------------------------------------------------------------------------------
const decoded = new Map();
const KEPT = 240;
function levels(number) {
  const key = isPlane() ? `${number}/z${choice("z")}` : `${number}/${view()}`;
  const known = decoded.get(key);
  if (known) { decoded.delete(key); decoded.set(key, known); return known; }
  const source = isPlane() ? pictures[number].planes[+choice("z")] : $(`i${number}-${view()}`).src;
  const promise = decode(source);
  decoded.set(key, promise);
  if (decoded.size > KEPT) decoded.delete(decoded.keys().next().value);
  return promise;
}
async function decode(source) {
  const image = new Image();
  image.src = source;
  await image.decode();
  const { naturalWidth: width, naturalHeight: height } = image;
  const sheet = Object.assign(document.createElement("canvas"), { width, height });
  const pen = sheet.getContext("2d", { willReadFrequently: true });
  pen.drawImage(image, 0, 0);
  const four = pen.getImageData(0, 0, width, height).data, values = new Uint8Array(width * height);
  for (let k = 0; k < values.length; k++) values[k] = four[4 * k];
  return { width, height, values, sheet, pen };
}
const counts = (p, level) => p.low + (p.high - p.low) * (level / 255) ** 2;

// ---- contrast and colours ------------------------------------------------------------------------------------------
const STOPS = {
  grey: [[0, 0, 0], [255, 255, 255]],
  inverted: [[255, 255, 255], [0, 0, 0]],
  viridis: [[68, 1, 84], [71, 44, 122], [59, 81, 139], [44, 113, 142], [33, 144, 141], [39, 173, 129], [92, 200, 99],
    [170, 220, 50], [253, 231, 37]],
  cividis: [[0, 32, 77], [0, 52, 110], [58, 72, 107], [87, 93, 109], [112, 113, 115], [138, 134, 120], [165, 156, 116],
    [203, 186, 105], [255, 234, 70]],
};
function range(p) {
  const kind = isPlane() ? "plane" : "max";
  let [low, high] = p.windows[kind];
  if (choice("contrast") === "shared") {
    const all = pictures.filter((q) => !q.truth).map((q) => q.windows[kind]);
    low = Math.min(...all.map((w) => w[0]));
    high = Math.max(...all.map((w) => w[1]));
  }
  const span = high - low;
  const black = low + span * choice("black") / 100, white = low + span * choice("white") / 100;
  return [black, Math.max(white, black + span / 1000)];
}
function colours(p) {
  const [black, white] = range(p), stops = STOPS[choice("map")], table = new Uint8ClampedArray(768);
  for (let level = 0; level < 256; level++) {
    const share = clamp((counts(p, level) - black) / (white - black), 0, 1) ** choice("gamma");
    const place = share * (stops.length - 1), left = Math.min(Math.floor(place), stops.length - 2);
    for (let c = 0; c < 3; c++)
      table[3 * level + c] = stops[left][c] + (place - left) * (stops[left + 1][c] - stops[left][c]);
  }
  return table;
}
function tint(number, pixels) {
  const key = [...range(pictures[number]), choice("gamma"), choice("map")].join();
  if (pixels.tinted === key) return pixels.sheet;
  const table = colours(pictures[number]), out = pixels.pen.createImageData(pixels.width, pixels.height), four = out.data;
  for (let k = 0; k < pixels.values.length; k++) {
    const from = 3 * pixels.values[k];
    four[4 * k] = table[from]; four[4 * k + 1] = table[from + 1]; four[4 * k + 2] = table[from + 2]; four[4 * k + 3] = 255;
  }
  pixels.pen.putImageData(out, 0, 0);
  pixels.tinted = key;
  return pixels.sheet;
}

// ---- drawing -------------------------------------------------------------------------------------------------------
function place(target, pixels, tallest) { // fits a canvas to its width; how the picture lies in it, in CSS pixels
  const wide = pixels.width * pitch()[0], high = pixels.height * pitch()[1];
  const width = target.clientWidth, height = Math.round(clamp(width * high / wide, 60, tallest)), dense = devicePixelRatio || 1;
  if (target.width !== Math.round(width * dense) || target.height !== Math.round(height * dense)) {
    target.style.height = `${height}px`;
    target.width = Math.round(width * dense);
    target.height = Math.round(height * dense);
  }
  const scale = Math.min(width / wide, height / high) * at.zoom;
  const w = wide * scale, h = high * scale;
  return { dense, width, height, w, h, x: width / 2 - at.x * w, y: height / 2 - at.y * h, scale };
}
function paint(target, number, pixels, where, from = 0, to = where.width) {
  const pen = target.getContext("2d");
  pen.setTransform(where.dense, 0, 0, where.dense, 0, 0);
  pen.save();
  pen.beginPath();
  pen.rect(from, 0, to - from, where.height);
  pen.clip();
  pen.fillStyle = choice("map") === "inverted" ? "#ddd" : "#0b0b0d";
  pen.fillRect(0, 0, where.width, where.height);
  pen.imageSmoothingEnabled = where.w / pixels.width < 1.5;
  pen.imageSmoothingQuality = "high";
  pen.drawImage(tint(number, pixels), where.x, where.y, where.w, where.h);
  pen.restore();
  return pen;
}
function outlined(pen, draw) { // dark round light: seen on every ground
  for (const [colour, width] of [["rgb(0 0 0 / .75)", 4], ["#fff", 1.8]]) {
    pen.strokeStyle = colour; pen.lineWidth = width; pen.beginPath(); draw(); pen.stroke();
  }
}
const NICE = [1, 2, 5].flatMap((d) => [-3, -2, -1, 0, 1, 2, 3, 4].map((e) => d * 10 ** e)).sort((a, b) => a - b);
const length = (v) => (data.unit === "µm" && v < 1 ? `${told(1000 * v)} nm` : `${told(v)} ${data.unit}`);
function overlay(pen, where) {
  const long = NICE.filter((n) => n * where.scale <= 0.28 * where.width).pop();
  if (long) {
    const x = 14, y = where.height - 14, text = length(long);
    outlined(pen, () => { pen.moveTo(x, y); pen.lineTo(x + long * where.scale, y); });
    pen.font = "600 12px system-ui, sans-serif";
    pen.lineWidth = 3; pen.strokeStyle = "rgb(0 0 0 / .75)"; pen.strokeText(text, x, y - 7);
    pen.fillStyle = "#fff"; pen.fillText(text, x, y - 7);
  }
  const spot = ([u, v]) => [where.x + u * where.w, where.y + v * where.h];
  const line = at.lines[view()];
  const ends = at.drawing ? at.drawing.from && [at.drawing.from, at.drawing.cross] : line;
  if (ends) {
    const [a, b] = ends.map(spot);
    outlined(pen, () => { pen.moveTo(...a); pen.lineTo(...b); });
    for (const [x, y] of [a, b]) outlined(pen, () => pen.arc(x, y, 4, 0, 7));
  }
  if (at.drawing) {
    const [x, y] = spot(at.drawing.cross);
    outlined(pen, () => { pen.moveTo(x - 9, y); pen.lineTo(x + 9, y); pen.moveTo(x, y - 9); pen.lineTo(x, y + 9); });
  }
}
const shown = () => (isPlane() ? `plane ${plane() + 1} of ${data.depth}`
  : flat ? "the only plane" : `maximum projection along ${{ xy: "z", xz: "y", yz: "x" }[view()]}`);
let asked = 0;
async function draw() {
  const turn = ++asked;
  const all = await Promise.all(pictures.map((_, number) => levels(number)));
  if (turn !== asked) return;
  at.lines[view()] ??= firstLine(all[data.first]);
  for (const one of cells) {
    const p = pictures[one.number], where = place(one.canvas, all[one.number], 0.6 * innerHeight);
    overlay(paint(one.canvas, one.number, all[one.number], where), where);
    one.range.textContent = range(p).map(told).join(" to ");
    one.canvas.setAttribute("aria-label", `${p.name}: ${shown()}, black ${told(range(p)[0])}, white ${told(range(p)[1])} counts`);
  }
  const [a, b] = both(), swipe = choice("mode") === "swipe", where = place(canvas, all[a], Math.max(260, 0.82 * innerHeight));
  const split = where.width * choice("split") / 100, front = at.front ? b : a;
  const pen = swipe ? (paint(canvas, b, all[b], where, split), paint(canvas, a, all[a], where, 0, split))
    : paint(canvas, front, all[front], where);
  if (swipe) outlined(pen, () => {
    pen.moveTo(split, 0); pen.lineTo(split, where.height);
    pen.moveTo(split + 7, where.height / 2); pen.arc(split, where.height / 2, 7, 0, 7);
  });
  overlay(pen, where);
  $("tag-a").textContent = swipe ? pictures[a].name : pictures[front].name;
  $("tag-b").textContent = swipe ? pictures[b].name : "";
  const two = `${pictures[a].name} ${swipe ? "left of" : "in turn with"} ${pictures[b].name}, ${shown()}`;
  canvas.setAttribute("aria-label", two);
  const words = at.drawing ? `Line: set its ${at.drawing.from ? "second" : "first"} end by a click or Enter.`
    : `${two}. Zoom ${told(at.zoom)} ×.`;
  if ($("told").textContent !== words) $("told").textContent = words; // said aloud once
  profile(all);
  root.dataset.drawn = turn;
}
function refresh() { // reads the form: outputs, what can be used, the blinking
  const e = form.elements;
  for (const [name, text] of [["z", isPlane() ? `${plane() + 1} / ${data.depth}` : "–"], ["black", `${e.black.value} %`],
    ["white", `${e.white.value} %`], ["gamma", e.gamma.value], ["rate", `${e.rate.value} s`]])
    e[name].closest("label").querySelector("output").textContent = text;
  for (const one of e.what) one.disabled = view() !== "xy";
  e.z.disabled = !isPlane();
  $("split-row").hidden = choice("mode") !== "swipe";
  $("rate-row").hidden = choice("mode") !== "blink";
  root.classList.toggle("zoomed", at.zoom > 1 || !!at.drawing);
  root.classList.toggle("drawing", !!at.drawing);
  $("line").setAttribute("aria-pressed", String(!!at.drawing));
  clearInterval(at.timer);
  if (choice("mode") === "blink")
    at.timer = setInterval(() => { at.front = 1 - at.front; draw(); }, 1000 * choice("rate"));
  draw();
}

// ---- moving about, drawing lines -----------------------------------------------------------------------------------
function move(dx, dy) {
  const half = 0.5 / at.zoom;
  at.x = clamp(at.x + dx, half, 1 - half);
  at.y = clamp(at.y + dy, half, 1 - half);
}
function zoom(factor, u = at.x, v = at.y) {
  const before = at.zoom;
  at.zoom = clamp(at.zoom * factor, 1, 40);
  const kept = before / at.zoom;
  at.x = u + (at.x - u) * kept; at.y = v + (at.y - v) * kept;
  move(0, 0);
  refresh();
}
function whole() { Object.assign(at, { zoom: 1, x: 0.5, y: 0.5 }); refresh(); }
function setEnd(spot) {
  if (!at.drawing.from) at.drawing = { from: spot, cross: spot };
  else { at.lines[view()] = [at.drawing.from, spot]; at.drawing = null; }
  refresh();
}
function lineTool() { at.drawing = at.drawing ? null : { from: null, cross: [at.x, at.y] }; refresh(); }
async function geometry(target) { return place(target, await levels(both()[0]), target === canvas ? Math.max(260, 0.82 * innerHeight) : 0.6 * innerHeight); }
function listen(target) {
  const pointers = new Map();
  let where = null, split = false;
  const spot = (event) => [clamp((event.offsetX - where.x) / where.w, 0, 1), clamp((event.offsetY - where.y) / where.h, 0, 1)];
  target.addEventListener("pointerdown", async (event) => {
    target.setPointerCapture(event.pointerId);
    pointers.set(event.pointerId, [event.offsetX, event.offsetY]);
    where = await geometry(target);
    split = target === canvas && choice("mode") === "swipe" && !at.drawing
      && Math.abs(event.offsetX - where.width * choice("split") / 100) < 16;
    if (at.drawing && pointers.size === 1) setEnd(spot(event));
  });
  target.addEventListener("pointermove", async (event) => {
    const before = pointers.get(event.pointerId);
    where = await geometry(target);
    if (at.drawing) { at.drawing.cross = spot(event); draw(); return; }
    if (!before) return;
    const now = [event.offsetX, event.offsetY], other = [...pointers].find(([id]) => id !== event.pointerId);
    pointers.set(event.pointerId, now);
    if (split) { form.elements.split.value = 100 * event.offsetX / where.width; draw(); }
    else if (other) {
      const far = (p) => Math.hypot(p[0] - other[1][0], p[1] - other[1][1]);
      zoom(far(now) / Math.max(far(before), 1));
    } else { move((before[0] - now[0]) / where.w, (before[1] - now[1]) / where.h); draw(); }
  });
  for (const end of ["pointerup", "pointercancel"]) target.addEventListener(end, (event) => pointers.delete(event.pointerId));
  target.addEventListener("wheel", async (event) => {
    if (!event.ctrlKey && !event.metaKey) return;
    event.preventDefault();
    where = await geometry(target);
    zoom(1.0015 ** -event.deltaY, ...spot(event));
  }, { passive: false });
}
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const KEYS = {
  "+": () => zoom(1.5), "=": () => zoom(1.5), "-": () => zoom(1 / 1.5), "0": whole, l: lineTool, " ": swap,
  ",": () => turn(-1), ".": () => turn(1), Enter: () => at.drawing && setEnd(at.drawing.cross),
  Escape: () => { at.drawing = null; refresh(); },
};
function swap() {
  const e = form.elements;
  if (choice("mode") === "blink") at.front = 1 - at.front;
  else [e.a.value, e.b.value] = [e.b.value, e.a.value];
  refresh();
}
function turn(by) {
  if (flat) return;
  if (view() === "xy" && !isPlane()) form.elements.what.value = "plane";
  else if (isPlane()) form.elements.z.value = +choice("z") + by;
  refresh();
}
stage.addEventListener("keydown", async (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const arrow = ARROWS[event.key], key = KEYS[event.key.length === 1 ? event.key.toLowerCase() : event.key];
  if (!arrow && !key) return;
  event.preventDefault();
  if (key) return key();
  if (at.drawing) {
    const { width, height } = await levels(both()[0]), far = event.shiftKey ? 10 : 1, [u, v] = at.drawing.cross;
    at.drawing.cross = [clamp(u + arrow[0] * far / width, 0, 1), clamp(v + arrow[1] * far / height, 0, 1)];
  } else move(0.08 * arrow[0] / at.zoom, 0.08 * arrow[1] / at.zoom);
  draw();
});

// ---- profiles ------------------------------------------------------------------------------------------------------
function firstLine({ width, height, values }) { // through the brightest place that is not at the border
  const rim = (n) => Math.floor(n / 10);
  let top = rim(height) * width + rim(width);
  for (let y = rim(height); y < height - rim(height); y++)
    for (let x = rim(width); x < width - rim(width); x++) if (values[y * width + x] > values[top]) top = y * width + x;
  const v = (Math.floor(top / width) + 0.5) / height, u = (top % width + 0.5) / width, half = Math.min(0.12, 14 / width, 0.5);
  const middle = clamp(u, half, Math.max(1 - half, half));
  return [[middle - half, v], [Math.min(middle + half, 1), v]];
}
function along(p, { width, height, values }, [[u0, v0], [u1, v1]], n) { // bilinear, in counts
  const out = new Float64Array(n);
  for (let k = 0; k < n; k++) {
    const t = k / (n - 1);
    const x = clamp((u0 + t * (u1 - u0)) * width - 0.5, 0, width - 1), y = clamp((v0 + t * (v1 - v0)) * height - 0.5, 0, height - 1);
    const i = Math.min(Math.floor(x), Math.max(width - 2, 0)), j = Math.min(Math.floor(y), Math.max(height - 2, 0));
    const c = (a, b) => counts(p, values[Math.min(b, height - 1) * width + Math.min(a, width - 1)]);
    const above = c(i, j) + (x - i) * (c(i + 1, j) - c(i, j)), below = c(i, j + 1) + (x - i) * (c(i + 1, j + 1) - c(i, j + 1));
    out[k] = above + (y - j) * (below - above);
  }
  return out;
}
const ticks = (low, high, n) => {
  const raw = (high - low) / n, base = 10 ** Math.floor(Math.log10(raw)), step = base * [1, 2, 5, 10].find((m) => m * base >= raw);
  return Array.from({ length: Math.floor(high / step + 1e-9) - Math.ceil(low / step - 1e-9) + 1 }, (_, k) => (Math.ceil(low / step - 1e-9) + k) * step);
};
function element(name, attributes, text) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
}
function profile(all) {
  const line = at.lines[view()], [px, py] = pitch(), size = all[0];
  const far = Math.hypot((line[1][0] - line[0][0]) * size.width * px, (line[1][1] - line[0][1]) * size.height * py);
  const n = Math.round(clamp(3 * Math.hypot((line[1][0] - line[0][0]) * size.width, (line[1][1] - line[0][1]) * size.height), 2, 3000)) + 1;
  const on = [...document.querySelectorAll(".toggles input:checked")].map((box) => +box.dataset.picture), normal = $("normal").checked;
  const drawn = on.map((number) => {
    const values = along(pictures[number], all[number], line, n), top = Math.max(...values);
    return { number, values: normal && top > 0 ? values.map((v) => v / top) : values };
  });
  const high = Math.max(...drawn.map((d) => Math.max(...d.values)), 1e-9), low = Math.min(0, ...drawn.map((d) => Math.min(...d.values)));
  const W = clamp($("profile").clientWidth, 280, 1000), H = W < 500 ? 230 : 300, right = 10, top = 10, foot = 44;
  const levels = ticks(low, high, 4), left = Math.max(62, 30 + 7 * Math.max(...levels.map((v) => told(v).length)));
  const X = (d) => left + (W - left - right) * d / (far || 1), Y = (v) => H - foot - (H - top - foot) * (v - low) / (high - low);
  const names = on.map((number) => pictures[number].name).join(", ");
  const svg = element("svg", { viewBox: `0 0 ${W} ${H}`, role: "img", "aria-label": `Profile of ${names} along a line of ${length(far)}, ${shown()}` });
  const faint = { stroke: "var(--line)", "stroke-width": 1 };
  for (const v of levels) svg.append(element("path", { d: `M${left} ${Y(v)}H${W - right}`, ...faint }),
    element("text", { x: left - 8, y: Y(v) + 4, "text-anchor": "end" }, told(v)));
  for (const d of ticks(0, far || 1, W < 500 ? 4 : 8)) svg.append(element("path", { d: `M${X(d)} ${H - foot}v5`, stroke: "var(--faint)" }),
    element("text", { x: X(d), y: H - foot + 18, "text-anchor": "middle" }, told(d)));
  svg.append(element("path", { d: `M${left} ${Y(low)}H${W - right}`, stroke: "var(--faint)" }),
    element("text", { x: (left + W - right) / 2, y: H - 6, "text-anchor": "middle" }, `distance, ${data.unit}`),
    element("text", { x: 12, y: (H - foot) / 2, "text-anchor": "middle", transform: `rotate(-90 12 ${(H - foot) / 2})` }, normal ? "of the highest" : "counts"));
  for (const { number, values } of drawn) {
    const [stroke, dash] = pictures[number].line;
    const d = [...values].map((v, k) => `${k ? "L" : "M"}${X(far * k / (n - 1)).toFixed(1)} ${Y(v).toFixed(1)}`).join("");
    svg.append(element("path", { d, stroke, "stroke-dasharray": dash, fill: "none", "stroke-width": 1.8, "stroke-linejoin": "round" }));
  }
  $("profile").replaceChildren(svg);
}

// ---- the page ------------------------------------------------------------------------------------------------------
const THEMES = { auto: "◐ Auto", dark: "● Dark", light: "○ Light" };
function theme(next) {
  if (next === "auto") delete root.dataset.theme; else root.dataset.theme = next;
  $("theme").textContent = THEMES[next];
  $("theme").setAttribute("aria-label", `Colours: ${next === "auto" ? "as the system" : next}`);
  try { localStorage.setItem("microdeconv-theme", next); } catch { /* a page from disk may keep nothing */ }
}
let kept = "auto";
try { kept = localStorage.getItem("microdeconv-theme") || "auto"; } catch { /* as above */ }
theme(kept in THEMES ? kept : "auto");
$("theme").addEventListener("click", () => {
  const order = Object.keys(THEMES);
  theme(order[(order.indexOf(root.dataset.theme || "auto") + 1) % 3]);
});
document.addEventListener("input", (event) => {
  if (event.target.form === form) refresh(); else if (event.target.closest(".profile")) draw();
});
form.addEventListener("reset", () => setTimeout(() => { Object.assign(at, { lines: {}, drawing: null }); whole(); }));
form.addEventListener("submit", (event) => event.preventDefault());
for (const [id, act] of [["in", () => zoom(1.5)], ["out", () => zoom(1 / 1.5)], ["whole", whole], ["swap", swap]])
  $(id).addEventListener("click", act);
$("line").addEventListener("click", () => { lineTool(); if (at.drawing) stage.focus(); });
for (const one of cells) for (const button of one.figure.querySelectorAll("button"))
  button.addEventListener("click", () => { form.elements[button.dataset.side].value = one.number; refresh(); });
for (const target of [canvas, ...cells.map((one) => one.canvas)]) listen(target);
new ResizeObserver(() => draw()).observe(document.querySelector("main"));
root.classList.add("live");
refresh();
})();
