// A network as `xnorcore web` writes it: checked, its images packed, its results read, a class chosen.

import { PageError } from "./protocol.js";

export const FORMAT = "xnorcore page network 1";
const MOST_BYTES = 64 << 20;

export function bytesOf(text) {
  const binary = atob(text);
  return Uint8Array.from(binary, (letter) => letter.charCodeAt(0));
}

const isInt = (value, low, high) => Number.isInteger(value) && value >= low && value <= high;
const isText = (value) => typeof value === "string" && value.length <= 400;
const isList = (value, size, test) => Array.isArray(value) && (size < 0 || value.length === size) && value.every(test);

function need(condition, what) {
  if (!condition) throw new PageError(`This network file is damaged: ${what}.`);
}

// Says what is wrong with a file that is no network for this page. `head` is its first bytes.
export function complaint(name, head) {
  const size = head.length >= 8 ? new DataView(head.buffer, head.byteOffset).getUint32(0, true) : 0;
  if (size > 1 && head[8] === 0x7b && !head[4] && !head[5]) {
    return `${name} is a network that is not compiled for a device yet, which a browser cannot do: ` +
      `run “xnorcore web ${name}” for a page with it, or drop the .page.json file that it writes.`;
  }
  return `${name} is neither a picture nor a network of this page (“xnorcore web” writes those, as .page.json).`;
}

function values(map, width) {
  need(map && typeof map === "object", "no description of results");
  for (const name of ["height", "width", "pitch", "outputs", "word_bytes"]) need(isInt(map[name], 1, 1 << 20), name);
  need(isInt(map.slices, 0, 32), "slices");
  need(map.lanes === null || isList(map.lanes, map.outputs, (lane) => isInt(lane, 0, map.pitch * width - 1)), "lanes");
  if (map.slices) {
    need(Number.isInteger(map.factor), "factor");
    need(isList(map.offset, map.outputs, Number.isInteger), "offset");
  }
}

// Checks what a file holds, as far as this page relies on it, and unpacks its memories.
export function parseNetwork(content) {
  need(content && typeof content === "object" && content.format === FORMAT, `it is not “${FORMAT}”`);
  const { device, image, output, samples } = content;
  need(isText(content.name) && isText(content.sizes), "its name");
  need(device && Object.values(device).every((value) => isInt(value, 0, 1 << 20)), "its device");
  need(isInt(device.width, 8, 128) && isInt(device.columns, 4, 128) && isInt(device.rows, 1, 8), "its array");
  need(/^[0-9a-f]{16}$/.test(content.identifier), "its identifier");
  need(isInt(content.cycles, 1, 2 ** 40) && isInt(content.batch, 1, 8), "its cycles");
  need(isList(image?.shape, 3, (value) => isInt(value, 1, 65536)), "the shape of its images");
  const count = image.shape.reduce((product, value) => product * value, 1);
  need(isInt(image.bits, 1, 8) && count <= 65536, "its images");
  need(image.bytes === (image.bits === 1 ? Math.ceil(count / 8) : count), "the bytes of its images");
  need(Number.isFinite(image.wire_bytes) && image.wire_bytes > 0, "what its images take on the wire");
  need(content.pixels === null || isList(content.pixels, 256, (v) => isInt(v, 0, 2 ** image.bits - 1)), "its pixels");
  need(isList(output?.classes, -1, isText) && output.classes.length, "its classes");
  for (const name of ["scale", "offset"]) {
    need(output[name] === null || isList(output[name], output.values?.outputs, Number.isFinite), `its ${name}`);
  }
  values(output.values, device.width);
  need(output.classes.length <= output.values.outputs * output.values.height * output.values.width, "its classes");
  need(isInt(output.bytes, 1, 1 << 20), "the bytes of its results");
  need(isList(content.layers, -1, (layer) => layer && isText(layer.name) && isInt(layer.weight_words, 0, 65536)), "its layers");
  for (const { bits } of content.layers) {
    if (bits === null) continue;
    values(bits, device.width);
    need(isList(bits.bases, -1, (base) => isInt(base, 0, 65536)), "its layers");
  }
  need(isList(content.blocks, -1, (block) => isList(block.slice(0, 3), 3, (value) => isInt(value, 0, 65535))), "its memories");
  let total = 0;
  const blocks = content.blocks.map(([space, bank, address, data]) => {
    total += typeof data === "number" ? data : (data.length * 3) / 4;
    need(total <= MOST_BYTES, "its memories are too large");
    return { space, bank, address, data: typeof data === "number" ? new Uint8Array(data) : bytesOf(data) };
  });
  const pictures = bytesOf(samples.images);
  need(isList(samples.labels, Math.floor(pictures.length / image.bytes), Number.isInteger), "its samples");
  return { ...content, count, blocks, samples: { images: pictures, labels: samples.labels } };
}

// The bytes on the wire of an image of input values.
export function packImage(network, inputs) {
  if (network.image.bits > 1) return Uint8Array.from(inputs);
  const packed = new Uint8Array(network.image.bytes);
  inputs.forEach((value, index) => { packed[index >> 3] |= value << (index & 7); });
  return packed;
}

// The input values of an image on the wire.
export function unpackImage(network, packed) {
  if (network.image.bits > 1) return Uint8Array.from(packed);
  return Uint8Array.from({ length: network.count }, (_, index) => (packed[index >> 3] >> (index & 7)) & 1);
}

// Scores, or bits, of an image's result bytes (Values.decode of the driver).
export function decodeResult(network, raw) {
  const { values: map, bytes } = network.output;
  if (raw.length !== bytes) throw new PageError(`The device sent ${raw.length} result bytes, not ${bytes}.`);
  const bit = (index) => (raw[index >> 3] >> (index & 7)) & 1;
  const size = 8 * map.word_bytes;
  const positions = map.height * map.width;
  const { columns, width } = network.device;
  const results = [];
  if (!map.slices) {
    const perPosition = (8 * raw.length) / positions;
    for (let position = 0; position < positions; position++) {
      for (let channel = 0; channel < map.outputs; channel++) {
        const lane = map.lanes ? map.lanes[channel] : channel;
        const place = map.lanes ? Math.floor(lane / width) * size + (lane % width) : lane;
        results.push(bit(position * perPosition + place));
      }
    }
    return results;
  }
  const wordsPerTile = Math.max(1, columns / width);
  const tiles = Math.ceil(map.outputs / columns);
  const perWord = Math.min(columns, width);
  for (let position = 0; position < positions; position++) {
    for (let channel = 0; channel < map.outputs; channel++) {
      const tile = Math.floor(channel / columns);
      const word = Math.floor((channel % columns) / perWord);
      let sum = 0;
      for (let slice = 0; slice < map.slices; slice++) {
        const place = ((position * tiles + tile) * map.slices + slice) * wordsPerTile + word;
        const on = bit(place * size + (channel % perWord)) ^ 1;
        const weight = 2 ** (map.slices - 1 - slice);
        sum += slice ? on * weight : -on * weight;
      }
      results.push(sum * map.factor + map.offset[channel]);
    }
  }
  return results;
}

// A double as an integer over 2^1074.
function exact(value) {
  const view = new DataView(new ArrayBuffer(8));
  view.setFloat64(0, value);
  const high = view.getUint32(0);
  const exponent = (high >>> 20) & 2047;
  let mantissa = (BigInt(high & 0xfffff) << 32n) | BigInt(view.getUint32(4));
  if (exponent) mantissa |= 1n << 52n;
  mantissa <<= BigInt(Math.max(exponent, 1) - 1);
  return high >>> 31 ? -mantissa : mantissa;
}

// The class, exactly: docs/numerics.md, section 5.
export function classify(network, results) {
  const { kind, classes, scale, offset } = network.output;
  const used = results.slice(0, classes.length);
  if (kind === "bits") return Math.max(0, used.lastIndexOf(1));
  const one = exact(1);
  const rational = used.map((score, index) =>
    BigInt(score) * (scale ? exact(scale[index]) : one) + (offset ? exact(offset[index]) : 0n));
  let best = 0;
  rational.forEach((value, index) => { if (value > rational[best]) best = index; });
  return best;
}

// Scores as people see them: with the affine, rounded.
export function shownScores(network, results) {
  const { classes, scale, offset } = network.output;
  return results.slice(0, classes.length).map((score, index) =>
    score * (scale ? scale[index] : 1) + (offset ? offset[index] : 0));
}
