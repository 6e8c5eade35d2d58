// A board behind Web Serial, as a transport.

import { PageError } from "./protocol.js";

export function hasSerial() {
  return "serial" in navigator;
}

export const NO_SERIAL =
  "This browser has no Web Serial, or this page may not use it: a board needs Chrome, Edge or Opera on a computer.";

export class SerialPortTransport {
  // Lets the user choose a port and opens it; null if none was chosen.
  static async choose(baudRate) {
    let port;
    try {
      port = await navigator.serial.requestPort();
    } catch (error) {
      if (error.name === "NotFoundError") return null;
      throw new PageError(`This page may not use serial ports: ${error.message}`);
    }
    try {
      await port.open({ baudRate, bufferSize: 65536 });
    } catch (error) {
      throw new PageError(
        `The port cannot be opened (${error.message}): is another program using it, and does it know ${baudRate} baud?`,
      );
    }
    return new SerialPortTransport(port);
  }

  constructor(port) {
    this.port = port;
    this.arrived = [];
    this.waiting = null;
    this.gone = null;
    this.closing = false;
    this.lost = () => {}; // called when the board is gone
    this.writer = port.writable.getWriter();
    this.reading = this.listen();
  }

  async listen() {
    // A line error ends the stream, and the port has another one; a port that is gone has none.
    while (this.port.readable && !this.closing) {
      this.reader = this.port.readable.getReader();
      try {
        for (;;) {
          const { value, done } = await this.reader.read();
          if (done) break;
          this.arrived.push(value);
          this.waiting?.();
        }
      } catch (error) {
        if (error.name === "NetworkError") this.lose();
      } finally {
        this.reader.releaseLock();
      }
    }
    this.lose();
  }

  lose() {
    const first = !this.gone && !this.closing;
    this.gone ??= new PageError("The board is gone: it was unplugged, or its port was closed. Plug it in and connect it again.");
    this.waiting?.();
    if (first) this.lost();
  }

  now() {
    return performance.now();
  }

  async write(data) {
    if (this.gone) throw this.gone;
    try {
      await this.writer.write(data);
    } catch {
      this.lose();
      throw this.gone;
    }
  }

  async read(ms) {
    if (!this.arrived.length && !this.gone && ms > 0) {
      await new Promise((resolve) => {
        const timer = setTimeout(resolve, ms);
        this.waiting = () => {
          clearTimeout(timer);
          resolve();
        };
      });
      this.waiting = null;
    }
    if (!this.arrived.length) {
      if (this.gone) throw this.gone;
      return new Uint8Array(0);
    }
    return this.arrived.shift();
  }

  discard() {
    this.arrived = [];
  }

  async close() {
    this.closing = true;
    try {
      await this.reader?.cancel();
      await this.reading;
      this.writer.releaseLock();
      await this.port.close();
    } catch {
      // It is gone already.
    }
  }
}
