// A network file of `xnorcore web`, checked before anything relies on it: its checksum, and then every entry, its type,
// its range, and its size against those of the others. Each refusal names the entry.

import { crc32 } from "./frames.js";
import { CONFIG, PageError, SPACE } from "./protocol.js";

export const FORMAT = "xnorcore page network 2";
const MOST_BYTES = 64 << 20;
const MOST_INPUTS = 65536;
const MOST_LETTERS = 10000;
const SEAL = /^,"crc32":"([0-9a-f]{8})"\}$/; // how such a file ends; the sum is of all that is in front of it
const SEAL_BYTES = 20;
const TEXT = new TextDecoder("utf-8", { fatal: true });

// Limits of what sizes rely on; other fields of a device are numbers, of which its INFO must say the same.
const LIMITS = {
  rows: [1, 8], columns: [4, 128], width: [8, 128], weight_depth: [64, 65536], threshold_depth: [16, 65536],
  act_depth: [64, 65536], program_depth: [64, 4096], store_words: [0, 2 ** 24], store_kind: [0, 5],
};
const ENTRIES = [
  "format", "name", "sizes", "device", "identifier", "cycles", "macs", "batch", "spread", "blocks", "image", "pixels",
  "no_pixels", "output", "layers", "lags", "samples",
];
const MAP = ["height", "width", "pitch", "outputs", "slices", "factor", "offset", "lanes", "word_bytes"];
const MARK = 10; // word of the program where its identifier begins

function shown(value) {
  const text = value === undefined ? "missing" : typeof value === "string" ? `“${value}”` : JSON.stringify(value);
  return text.length > 40 ? `${text.slice(0, 39)}…` : text;
}

function damaged(field, value, wanted) {
  return new PageError(`This network file is damaged: ${field} is ${shown(value)}, but must be ${wanted}.`);
}

function integer(value, field, low, high) {
  if (!Number.isInteger(value) || value < low || value > high) {
    throw damaged(field, value, low === high ? `${low}` : `an integer, ${low} to ${high}`);
  }
  return value;
}

function number(value, field) {
  if (!Number.isFinite(value)) throw damaged(field, value, "a number");
}

function text(value, field) {
  if (typeof value !== "string" || value.length > MOST_LETTERS) throw damaged(field, value, `a text of ${MOST_LETTERS} letters at most`);
}

function list(value, field, size, check) {
  if (!Array.isArray(value) || (size !== null && value.length !== size)) {
    const what = Array.isArray(value) ? `a list of ${value.length}` : value;
    throw damaged(field, what, size === null ? "a list" : `a list of ${size}`);
  }
  value.forEach((item, index) => check(item, `${field}[${index}]`));
}

function record(value, field, names) {
  if (!value || typeof value !== "object" || Array.isArray(value)) throw damaged(field, value, "a group of entries");
  const lack = names.find((name) => !Object.hasOwn(value, name));
  if (lack) throw damaged(`${field}.${lack}`, undefined, "there");
  const more = Object.keys(value).find((name) => !names.includes(name));
  if (more) throw damaged(`${field}.${shown(more)}`, value[more], "left out: this page does not know it");
}

// Bytes of a text in base64.
export function bytesOf(value, field = "its data") {
  let binary = null;
  try {
    // The browser would read over spaces, and take what has no end.
    if (typeof value === "string" && value.length % 4 === 0 && !/[^A-Za-z0-9+/=]/.test(value)) binary = atob(value);
  } catch {
    // Below.
  }
  if (binary === null) throw damaged(field, value, "bytes in base64");
  return Uint8Array.from(binary, (letter) => letter.charCodeAt(0));
}

// What a file holds, if it is one of those that `xnorcore web` writes; null if it is anything else.
export function openNetwork(bytes) {
  const head = /^\{\s*"format"\s*:\s*"(xnorcore page network [^"]{1,20})"/.exec(String.fromCharCode(...bytes.subarray(0, 80)));
  if (!head) return null;
  if (head[1] !== FORMAT) {
    throw new PageError(
      `This network file is “${head[1]}”, and this page takes “${FORMAT}”: make both with the same xnorcore (xnorcore web).`,
    );
  }
  const content = bytes.subarray(0, Math.max(bytes.length - SEAL_BYTES, 0));
  const seal = SEAL.exec(String.fromCharCode(...bytes.subarray(content.length)));
  const again = "make it again with “xnorcore web”, or copy it again";
  if (!seal) throw new PageError(`This network file is damaged: its end, with the checksum, is missing; ${again}.`);
  const found = crc32(content).toString(16).padStart(8, "0");
  if (found !== seal[1]) {
    throw new PageError(`This network file is damaged: crc32 is ${seal[1]}, but what it holds has ${found}; ${again}.`);
  }
  try {
    return JSON.parse(`${TEXT.decode(content)}}`);
  } catch {
    throw new PageError(`This network file is damaged: it is no JSON in UTF-8; ${again}.`);
  }
}

function checkDevice(device) {
  record(device, "device", CONFIG);
  for (const name of CONFIG) integer(device[name], `device.${name}`, ...(LIMITS[name] ?? [0, 65536]));
  const { columns, width } = device;
  if (columns % 4) throw damaged("device.columns", columns, "a multiple of 4");
  if (width % 8) throw damaged("device.width", width, "a multiple of 8");
  if (columns % width && width % columns) {
    throw damaged("device.columns", columns, `a multiple or a divisor of the width, ${width}`);
  }
}

// Words of a bank, banks, and bytes of a word of each memory.
function memories(device) {
  const { rows, columns, width, program_depth, threshold_depth, weight_depth, act_depth, store_words } = device;
  return {
    [SPACE.PROGRAM]: [program_depth, 1, 4],
    [SPACE.THRESHOLDS]: [threshold_depth, device.result_lanes ? 2 * columns : columns, 4],
    [SPACE.WEIGHTS]: [weight_depth, columns, width / 8],
    [SPACE.ACTIVATIONS]: [act_depth, rows, width / 8],
    [SPACE.STORE]: [Math.min(store_words, 65536), Math.ceil(store_words / 65536), 4],
  };
}

// What is written into the device's memories, with its bytes.
function unpackBlocks({ blocks, device, identifier }) {
  const there = memories(device);
  let total = 0;
  let mark = "";
  const unpacked = [];
  list(blocks, "blocks", null, (block, field) => {
    list(block, field, 4, () => {});
    const [space, bank, address, content] = block;
    integer(space, `${field}, its memory,`, 0, device.store_words ? 4 : 3);
    const [depth, banks, size] = there[space];
    integer(bank, `${field}, its bank,`, 0, banks - 1);
    integer(address, `${field}, its address,`, 0, depth - 1);
    const room = (depth - address) * size;
    const numbered = typeof content === "number"; // of zeros
    const data = numbered ? new Uint8Array(integer(content, `${field}, its bytes,`, 1, room)) : bytesOf(content, `${field}, its data,`);
    if (!data.length || data.length > room || data.length % size) {
      throw damaged(`${field}, its data,`, data.length, `whole words of ${size} bytes, ${room} bytes at most`);
    }
    total += data.length;
    if (total > MOST_BYTES) throw damaged("blocks", total, `of ${MOST_BYTES} bytes at most`);
    if (space === SPACE.PROGRAM && address <= MARK) mark += hex(data.subarray(4 * (MARK - address), 4 * (MARK - address) + 8));
    unpacked.push({ space, bank, address, data });
  });
  if (mark !== identifier) throw damaged("identifier", identifier, `that of the program, “${mark}”`);
  return unpacked;
}

const hex = (bytes) => [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");

function checkImage(image) {
  record(image, "image", ["shape", "bits", "bytes", "wire_bytes", "fit"]);
  list(image.shape, "image.shape", 3, (size, field) => integer(size, field, 1, MOST_INPUTS));
  integer(image.bits, "image.bits", 1, 8);
  const count = image.shape.reduce((product, size) => product * size, 1);
  if (count > MOST_INPUTS) throw damaged("image.shape", image.shape, `of ${MOST_INPUTS} values at most`);
  const bytes = image.bits === 1 ? Math.ceil(count / 8) : count;
  integer(image.bytes, "image.bytes", bytes, bytes);
  number(image.wire_bytes, "image.wire_bytes");
  if (image.wire_bytes < bytes) throw damaged("image.wire_bytes", image.wire_bytes, `${bytes} at least`);
  if (!["digits", "mnist", "none"].includes(image.fit)) throw damaged("image.fit", image.fit, "digits, mnist or none");
  return count;
}

function checkPixels({ pixels, no_pixels, image }) {
  text(no_pixels, "no_pixels");
  if ((pixels === null) !== (no_pixels !== "")) {
    throw damaged("no_pixels", no_pixels, "the reason why there is no pixels, or empty");
  }
  if (pixels !== null) list(pixels, "pixels", 256, (value, field) => integer(value, field, 0, 2 ** image.bits - 1));
}

// A description of bits or sums in memory; returns the bytes of it that are sent.
function checkMap(map, field, { columns, width }, more = []) {
  record(map, field, [...MAP, ...more]);
  for (const name of ["height", "width", "pitch", "outputs"]) integer(map[name], `${field}.${name}`, 1, 65536);
  integer(map.slices, `${field}.slices`, 0, 32);
  integer(map.factor, `${field}.factor`, -(2 ** 31), 2 ** 31);
  const { pitch, outputs, slices, lanes } = map;
  list(map.offset, `${field}.offset`, slices ? outputs : 0, (value, at) => integer(value, at, -(2 ** 47), 2 ** 47));
  if (lanes !== null) {
    list(lanes, `${field}.lanes`, outputs, (lane, at) => integer(lane, at, 0, pitch * width - 1));
    if (new Set(lanes).size < outputs) throw damaged(`${field}.lanes`, lanes, "all different");
    if (slices) throw damaged(`${field}.lanes`, lanes, "none for sums");
  }
  const tiles = Math.ceil(outputs / columns);
  const words = slices ? tiles * slices * Math.max(1, columns / width) : lanes ? pitch : Math.ceil(outputs / width);
  if (slices ? pitch !== words : pitch < words) throw damaged(`${field}.pitch`, pitch, `${words}${slices ? "" : " at least"}`);
  const last = lanes ? Math.max(...lanes.map((lane) => lane % width)) : Math.min(width, slices ? columns : width, outputs) - 1;
  integer(map.word_bytes, `${field}.word_bytes`, (last >> 3) + 1, (last >> 3) + 1);
  const positions = map.height * map.width;
  const sent = slices || positions > 1 ? positions * pitch : Math.floor((lanes ? Math.max(...lanes) : outputs - 1) / width) + 1;
  return sent * map.word_bytes;
}

function checkOutput(output, device) {
  record(output, "output", ["kind", "classes", "scale", "offset", "bytes", "values"]);
  const bytes = checkMap(output.values, "output.values", device);
  const { outputs, height, width, slices } = output.values;
  const kind = slices ? "scores" : "bits";
  if (output.kind !== kind) throw damaged("output.kind", output.kind, kind);
  list(output.classes, "output.classes", null, text);
  const most = outputs * height * width;
  integer(output.classes.length, "the number of output.classes", 1, most);
  for (const name of ["scale", "offset"]) {
    if (output[name] !== null) list(output[name], `output.${name}`, most, number);
  }
  integer(output.bytes, "output.bytes", bytes, bytes);
}

function checkLayers({ layers, device }) {
  let words = 0;
  list(layers, "layers", null, (layer, field) => {
    record(layer, field, ["name", "beats", "weight_words", "macs", "bits"]);
    text(layer.name, `${field}.name`);
    integer(layer.beats, `${field}.beats`, 0, 2 ** 40);
    integer(layer.macs, `${field}.macs`, 0, 2 ** 50);
    words += integer(layer.weight_words, `${field}.weight_words`, 0, Math.max(device.weight_depth, device.store_words));
    if (layer.bits === null) return;
    checkMap(layer.bits, `${field}.bits`, device, ["bases"]);
    const { bases, slices, height, width, pitch } = layer.bits;
    integer(slices, `${field}.bits.slices`, 0, 0);
    list(bases, `${field}.bits.bases`, null, (base, at) => integer(base, at, 0, device.act_depth - height * width * pitch));
    integer(bases.length, `the number of ${field}.bits.bases`, 1, 2);
  });
  integer(layers.length, "the number of layers", 1, 4096);
  integer(words, "the sum of their weight_words", 1, Math.max(device.weight_depth, device.store_words));
}

function unpackSamples({ samples, image, output }, count) {
  record(samples, "samples", ["images", "labels"]);
  const images = bytesOf(samples.images, "samples.images");
  list(samples.labels, "samples.labels", images.length / image.bytes, (label, field) =>
    integer(label, field, 0, output.classes.length - 1));
  const most = 2 ** image.bits - 1;
  const spare = (8 - (count % 8)) % 8;
  images.forEach((value, index) => {
    const bad = image.bits > 1 ? value > most : spare && (index + 1) % image.bytes === 0 && value >> (8 - spare);
    if (bad) throw damaged(`samples.images, byte ${index},`, value, `one of inputs of ${image.bits} bits`);
  });
  return { images, labels: samples.labels };
}

// Checks what a file holds, and unpacks it.
export function parseNetwork(content) {
  if (content?.format !== FORMAT) throw damaged("format", content?.format, `“${FORMAT}”`);
  record(content, "the file", ENTRIES);
  text(content.name, "name");
  text(content.sizes, "sizes");
  checkDevice(content.device);
  const { device } = content;
  text(content.identifier, "identifier");
  if (!/^[0-9a-f]{16}$/.test(content.identifier)) throw damaged("identifier", content.identifier, "16 hexadecimal digits");
  integer(content.cycles, "cycles", 1, 2 ** 40);
  integer(content.macs, "macs", 1, 2 ** 50);
  integer(content.spread, "spread", 0, 1);
  const batch = content.spread ? 1 : device.rows;
  integer(content.batch, "batch", batch, batch);
  const count = checkImage(content.image);
  checkPixels(content);
  checkOutput(content.output, device);
  checkLayers(content);
  record(content.lags, "lags", ["control", "operand", "written"]);
  for (const [name, value] of Object.entries(content.lags)) integer(value, `lags.${name}`, 0, 64);
  return { ...content, count, blocks: unpackBlocks(content), samples: unpackSamples(content, count) };
}
