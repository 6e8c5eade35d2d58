// What tests of the page's modules share.

import { readFileSync } from "node:fs";

export const bytes = (path) => new Uint8Array(readFileSync(path));
export const samples = ({ samples: { images }, image }, count) =>
  Array.from({ length: count }, (_, index) => images.subarray(index * image.bytes, (index + 1) * image.bytes));

// A wire that loses and damages what a seed says, in front of another transport.
export class BadWire {
  constructor(transport, seed, { lose = 0, flip = 0, late = 0 }) {
    Object.assign(this, { transport, state: seed, lose, flip, late, kept: [], harmed: 0 });
  }

  random() {
    this.state = (Math.imul(this.state, 1664525) + 1013904223) >>> 0;
    return this.state / 2 ** 32;
  }

  harm(data) {
    const out = [];
    for (const byte of data) {
      const draw = this.random();
      if (draw < this.lose + this.flip) this.harmed += 1;
      if (draw < this.lose) continue;
      out.push(draw < this.lose + this.flip ? byte ^ (1 << Math.floor(this.random() * 8)) : byte);
    }
    return Uint8Array.from(out);
  }

  now() {
    return this.transport.now();
  }

  async write(data) {
    await this.transport.write(this.harm(data));
  }

  // A read now and then gives nothing, and its bytes come with the next one.
  async read(ms) {
    const data = this.harm(await this.transport.read(ms));
    const all = [...this.kept, ...data];
    this.kept = this.random() < this.late ? all : [];
    return Uint8Array.from(this.kept.length ? [] : all);
  }

  discard() {
    this.transport.discard();
  }

  close() {}
}
