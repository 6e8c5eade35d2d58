// Requests over a transport that may lose, damage or delay any of them (docs/protocol.md, section 3).
//
// A transport has write(bytes), read(ms): bytes or none when that time is over, now(): ms, discard(), close().

import { Splitter, decodeResponse, encodeRequest, join } from "./frames.js";
import { COMMAND, END, PageError, STATUS, commandName, parseInfo, refusal } from "./protocol.js";

const FIRST_WINDOW = 512;
const LONGEST = 512; // longer frames pay little on a good wire, and cost much on a bad one
const AROUND = 7; // type, tag, checksum
const MOST = 10; // times the time-out without an answer, while bytes come

// Requests that are sent again together: the parts of an INFER group, or one request of another kind.
class Group {
  constructor() {
    this.requests = [];
    this.failures = 0;
    this.error = null;
    this.restart();
  }

  restart() {
    this.attempt = { sent: 0, confirmed: 0 };
  }

  get done() {
    return this.requests.every((request) => request.answer !== null);
  }
}

export class Session {
  constructor(transport, { timeout = 1000, retries = 5, tag = Math.floor(Math.random() * 65536) } = {}) {
    this.transport = transport;
    this.timeout = timeout;
    this.retries = retries;
    this.window = FIRST_WINDOW;
    this.maxFrame = FIRST_WINDOW / 2 - 4;
    this.stats = { sent: 0, resent: 0, damaged: 0, stale: 0, received: 0 };
    this.tag = tag;
    this.flying = new Map(); // by tag, in the order of the wire
    this.size = 0;
    this.last = null;
    this.splitter = new Splitter();
  }

  // Bytes of a request's payload that the device takes.
  get maxPayload() {
    return this.maxFrame - AROUND;
  }

  // Finds the device, whatever state the wire is in; returns what it says about itself.
  async synchronise() {
    this.window = FIRST_WINDOW;
    await this.transport.write(new Uint8Array(4)); // ends whatever frame the device believes to be in
    this.transport.discard();
    this.ground();
    const info = parseInfo(await this.call(COMMAND.INFO));
    this.window = info.config.fifo_bytes;
    this.maxFrame = Math.min(info.config.fifo_bytes / 2 - 4, LONGEST);
    return info;
  }

  async call(command, payload = new Uint8Array(0), timeout = this.timeout) {
    return (await this.stream([{ command, payload }], timeout))[0];
  }

  // Sends requests that do not depend on each other, several in flight; returns their answers in order.
  async stream(requests, timeout = this.timeout, progress = () => {}) {
    const groups = this.grouped(requests);
    const { transport } = this;
    await this.fill(groups);
    let heard = transport.now();
    let until = heard + timeout;
    for (;;) {
      const open = groups.filter((group) => !group.done);
      progress(groups.length - open.length, groups.length);
      if (!open.length) break;
      const data = await transport.read(Math.max(0, until - transport.now()));
      const now = transport.now();
      if (data.length && this.take(data)) {
        heard = now;
        until = now + timeout;
      } else if (data.length && this.splitter.pending) {
        until = Math.max(until, Math.min(now + timeout, heard + MOST * timeout));
      }
      if (now >= until) {
        await this.probe(open[0]);
        until = now + timeout;
      }
      for (const group of groups) {
        if (!group.done && group.failures > this.retries) throw group.error ?? this.silence(group);
      }
      await this.fill(groups);
    }
    return groups.flatMap((group) => group.requests).map((request) => {
      if (request.answer instanceof PageError) throw request.answer;
      return request.answer;
    });
  }

  grouped(requests) {
    const groups = [];
    for (const { command, payload } of requests) {
      if (payload.length > this.maxPayload) {
        throw new PageError(`A request of ${payload.length} bytes exceeds the ${this.maxPayload} that fit.`);
      }
      if (command !== COMMAND.INFER || !(payload[0] & ~END)) groups.push(new Group());
      groups[groups.length - 1].requests.push({ command, payload, answer: null, sends: 0 });
    }
    return groups;
  }

  // Fills the window.
  async fill(groups) {
    const frames = [];
    for (;;) {
      const group = groups.find((one) => !one.done && one.attempt.sent < one.requests.length);
      if (!group) break;
      const request = group.requests[group.attempt.sent];
      const body = AROUND + request.payload.length;
      const size = body + Math.floor(body / 254) + 2;
      if (this.size && this.size + size > this.window) break;
      frames.push(this.transmit(group));
    }
    if (frames.length) await this.transport.write(join(frames));
  }

  transmit(group) {
    const last = this.last;
    if (last && last !== group && !last.done && last.attempt.sent && last.attempt.sent < last.requests.length) {
      last.restart(); // its parts would no longer be back to back
    }
    this.last = group;
    do this.tag = (this.tag + 1) & 0xffff; while (this.flying.has(this.tag));
    const position = group.attempt.sent++;
    const request = group.requests[position];
    const frame = encodeRequest(request.command, this.tag, request.payload);
    this.flying.set(this.tag, { group, attempt: group.attempt, position, size: frame.length });
    this.size += frame.length;
    this.stats.sent += 1;
    this.stats.resent += request.sends > 0;
    request.sends += 1;
    return frame;
  }

  // Nothing came: sends the oldest unanswered request again, to see what was lost.
  async probe(group) {
    this.splitter.clear();
    group.failures += 1;
    if (group.failures > this.retries) return;
    group.restart();
    await this.transport.write(join([Uint8Array.of(0), this.transmit(group)]));
  }

  // Takes received bytes; returns whether an answer to a frame in flight was among them.
  take(data) {
    let answered = false;
    for (const frame of this.splitter.feed(data)) {
      const response = decodeResponse(frame);
      if (!response) this.stats.damaged += 1;
      else answered = this.dispatch(response) || answered;
    }
    return answered;
  }

  dispatch({ command, tag, payload, status }) {
    const flying = this.flying.get(tag);
    if (!flying || flying.group.requests[flying.position].command !== command) {
      this.stats.stale += 1;
      return false;
    }
    this.stats.received += 1;
    // Answers come in the order of the wire: what went out before this one is lost.
    for (const [earlier, lost] of this.flying) {
      this.flying.delete(earlier);
      this.size -= lost.size;
      if (lost === flying) break;
      this.lose(lost);
    }
    this.answer(flying, payload, status);
    return true;
  }

  lose({ group, attempt }) {
    if (attempt !== group.attempt || group.done) return;
    group.failures += 1;
    group.restart();
  }

  answer(flying, payload, status) {
    const { group, attempt, position } = flying;
    if (attempt.confirmed !== position) return; // a part before it is not proved
    const request = group.requests[position];
    if (status === STATUS.OK) {
      attempt.confirmed += 1;
      if (request.answer === null) {
        request.answer = payload;
        group.failures = 0;
      }
      return;
    }
    const error = refusal(request.command, status);
    if (status === STATUS.SEQUENCE && position) {
      group.error = error;
      this.lose(flying);
      return;
    }
    for (const later of group.requests) later.answer ??= error;
  }

  // Expects no more answers to what has been sent.
  ground() {
    this.flying.clear();
    this.size = 0;
    this.last = null;
    this.splitter.clear();
  }

  silence(group) {
    const command = commandName(group.requests[0].command);
    const heard = this.stats.received + this.stats.stale || !this.stats.damaged;
    this.ground();
    return new PageError(
      heard
        ? `No answer to ${command} in ${group.failures} tries: check the cable, the baud rate, and that the ` +
          "bitstream is loaded."
        : "Bytes come, but no valid answer: this is another device, or the baud rate is wrong.",
    );
  }

  close() {
    return this.transport.close();
  }
}
