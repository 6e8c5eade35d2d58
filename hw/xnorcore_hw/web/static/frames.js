// Requests and responses as bytes on the wire, and a byte stream cut into frames (docs/protocol.md, section 2).

const RESPONSE = 0x80;
const MAX_RESPONSE = 1 << 20;

const TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let value = byte;
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? 0xedb88320 ^ (value >>> 1) : value >>> 1;
  return value >>> 0;
});

export function crc32(bytes) {
  let crc = 0xffffffff;
  for (const byte of bytes) crc = TABLE[(crc ^ byte) & 255] ^ (crc >>> 8);
  return (crc ^ 0xffffffff) >>> 0;
}

// Plain COBS, towards the device: each block begins with its code.
export function encodePlain(body) {
  const out = [];
  let start = 0;
  for (let end = 0; end <= body.length; end++) {
    if (end < body.length && body[end]) continue;
    let run = body.subarray(start, end);
    for (; run.length > 254; run = run.subarray(254)) out.push(255, ...run.subarray(0, 254));
    out.push(run.length + 1, ...run);
    if (run.length === 254 && end < body.length) out.push(1); // the zero that a full block does not imply
    start = end + 1;
  }
  return Uint8Array.from(out);
}

// Reverse COBS, towards the host: each block ends with its code. Returns null for a bad frame.
export function decodeReverse(data) {
  if (!data.length || data[data.length - 1] === 255 || data.includes(0)) return null;
  const blocks = [];
  for (let end = data.length; end > 0;) {
    const code = data[end - 1];
    const start = end - code;
    if (start < 0) return null;
    if (blocks.length && code !== 255) blocks.push(Uint8Array.of(0));
    blocks.push(data.subarray(start, end - 1));
    end = start;
  }
  return join(blocks.reverse());
}

export function join(parts) {
  const whole = new Uint8Array(parts.reduce((size, part) => size + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

const u32 = (value) => Uint8Array.of(value, value >>> 8, value >>> 16, value >>> 24);

// One request as it goes to the device, delimiter included.
export function encodeRequest(command, tag, payload) {
  const body = join([Uint8Array.of(command, tag & 255, tag >> 8), payload]);
  return join([encodePlain(join([body, u32(crc32(body))])), Uint8Array.of(0)]);
}

// {command, tag, payload, status} of a response without delimiter, or null if it is damaged or none.
export function decodeResponse(frame) {
  const body = decodeReverse(frame);
  if (!body || body.length < 8) return null;
  const content = body.subarray(0, -4);
  const sum = body.subarray(-4);
  if (!u32(crc32(content)).every((byte, index) => byte === sum[index])) return null;
  if (!(content[0] & RESPONSE)) return null;
  return {
    command: content[0] & ~RESPONSE,
    tag: content[1] | (content[2] << 8),
    payload: content.slice(3, -1),
    status: content[content.length - 1],
  };
}

// Cuts received bytes at the delimiters, in bounded memory.
export class Splitter {
  constructor(limit = MAX_RESPONSE) {
    this.limit = limit;
    this.clear();
  }

  clear() {
    this.parts = [];
    this.pending = 0;
  }

  // Returns the frames that are complete now, without delimiters; empty and endless ones are left out.
  feed(data) {
    const frames = [];
    let start = 0;
    for (let at = data.indexOf(0); at >= 0; at = data.indexOf(0, start)) {
      this.keep(data.subarray(start, at));
      if (this.pending && this.pending <= this.limit) frames.push(join(this.parts));
      this.clear();
      start = at + 1;
    }
    this.keep(data.slice(start));
    return frames;
  }

  keep(part) {
    if (!part.length) return;
    this.pending = Math.min(this.pending + part.length, this.limit + 1);
    if (this.pending > this.limit) this.parts = [];
    else this.parts.push(part);
  }
}
