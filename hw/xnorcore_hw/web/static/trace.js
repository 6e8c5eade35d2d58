// The record of one image, read: what every cycle was spent on, what the array met, what was written when.

import { SPACE } from "./protocol.js";

// In the order of the record's bits (STALLS of the sequencer).
export const CAUSES = ["busy", "drain", "fetch", "hazard", "port", "wait_output", "tail", "wait_input"];
export const WORDS = {
  busy: "the array multiplies",
  drain: "scores are shifted out",
  fetch: "a layer's descriptor is read",
  hazard: "waits for the layer before",
  port: "waits for the memory",
  wait_output: "waits until results are sent",
  tail: "the last results are on their way",
  wait_input: "no image is there",
};
const AROUND = 8; // cycles shown before the first and behind the last

export class Trace {
  // `record` is WasmDevice.record's, of one image; `causes` the names of its bits.
  constructor(network, record, causes = CAUSES) {
    this.network = network;
    this.view = record.view;
    this.bytes = record.bytes;
    this.stride = record.stride;
    this.operandBytes = record.operandBytes;
    const cause = (cycle) => causes[31 - Math.clz32(this.flags(cycle) & 255)] ?? "wait_input";
    let [first, last] = [record.count, 0];
    for (let cycle = 0; cycle < record.count; cycle++) {
      if (cause(cycle) === "wait_input") continue;
      first = Math.min(first, cycle);
      last = cycle;
    }
    this.first = Math.max(0, Math.min(first, record.count - 1) - AROUND);
    this.end = Math.min(record.count, last + AROUND);
    this.total = record.count;
    this.causes = [];
    for (let cycle = this.first; cycle < this.end; cycle++) this.causes.push(cause(cycle));
    this.layerOf = this.layers();
    this.writes = this.written();
    this.weights = new Map();
    for (const { space, bank, address, data } of network.blocks) {
      if (space === SPACE.WEIGHTS) this.weights.set(bank, { address, data });
    }
  }

  // Cycles that are shown.
  get length() {
    return this.causes.length;
  }

  flags(cycle) {
    return this.view.getUint32(cycle * this.stride, true);
  }

  counts() {
    const counts = Object.fromEntries(CAUSES.map((name) => [name, 0]));
    for (const name of this.causes) counts[name] += 1;
    return counts;
  }

  // The layer of every cycle: its weight words tell it; what comes before a beat belongs to it, scores to the last.
  layers() {
    const ends = [];
    this.network.layers.reduce((sum, layer) => (ends.push(sum + layer.weight_words), sum + layer.weight_words), 0);
    const { control } = this.network.lags;
    const found = new Array(this.length).fill(-1);
    let next = -1;
    for (let index = this.length - 1; index >= 0; index--) {
      const at = this.first + index + control;
      if (this.causes[index] === "busy" && at < this.total) {
        const address = this.view.getUint16(at * this.stride + 4, true);
        const layer = ends.findIndex((end) => address < end);
        // A tap of padding multiplies nothing, and its address may be anybody's.
        if ((this.flags(at) >> 8) & 1 || next < 0) next = layer;
      }
      const after = ["drain", "tail", "wait_output"].includes(this.causes[index]);
      found[index] = after ? -2 : next;
    }
    let before = -1;
    return found.map((layer) => {
      if (layer === -2) return before;
      before = layer < 0 ? before : layer;
      return layer < 0 ? before : layer;
    });
  }

  // What is written into row 0's activation memory, in order: {index, layer, address, bits, mask, clear}.
  written() {
    const { written } = this.network.lags;
    const writes = [];
    for (let cycle = this.first; cycle < this.total; cycle++) {
      const flags = this.flags(cycle);
      if (!((flags >> 12) & 1)) continue;
      let issued = Math.min(cycle - written - this.first, this.length - 1);
      while (issued > 0 && !["busy", "drain"].includes(this.causes[issued])) issued -= 1;
      if (issued < 0) continue;
      const at = cycle * this.stride;
      writes.push({
        index: cycle - this.first,
        layer: this.layerOf[issued],
        address: this.view.getUint16(at + 6, true),
        mask: [this.view.getUint32(at + 8, true), this.view.getUint32(at + 12, true)],
        clear: (flags >> 13) & 1,
        bits: at + 16 + this.operandBytes,
      });
    }
    return writes;
  }

  // The beat of a shown cycle at the array: {operand(row, lane), weight(column, lane)}, or null if it multiplies nothing.
  beat(index) {
    const { control, operand } = this.network.lags;
    const at = this.first + index;
    if (this.causes[index] !== "busy" || at + operand >= this.total) return null;
    if (!((this.flags(at + control) >> 8) & 1)) return null;
    const address = this.view.getUint16((at + control) * this.stride + 4, true);
    const { width } = this.network.device;
    const start = (at + operand) * this.stride + 16;
    const bit = (data, place) => (data[place >> 3] >> (place & 7)) & 1;
    return {
      address,
      operand: (row, lane) => bit(this.bytes, 8 * start + row * width + lane),
      weight: (column, lane) => {
        const bank = this.weights.get(column);
        const word = bank ? address - bank.address : -1;
        return word < 0 || (word + 1) * width > 8 * bank.data.length ? 0 : bit(bank.data, word * width + lane);
      },
    };
  }
}

// A layer's words of activation memory, as they are written.
export class LayerMemory {
  constructor(network, map) {
    Object.assign(this, { network, map, words: new Map() });
  }

  write(trace, { address, mask, clear, bits }) {
    const { columns, width } = this.network.device;
    const chunk = Math.min(columns, width);
    const lane = columns % 8 ? 4 : 8;
    const word = this.words.get(address) ?? new Int8Array(width).fill(-1);
    for (let place = 0; place < width; place++) {
      const part = Math.floor(place / lane);
      if (!((mask[part >> 5] >>> (part & 31)) & 1)) continue;
      const from = 8 * bits + (place % chunk);
      word[place] = clear && place >= chunk ? -1 : (trace.bytes[from >> 3] >> (from & 7)) & 1;
    }
    this.words.set(address, word);
  }

  // 1, 0, or -1 for what is not written yet; `base` is where the map begins.
  value(base, y, x, channel) {
    const { map, network } = this;
    const lane = map.lanes ? map.lanes[channel] : channel;
    const address = base + (y * map.width + x) * map.pitch + Math.floor(lane / network.device.width);
    return this.words.get(address)?.[lane % network.device.width] ?? -1;
  }

  // Of the places that the map may have, the one that was written.
  base() {
    const { bases, height, width, pitch } = this.map;
    const size = height * width * pitch;
    return bases.find((base) => [...this.words.keys()].some((at) => at >= base && at < base + size)) ?? bases[0];
  }
}
