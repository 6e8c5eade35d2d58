// A network of the page: its images packed, its results read, a class chosen.

import { PageError } from "./protocol.js";

// Says what is wrong with a file that is no network for this page. `head` is its first bytes.
export function complaint(name, head) {
  const size = head.length >= 8 ? new DataView(head.buffer, head.byteOffset).getUint32(0, true) : 0;
  if (size > 1 && head[8] === 0x7b && !head[4] && !head[5]) {
    const word = /^[\w.+-]+$/.test(name) ? name : `'${name.replaceAll("'", "'\\''")}'`;
    return `${name} is a network that is not compiled for a device yet, which a browser cannot do: ` +
      `run “xnorcore web ${word}” for a page with it, or drop the .page.json file that it writes.`;
  }
  return `${name} is neither a picture nor a network of this page (“xnorcore web” writes those, as .page.json).`;
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
