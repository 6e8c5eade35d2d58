// What the driver does with a device: loads a network, runs images, reads counters.

import { join } from "./frames.js";
import {
  COMMAND, COUNTERS, END, KEY_BYTES, PageError, SPACE, STATUS, STORE_COUNTERS, parseInfo,
} from "./protocol.js";
import { Session } from "./session.js";

const MARK = 10; // word of the program header where the identifier begins
const SLOW_HZ = 1e6;

const hexBytes = (text) => Uint8Array.from(text.match(/../g), (pair) => parseInt(pair, 16));

// The names of what differs between a device and the one that a network is compiled for.
export function differences(config, wanted) {
  return Object.keys(wanted).filter((name) => config[name] !== wanted[name]);
}

export class Accelerator {
  constructor(transport, { timeout } = {}) {
    this.session = new Session(transport, timeout ? { timeout } : {});
    this.network = null;
  }

  async open() {
    this.info = await this.session.synchronise();
    return this.info;
  }

  wordBytes(space) {
    const words = space === SPACE.WEIGHTS || space === SPACE.ACTIVATIONS;
    return words ? this.info.config.width / 8 : 4;
  }

  writes({ space, bank, address, data }) {
    const size = this.wordBytes(space);
    const step = Math.floor((this.session.maxPayload - 4) / size) * size;
    const requests = [];
    for (let start = 0; start < data.length; start += step) {
      const at = address + start / size;
      const head = Uint8Array.of(space, bank, at & 255, at >> 8);
      requests.push({ command: COMMAND.WRITE, payload: join([head, data.subarray(start, start + step)]) });
    }
    return requests;
  }

  // Writes a network's memories, unless they are there already; returns whether anything was written.
  async load(network, progress = () => {}) {
    const { session } = this;
    this.network = null;
    this.info = parseInfo(await session.call(COMMAND.INFO));
    const other = differences(this.info.config, network.device);
    if (other.length) {
      const { rows, columns, width } = this.info.config;
      throw new PageError(
        `${network.name} is compiled for another device than this one of ${rows}x${columns}x${width} ` +
        `(${other.join(", ")} differ): make a page for it with “xnorcore web --board BOARD”, or with --rows, ` +
        "--columns, --width and --set.",
      );
    }
    if (this.info.armed && this.info.network === network.identifier) {
      this.network = network;
      return false;
    }
    const identifier = hexBytes(network.identifier);
    // The mark first: a device that forgets everything in between will not have it at the end.
    await session.stream(this.writes({ space: SPACE.PROGRAM, bank: 0, address: 0, data: join([new Uint8Array(4 * MARK), identifier]) }));
    const requests = network.blocks.flatMap((block) => this.unmarked(block)).flatMap((block) => this.writes(block));
    await session.stream(requests, session.timeout, progress);
    const mark = await session.call(COMMAND.READ, Uint8Array.of(SPACE.PROGRAM, 0, MARK, 0, 2, 0));
    if (!mark.every((byte, index) => byte === identifier[index]) || mark.length !== identifier.length) {
      throw new PageError("The device lost its memories while it was loaded (a reset?): load the network again.");
    }
    await session.call(COMMAND.ARM);
    this.info = parseInfo(await session.call(COMMAND.INFO));
    if (this.info.network !== network.identifier) throw new PageError("The device does not hold what was loaded.");
    this.network = network;
    return true;
  }

  // A block without the words of the mark.
  unmarked(block) {
    const end = block.address + block.data.length / 4;
    if (block.space !== SPACE.PROGRAM || block.address > MARK + 1 || end <= MARK) return [block];
    const [before, after] = [4 * (MARK - block.address), 4 * (MARK + 2 - block.address)];
    return [
      { ...block, data: block.data.subarray(0, Math.max(before, 0)) },
      { ...block, address: MARK + 2, data: block.data.subarray(after) },
    ].filter(({ data }) => data.length);
  }

  // Runs images, one after the other as bytes on the wire; returns each one's result bytes.
  async infer(images, progress = () => {}) {
    const network = this.network;
    if (!network) throw new PageError("No network is loaded.");
    const perRequest = Math.floor((this.session.maxPayload - 1 - KEY_BYTES) / network.image.bytes);
    const step = Math.max(Math.floor(perRequest / network.batch) * network.batch, network.batch);
    const requests = [];
    const whose = []; // images that each request's group completes, at its last part
    for (let first = 0; first < images.length; first += step) {
      const some = images.slice(first, first + step);
      const parts = this.parts(join(some));
      parts.forEach((payload, index) => {
        requests.push({ command: COMMAND.INFER, payload });
        whose.push(index === parts.length - 1 ? some.length : 0);
      });
    }
    const answers = await this.askForImages(requests, images.length, progress);
    const results = [];
    let group = [];
    answers.forEach((answer, index) => {
      group.push(answer);
      if (!whose[index]) return;
      const data = join(group);
      const size = network.output.bytes;
      if (data.length !== whose[index] * size) {
        throw new PageError(`${whose[index]} images gave ${data.length} result bytes, not ${whose[index] * size}.`);
      }
      for (let at = 0; at < data.length; at += size) results.push(data.slice(at, at + size));
      group = [];
    });
    return results;
  }

  parts(data) {
    const key = hexBytes(this.network.identifier).subarray(0, KEY_BYTES);
    const room = this.session.maxPayload - 1;
    const parts = [];
    for (let at = 0; at < data.length;) {
      const number = parts.length;
      const size = number ? room : room - KEY_BYTES;
      const end = at + size >= data.length ? END : 0;
      const head = number ? Uint8Array.of(number | end) : join([Uint8Array.of(end), key]);
      parts.push(join([head, data.subarray(at, at + size)]));
      at += size;
    }
    return parts;
  }

  async askForImages(requests, count, progress) {
    const { session, network, info } = this;
    const waiting = info.config.fifo_bytes / network.image.bytes + 2 * info.config.rows;
    const each = (2 * (network.cycles + 100 * network.layers.length) * 1000) / (info.clockHz || SLOW_HZ);
    try {
      return await session.stream(requests, session.timeout + Math.min(waiting, count + 2) * each, progress);
    } catch (error) {
      if ([STATUS.NOT_ARMED, STATUS.WRONG_PROGRAM].includes(error.status)) this.network = null;
      throw error;
    }
  }

  // The counters by name, or null if the device has none.
  async counters() {
    if (!this.info.config.counters) return null;
    const payload = await this.session.call(COMMAND.COUNTERS, Uint8Array.of(0));
    const view = new DataView(payload.buffer, payload.byteOffset, payload.length);
    const names = this.info.config.store_words ? [...COUNTERS, ...STORE_COUNTERS] : COUNTERS;
    if (payload.length !== 4 * names.length) throw new PageError(`COUNTERS gave ${payload.length} bytes.`);
    return Object.fromEntries(names.map((name, index) => [name, view.getUint32(4 * index, true)]));
  }

  async clearCounters() {
    if (this.info.config.counters) await this.session.call(COMMAND.COUNTERS, Uint8Array.of(1));
  }

  close() {
    return this.session.close();
  }
}
