// The simulated device as a transport: its time is the device's, which runs only while somebody reads.

import { PageError } from "./protocol.js";

const SLICE = 500; // cycles between two looks at the clock
const PATIENCE_MS = 14; // of this computer, between two chances for everything else in the page

export function hasWebAssembly() {
  return typeof WebAssembly === "object";
}

export const NO_WEB_ASSEMBLY = "This browser has no WebAssembly, so the simulated device cannot run here; a board can.";

// Lets the page draw and hear its user.
export function breathe() {
  return new Promise((resolve) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => {
      port1.close();
      resolve();
    };
    port2.postMessage(0);
  });
}

export class WasmDevice {
  // `bytes`: the compiled device, as `xnorcore web` made it.
  static async start(bytes, clockHz) {
    if (!hasWebAssembly()) throw new PageError(NO_WEB_ASSEMBLY);
    if (!(clockHz > 0)) throw new PageError(`The simulated device has a clock of ${clockHz} Hz: make this page again with --clock-hz N.`);
    let started;
    try {
      started = await WebAssembly.instantiate(bytes, {}); // the device asks nothing of its surroundings
    } catch {
      throw new PageError("This browser's WebAssembly is too old for the simulated device; use a newer browser.");
    }
    return new WasmDevice(started.instance.exports, clockHz);
  }

  constructor(exports, clockHz) {
    this.x = exports;
    this.clockHz = clockHz;
    this.breathed = performance.now();
    if (!this.x.open()) throw new PageError("There is no memory for the simulated device.");
  }

  get cycles() {
    return this.x.cycles();
  }

  now() {
    return (this.cycles / this.clockHz) * 1000;
  }

  async write(data) {
    const at = this.x.place(data.length);
    if (!at) throw new PageError("There is no memory for the simulated device.");
    new Uint8Array(this.x.memory.buffer, at, data.length).set(data);
    this.x.write(data.length);
  }

  // Runs the device until a frame has come, or `ms` of its time are over.
  async read(ms) {
    const end = this.cycles + Math.ceil((ms / 1000) * this.clockHz);
    for (let left = end - this.cycles; left > 0; left = end - this.cycles) {
      const size = this.x.run(Math.min(left, SLICE));
      this.check();
      if (size) {
        const data = new Uint8Array(this.x.memory.buffer, this.x.arrived(), size).slice();
        this.x.taken();
        if (performance.now() - this.breathed > PATIENCE_MS) await this.rest();
        return data;
      }
      if (performance.now() - this.breathed > PATIENCE_MS) await this.rest();
    }
    return new Uint8Array(0);
  }

  async rest() {
    await breathe();
    this.breathed = performance.now();
  }

  check() {
    const place = this.x.failed();
    if (place) {
      const text = new Uint8Array(this.x.memory.buffer, place, 200);
      const name = String.fromCharCode(...text.subarray(0, text.indexOf(0)));
      throw new PageError(`An assertion in the gateware failed in cycle ${this.cycles}: ${name}.`);
    }
    if (!this.x.enough_memory()) throw new PageError("There is no memory for what the simulated device sends.");
  }

  discard() {}

  close() {}

  // Switches the device off and on.
  reset() {
    this.x.reset();
  }

  // Keeps a record of the next `limit` cycles; 0 ends it.
  watch(limit) {
    if (!this.x.watch(limit)) throw new PageError("There is no memory for a record of that many cycles.");
  }

  // The record: for every cycle what it counted as, the array's control word and operand, and what was written.
  record() {
    const count = this.x.recorded();
    const stride = this.x.stride();
    const operandBytes = this.x.operand_bytes();
    const bytes = new Uint8Array(this.x.memory.buffer, this.x.record(), count * stride).slice();
    return { count, stride, operandBytes, bytes, view: new DataView(bytes.buffer) };
  }
}
