// The pictures of the machine: the array, the cycles by cause, the activations of every layer; step, slow motion, run.

import { CAUSES, LayerMemory, Trace, WORDS } from "./trace.js";

const MOST_MAPS = 64; // channels of a map that are shown
const element = (id) => document.getElementById(id);

function colours() {
  const style = getComputedStyle(document.documentElement);
  return Object.fromEntries(
    [...CAUSES, "accent", "off", "paper", "trace", "line", "ink", "card", "soft"].map((name) => [name, style.getPropertyValue(`--${name}`).trim()]),
  );
}

const rgb = (context, colour) => {
  context.fillStyle = colour;
  const text = context.fillStyle;
  return [1, 3, 5].map((at) => parseInt(text.slice(at, at + 2), 16));
};

export class Machine {
  constructor() {
    this.trace = null;
    this.at = 0;
    this.timer = null;
    this.layers = [];
    const go = (id, to) => element(id).addEventListener("click", () => { this.stop(); this.go(to()); });
    go("first", () => 0);
    go("back", () => this.at - 1);
    go("forward", () => this.at + 1);
    go("last", () => this.end);
    element("play").addEventListener("click", () => (this.timer === null ? this.run() : this.stop()));
    element("seek").addEventListener("input", () => { this.stop(); this.go(Number(element("seek").value)); });
    element("timeline").addEventListener("pointerdown", (event) => this.point(event));
    element("timeline").addEventListener("pointermove", (event) => event.buttons & 1 && this.point(event));
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.paint(true));
    new ResizeObserver(() => this.paint(true)).observe(element("timeline"));
  }

  get end() {
    return this.trace ? this.trace.length - 1 : 0;
  }

  // Shows a network's layers, before there is an image.
  begin(network) {
    this.stop();
    this.network = network;
    this.trace = null;
    const { rows, columns, width } = network.device;
    element("machine-about").textContent =
      `${rows} × ${columns} processing elements of ${width} bits: ${(rows * columns * width).toLocaleString("en")} products per cycle`;
    this.layers = network.layers.map((layer) => {
      const item = document.createElement("li");
      const canvas = document.createElement("canvas");
      canvas.setAttribute("role", "img");
      const text = document.createElement("span");
      if (layer.bits) item.append(canvas);
      item.append(text);
      return { layer, item, canvas, text };
    });
    element("layers").replaceChildren(...this.layers.map(({ item }) => item));
    this.layers.forEach(({ layer, text }) => { text.textContent = `${layer.name}${layer.bits ? "" : ": the scores"}`; });
  }

  // Takes the record of an image; the view stands at its last beat.
  show(record) {
    const running = this.timer !== null;
    this.trace = new Trace(this.network, record);
    const seek = element("seek");
    seek.max = this.end;
    this.legend();
    this.reset();
    this.at = -1;
    this.go(running ? 0 : Math.max(0, this.trace.causes.lastIndexOf("busy")), true);
  }

  reset() {
    this.memories = this.network.layers.map((layer) => layer.bits && new LayerMemory(this.network, layer.bits));
    this.applied = 0;
  }

  legend() {
    const counts = this.trace.counts();
    const items = CAUSES.filter((name) => counts[name]).map((name) => {
      const item = document.createElement("li");
      const swatch = document.createElement("span");
      swatch.className = "swatch";
      swatch.style.background = `var(--${name})`;
      item.append(swatch, `${name.replace("_", " ")} ${counts[name].toLocaleString("en")}`);
      item.title = WORDS[name];
      return item;
    });
    element("legend").replaceChildren(...items);
  }

  go(to, again = false) {
    if (!this.trace) return;
    const at = Math.min(this.end, Math.max(0, to));
    if (at === this.at && !again) return;
    if (at < this.at) this.reset();
    this.at = at;
    const { writes } = this.trace;
    for (; this.applied < writes.length && (writes[this.applied].index <= at || at === this.end); this.applied++) {
      const write = writes[this.applied];
      this.memories[write.layer]?.write(this.trace, write);
    }
    this.paint(again);
  }

  point(event) {
    this.stop();
    const box = element("timeline").getBoundingClientRect();
    this.go(Math.floor(((event.clientX - box.left) / box.width) * this.trace?.length));
  }

  run() {
    if (!this.trace) return;
    if (this.at === this.end) this.go(0);
    let before = performance.now();
    let due = 0;
    const step = (now) => {
      due += ((now - before) / 1000) * Number(element("speed").value);
      before = now;
      const whole = Math.floor(due);
      due -= whole;
      if (whole) this.go(this.at + whole);
      if (this.at === this.end) this.stop();
      else this.timer = requestAnimationFrame(step);
    };
    this.timer = requestAnimationFrame(step);
    element("play").textContent = "⏸ Pause";
  }

  stop() {
    if (this.timer !== null) cancelAnimationFrame(this.timer);
    this.timer = null;
    element("play").textContent = "▶ Run";
  }

  paint(all = false) {
    if (!this.trace) return;
    const theme = colours();
    const { trace, at } = this;
    const cause = trace.causes[at];
    const layer = trace.layerOf[at];
    const name = this.network.layers[layer]?.name;
    element("seek").value = at;
    const text = `Cycle ${at + 1} of ${trace.length}: ${WORDS[cause]}${name && cause !== "wait_input" ? `, ${name}` : ""}`;
    element("cycle").textContent = text;
    element("seek").setAttribute("aria-valuetext", text);
    this.paintTimeline(theme, all);
    this.paintArray(theme, cause);
    this.paintLayers(theme, layer, all);
  }

  paintTimeline(theme, all) {
    const canvas = element("timeline");
    const { trace } = this;
    const scale = devicePixelRatio || 1;
    const [width, height] = [Math.round(canvas.clientWidth * scale), Math.round(canvas.clientHeight * scale)];
    if (!width) return;
    if (all || !this.strip || this.strip.width !== width) {
      this.strip = Object.assign(document.createElement("canvas"), { width, height });
      const context = this.strip.getContext("2d");
      // A column of points stands for some cycles: each cause has its share of the height.
      for (let x = 0; x < width; x++) {
        const from = Math.floor((x * trace.length) / width);
        const to = Math.max(from + 1, Math.floor(((x + 1) * trace.length) / width));
        let y = height;
        for (const name of CAUSES) {
          let count = 0;
          for (let index = from; index < to; index++) count += trace.causes[index] === name;
          const size = (count / (to - from)) * height;
          context.fillStyle = theme[name];
          context.fillRect(x, y - size, 1, size);
          y -= size;
        }
      }
    }
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    const context = canvas.getContext("2d");
    context.clearRect(0, 0, width, height);
    context.drawImage(this.strip, 0, 0);
    const x = ((this.at + 0.5) / trace.length) * width;
    context.fillStyle = theme.card;
    context.fillRect(x - 3 * scale, 0, 6 * scale, height);
    context.fillStyle = theme.ink;
    context.fillRect(x - 1.5 * scale, 0, 3 * scale, height);
  }

  paintArray(theme, cause) {
    const canvas = element("array");
    const { rows, columns, width } = this.network.device;
    const cell = Math.max(3, Math.floor(880 / (columns + 2)));
    const gap = cell > 5 ? 1 : 0;
    const high = Math.max(2, Math.min(cell, Math.floor(880 / (rows * (width + 1)))));
    const [w, h] = [(columns + 2) * cell, rows * (width + 1) * high];
    if (canvas.width !== w || canvas.height !== h) Object.assign(canvas, { width: w, height: h });
    const context = canvas.getContext("2d");
    context.fillStyle = theme.card;
    context.fillRect(0, 0, w, h);
    const beat = this.trace.beat(this.at);
    let agree = 0;
    for (let row = 0; row < rows; row++) {
      for (let lane = 0; lane < width; lane++) {
        const y = (row * (width + 1) + lane) * high;
        const x = beat?.operand(row, lane);
        context.fillStyle = beat ? (x ? theme.ink : theme.off) : theme.off;
        context.fillRect(0, y, cell - gap, high - gap);
        for (let column = 0; column < columns; column++) {
          const one = beat && x === beat.weight(column, lane);
          agree += one ? 1 : 0;
          context.globalAlpha = beat || cause === "wait_input" ? 1 : 0.28;
          context.fillStyle = beat ? (one ? theme.busy : theme.off) : cause === "wait_input" ? theme.off : theme[cause];
          context.fillRect((column + 2) * cell, y, cell - gap, high - gap);
        }
        context.globalAlpha = 1;
      }
    }
    const size = rows * columns * width;
    const text = beat
      ? `Weight words at ${beat.address} meet the activation word on the left: ${agree.toLocaleString("en")} of ` +
        `${size.toLocaleString("en")} products are +1 (bright), the others −1.`
      : cause === "drain"
        ? "The accumulators are shifted out, sign by sign."
        : cause === "busy" ? "A tap of padding: nothing is added." : `Nothing is multiplied: ${WORDS[cause]}.`;
    canvas.setAttribute("aria-label", `The array, ${rows} × ${columns} elements of ${width} bits`);
    element("array-caption").textContent = text;
  }

  paintLayers(theme, now, all) {
    this.layers.forEach(({ layer, item, canvas, text }, index) => {
      item.classList.toggle("now", index === now && this.trace.causes[this.at] !== "wait_input");
      const map = layer.bits;
      const memory = this.memories[index];
      if (!map || (!all && memory.drawn === memory.words.size && index !== now && memory.words.size)) return;
      memory.drawn = memory.words.size;
      paintMap(canvas, memory, map, theme);
      const size = map.height * map.width;
      const shape = size > 1 ? `${map.height} × ${map.width} × ${map.outputs}` : `${map.outputs}`;
      text.textContent = `${layer.name}, ${shape} bits${size > 1 && map.outputs > MOST_MAPS ? ` (${MOST_MAPS} maps shown)` : ""}`;
      canvas.setAttribute("aria-label", `Bits of ${layer.name}`);
    });
  }
}

// One point for each bit: channels of a vector in a square, those of a map one small picture each.
function paintMap(canvas, memory, map, theme) {
  const [height, width] = [map.height, map.width];
  const single = height * width === 1;
  const count = single ? map.outputs : Math.min(map.outputs, MOST_MAPS);
  const across = Math.ceil(Math.sqrt(count * (single ? 2 : 1)));
  const down = Math.ceil(count / across);
  const gap = single ? 0 : 1;
  const [w, h] = [across * (width + gap) - gap, down * (height + gap) - gap];
  if (canvas.width !== w || canvas.height !== h) Object.assign(canvas, { width: w, height: h });
  canvas.style.width = `${Math.min(w * Math.max(1, Math.floor(240 / w)), 320)}px`;
  const context = canvas.getContext("2d");
  const [on, off] = [rgb(context, theme.accent), rgb(context, theme.off)];
  const image = context.createImageData(w, h);
  const base = memory.base();
  for (let channel = 0; channel < count; channel++) {
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) {
        const value = memory.value(base, y, x, channel);
        if (value < 0) continue;
        const at = 4 * ((Math.floor(channel / across) * (height + gap) + y) * w + (channel % across) * (width + gap) + x);
        image.data.set(value ? on : off, at);
        image.data[at + 3] = 255;
      }
    }
  }
  context.putImageData(image, 0, 0);
}
