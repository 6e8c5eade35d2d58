// Numbers, lists and scores as people see them.

import { shownScores } from "./network.js";

export const element = (id) => document.getElementById(id);
export const show = (value) => value.toLocaleString("en", { maximumFractionDigits: 1 }).replace("-", "−");

// Fills a list of terms and what they are.
export function list(id, pairs) {
  element(id).replaceChildren(...pairs.flatMap(([name, value]) => {
    const [term, text] = [document.createElement("dt"), document.createElement("dd")];
    term.textContent = name;
    text.textContent = value;
    return [term, text];
  }));
}

function bar() {
  const item = document.createElement("li");
  const [name, track, value] = ["name", "track", "value"].map((kind) => Object.assign(document.createElement("span"), { className: kind }));
  const [fill, zero] = ["fill", "zero"].map((kind) => Object.assign(document.createElement("span"), { className: kind }));
  track.append(fill, zero);
  track.setAttribute("aria-hidden", "true");
  item.append(name, track, value);
  return item;
}

// Shows the class that was found, and a bar for each score.
export function showAnswer(network, results, found) {
  const { classes, kind } = network.output;
  const scores = kind === "bits" ? results.slice(0, classes.length) : shownScores(network, results);
  element("answer").textContent = classes[found];
  element("answer").classList.toggle("long", classes[found].length > 3);
  const others = scores.filter((_, index) => index !== found);
  element("margin").textContent = others.length && kind === "scores"
    ? `score ${show(scores[found])}, the next has ${show(Math.max(...others))}` : "";
  const low = Math.min(0, ...scores);
  const span = Math.max(1e-9, Math.max(0, ...scores) - low);
  const bars = element("bars");
  bars.classList.toggle("named", classes.some((name) => name.length > 3));
  if (bars.children.length !== classes.length) bars.replaceChildren(...classes.map(bar));
  classes.forEach((name, index) => {
    const item = bars.children[index];
    const [label, track, value] = item.children;
    const [from, to] = [Math.min(0, scores[index]), Math.max(0, scores[index])];
    item.classList.toggle("best", index === found);
    label.textContent = name;
    label.title = name;
    track.firstChild.style.left = `${((from - low) / span) * 100}%`;
    track.firstChild.style.width = `${((to - from) / span) * 100}%`;
    track.lastChild.style.left = `${(-low / span) * 100}%`;
    value.textContent = show(scores[index]);
  });
}

// Shows the values that a network sees as a small picture.
export function showInputs(network, values) {
  const [height, width, channels] = network.image.shape;
  const canvas = element("seen");
  Object.assign(canvas, { width, height });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  const image = context.createImageData(width, height);
  const most = network.pixels ? Math.max(1, ...network.pixels) : 2 ** network.image.bits - 1;
  for (let at = 0; at < height * width; at++) {
    for (let part = 0; part < 3; part++) {
      image.data[4 * at + part] = (255 * values[at * channels + (channels >= 3 ? part : 0)]) / most;
    }
    image.data[4 * at + 3] = 255;
  }
  context.putImageData(image, 0, 0);
}
