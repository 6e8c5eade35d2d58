// The page: joins drawing, devices, networks and pictures.

import { Accelerator, differences } from "./accelerator.js";
import { Pad, pixelsOfPicture, pixelsOfStrokes } from "./drawing.js";
import { Machine } from "./machine.js";
import { bytesOf, openNetwork, parseNetwork } from "./check.js";
import { classify, complaint, decodeResult, packImage, unpackImage } from "./network.js";
import { PageError } from "./protocol.js";
import { element, list, show, showAnswer, showInputs } from "./results.js";
import { NO_SERIAL, SerialPortTransport, hasSerial } from "./serial.js";
import { WasmDevice, hasWebAssembly } from "./wasm.js";

const RECORD = 60000; // cycles of an image that are recorded
const MOST_FILE = 64 << 20;
const NOTHING =
  "This browser has neither WebAssembly nor Web Serial, so this page has no device to run in it: open it in a current " +
  "Firefox, Chrome, Edge or Safari.";

class App {
  constructor() {
    this.about = JSON.parse(element("about").textContent);
    this.networks = this.about.networks.map(parseNetwork);
    this.network = this.networks[0];
    this.machine = new Machine();
    this.pad = new Pad(element("pad"), () => this.drawn(), (text) => { element("truth").textContent = text; });
    this.sample = -1;
    this.work = Promise.resolve();
    this.simulated = this.board = null;
    this.unfinished = null; // where a progress stands that has not come to its end
    element("device-name").textContent = "starting";
    element("version").textContent = this.about.version;
    element("made").textContent = this.about.made;
    this.listen();
    this.listNetworks();
  }

  get device() {
    return this.board ?? this.simulated;
  }

  // One thing after the other; what goes wrong is a sentence in the page. A board that is gone is let go, and nothing
  // stays of what did not come to its end.
  then(what) {
    this.work = this.work.then(what).catch(async (error) => {
      if (this.board?.session.transport.gone) await this.disconnect();
      fail(error);
    }).finally(() => {
      if (this.unfinished) this.say(this.unfinished, "");
    });
    return this.work;
  }

  progress(id, text) {
    element(id).textContent = text;
    this.unfinished = id;
  }

  say(id, text) {
    element(id).textContent = text;
    if (this.unfinished === id) this.unfinished = null;
  }

  settle() {
    element("alert").hidden = true;
  }

  async start() {
    try {
      if (!hasSerial() && !hasWebAssembly()) throw new PageError(NOTHING);
      if (!hasSerial()) element("serial-note").textContent = NO_SERIAL;
      const transport = await WasmDevice.start(bytesOf(this.about.wasm), this.about.clockHz);
      const simulated = new Accelerator(transport, { timeout: 100 });
      await simulated.open();
      this.simulated = simulated;
    } finally {
      this.named();
    }
    await this.choose(this.network);
  }

  // Says which device there is.
  named() {
    element("device-pill").classList.toggle("ready", Boolean(this.device));
    element("simulated").setAttribute("aria-pressed", String(Boolean(this.device) && !this.board));
    element("board").setAttribute("aria-pressed", String(Boolean(this.board)));
    if (!this.device) {
      element("device-name").textContent = "no device";
      list("facts", []);
      return;
    }
    const { info } = this.device;
    const { rows, columns, width } = info.config;
    const kind = this.board ? "Board" : "Simulated device";
    element("device-name").textContent = `${kind}, ${rows} × ${columns} × ${width}`;
    const facts = [
      ["array", `${rows} × ${columns} elements of ${width} bits`],
      ["weights", `${show(info.config.weight_depth)} words in each column`],
      ["activations", `${show(info.config.act_depth)} words in each row`],
      ["clock", info.clockHz ? `${show(info.clockHz / 1e6)} MHz` : "the device does not say it (0 Hz): rates are for the clock that is given here"],
      ["build", info.build],
    ];
    list("facts", facts);
    if (info.clockHz) element("clock").value = info.clockHz / 1e6;
    this.rates();
  }

  listNetworks() {
    const options = this.networks.map((network, index) => {
      const option = document.createElement("option");
      option.value = index;
      option.textContent = `${network.name} (${network.sizes})`;
      return option;
    });
    element("network").replaceChildren(...options);
    element("network").value = this.networks.indexOf(this.network);
  }

  // Loads a network into the device, and runs something on it at once.
  async choose(network) {
    this.network = network;
    this.say("all-result", "");
    element("network").value = this.networks.indexOf(network);
    element("all").disabled = element("sample").disabled = !network.samples.labels.length;
    element("draw-title").textContent = network.image.fit === "none" ? "Draw, or drop a picture" : "Draw a digit";
    this.machine.begin(network);
    await this.ready();
    if (this.pad.strokes.length) await this.runStrokes();
    else if (network.samples.labels.length) await this.runSample(0);
    else await this.runInputs(new Uint8Array(network.count));
  }

  // Loads the network wherever it is not: it is another one, or the device has lost it.
  async ready() {
    const { network, board, simulated } = this;
    if (!this.device) throw new PageError("There is no device that could run this: the simulated one did not start.");
    const progress = (done, total) => this.progress("cost", `loading ${network.name}: ${Math.floor((100 * done) / total)} %`);
    for (const device of [board, simulated]) {
      if (!device || device.network === network) continue;
      // Beside a board, the simulated device is for the pictures, and may be another one.
      if (device === simulated && board && differences(device.info.config, network.device).length) continue;
      await device.load(network, progress);
    }
  }

  drawn() {
    element("pad-hint").hidden = true;
    this.sample = -1;
    // While one drawing is at work, only the newest of the others waits.
    if (this.wanted) return;
    this.wanted = true;
    this.then(async () => {
      this.wanted = false;
      if (this.pad.empty) this.cleared();
      else await this.runStrokes();
    });
  }

  cleared() {
    element("answer").textContent = "…";
    element("margin").textContent = element("truth").textContent = "";
    element("pad-hint").hidden = false;
  }

  async runStrokes() {
    element("truth").textContent = "";
    await this.runPixels(pixelsOfStrokes(this.pad.strokes, this.network.image));
  }

  async runPixels(pixels) {
    const { network } = this;
    if (!network.pixels) throw new PageError(`${network.name} takes no drawings: ${network.no_pixels}. Its samples still run.`);
    const [height, width, channels] = network.image.shape;
    const values = new Uint8Array(height * width * channels);
    pixels.forEach((pixel, index) => values.fill(network.pixels[pixel], index * channels, (index + 1) * channels));
    await this.runInputs(values);
  }

  async runSample(index) {
    const { network, pad } = this;
    const { bytes, shape: [height, width, channels] } = network.image;
    const values = unpackImage(network, network.samples.images.subarray(index * bytes, (index + 1) * bytes));
    this.sample = index;
    element("pad-hint").hidden = true;
    const most = Math.max(1, ...values);
    pad.show(Array.from({ length: height * width }, (_, at) => values[at * channels] / most), height, width);
    await this.runInputs(values);
    const label = network.output.classes[network.samples.labels[index]];
    const right = network.samples.labels[index] === this.found;
    element("truth").textContent = `sample ${index + 1}: is ${label}, ${right ? "right" : "wrong"}`;
  }

  // Runs one image of input values, and shows all that there is to see.
  async runInputs(values) {
    const { network, simulated } = this;
    showInputs(network, values);
    await this.ready();
    const image = packImage(network, values);
    const started = performance.now();
    let result = null;
    if (simulated?.network === network) {
      const { transport } = simulated.session;
      transport.watch(RECORD);
      [result] = await simulated.infer([image]);
      const record = transport.record();
      transport.watch(0);
      this.machine.show(record);
    }
    const mine = performance.now() - started;
    let agrees = "";
    if (this.board) {
      const simulation = result;
      [result] = await this.board.infer([image]);
      agrees = simulation && (String(simulation) === String(result) ? "; the simulation says the same" : "; the simulation says something else");
    }
    this.settle();
    this.results = decodeResult(network, result);
    this.found = classify(network, this.results);
    showAnswer(network, this.results, this.found);
    const { trace } = this.machine;
    const cycles = trace ? trace.causes.filter((cause) => cause !== "wait_input").length : 0;
    this.cycles = cycles;
    const where = this.board ? "the board" : "this page";
    const took = this.board ? performance.now() - started - mine : mine;
    this.say("cost", `${cycles ? `${show(cycles)} cycles of the array; ` : ""}${show(took)} ms of ${where}${agrees}`);
    this.rates();
  }

  rates() {
    const clock = Number(element("clock").value) * 1e6;
    const baud = Number(element("baud").value);
    if (!this.cycles) return list("rates", []);
    const { network } = this;
    const work = network.macs / (this.cycles * network.device.rows * network.device.columns * network.device.width);
    const each = clock > 0 ? `${show(clock / this.cycles)} at ${show(clock / 1e6)} MHz, one after the other` : "need a clock of more than 0 MHz";
    const wire = baud > 0 ? `${show(baud / 10 / network.image.wire_bytes)} images/s at ${show(baud)} baud` : "needs a baud rate of more than 0";
    return list("rates", [
      ["cycles of this image", show(this.cycles)],
      ["images per second", each],
      ["what the UART carries", wire],
      ["useful work", `${show(100 * work)} % of the array's products`],
    ]);
  }

  async runAll() {
    await this.ready();
    const { network, device } = this;
    const { bytes } = network.image;
    const count = network.samples.labels.length;
    const images = Array.from({ length: count }, (_, index) => network.samples.images.subarray(index * bytes, (index + 1) * bytes));
    await device.clearCounters();
    const started = performance.now();
    const results = await device.infer(images, (done, total) => this.progress("all-result", `${Math.floor((100 * done) / total)} %`));
    const seconds = (performance.now() - started) / 1000;
    this.all = results.map((raw) => decodeResult(network, raw));
    const right = this.all.filter((scores, index) => classify(network, scores) === network.samples.labels[index]).length;
    const counters = await device.counters();
    const causes = counters ? ["busy", "drain", "fetch", "hazard", "port", "tail"].map((name) => `${name} ${show(counters[name] / count)}`).join(", ") : "not counted by this device";
    this.say("all-result", `${right} of ${count} right (${show((100 * right) / count)} %), ${show(count / seconds)} images per second ` +
      `here. Cycles per image: ${causes}.`);
  }

  async connect() {
    if (!hasSerial()) throw new PageError(NO_SERIAL);
    const baud = Number(element("baud").value);
    if (!(baud >= 300 && baud <= 20e6)) throw new PageError(`${show(baud)} is no baud rate: give the board's, 300 to 20,000,000.`);
    const transport = await SerialPortTransport.choose(baud);
    if (!transport) return;
    const board = new Accelerator(transport);
    // Whatever is at work then fails by itself; an idle page would not know.
    transport.lost = () => this.then(() => {
      if (this.board === board) throw transport.gone;
    });
    try {
      await this.disconnect();
      await board.open();
      await board.load(this.network, (done, total) => this.progress("cost", `loading the board: ${Math.floor((100 * done) / total)} %`));
    } catch (error) {
      await board.close();
      throw error;
    }
    this.board = board;
    this.named();
    if (this.simulated) await this.again();
    else await this.choose(this.network);
  }

  async disconnect() {
    const { board } = this;
    this.board = null;
    if (board) {
      await board.close();
      // They were the board's.
      for (const id of ["cost", "all-result"]) this.say(id, "");
    }
    this.named();
  }

  // Runs what is on the drawing area once more.
  async again() {
    if (this.sample >= 0) await this.runSample(this.sample);
    else if (!this.pad.empty) await this.runStrokes();
  }

  async take(file) {
    if (file.size > MOST_FILE) throw new PageError(`${file.name} has ${show(file.size)} bytes, which is too much for this page.`);
    if (file.type.startsWith("image/")) {
      let bitmap;
      try {
        bitmap = await createImageBitmap(file);
      } catch {
        throw new PageError(`${file.name} is no picture that this browser can read.`);
      }
      const pixels = pixelsOfPicture(bitmap, this.network.image);
      const [height, width] = this.network.image.shape;
      this.pad.show(pixels.map((pixel) => pixel / 255), height, width);
      this.sample = -1;
      element("pad-hint").hidden = true;
      element("truth").textContent = "";
      await this.runPixels(pixels);
      return;
    }
    let bytes;
    try {
      bytes = new Uint8Array(await file.arrayBuffer());
    } catch {
      throw new PageError(`${file.name} cannot be read: it is a folder, or was moved.`);
    }
    const content = openNetwork(bytes);
    if (!content) throw new PageError(complaint(file.name, bytes.subarray(0, 16)));
    const network = parseNetwork(content);
    const [before, networks] = [this.network, this.networks];
    const other = ({ name, identifier }) => name !== network.name || identifier !== network.identifier;
    this.networks = [...networks.filter(other), network];
    this.listNetworks();
    try {
      await this.choose(network);
    } catch (error) {
      this.networks = networks;
      this.network = before;
      this.listNetworks();
      await this.choose(before);
      throw error;
    }
  }

  listen() {
    const click = (id, what) => element(id).addEventListener("click", () => {
      this.settle();
      this.then(what);
    });
    element("clear").addEventListener("click", () => this.pad.clear());
    click("sample", () => this.runSample((this.sample + 1) % this.network.samples.labels.length));
    click("all", () => this.runAll());
    click("board", () => this.connect());
    click("simulated", () => this.disconnect().then(() => this.again()));
    element("open").addEventListener("click", () => element("file").click());
    element("file").addEventListener("change", () => {
      const [file] = element("file").files;
      element("file").value = "";
      if (file) this.then(() => this.take(file));
    });
    element("network").addEventListener("change", () => {
      this.settle();
      this.then(() => this.choose(this.networks[Number(element("network").value)]));
    });
    for (const id of ["clock", "baud"]) element(id).addEventListener("input", () => this.rates());
    addEventListener("dragover", (event) => {
      event.preventDefault();
      document.body.classList.add("dropping");
    });
    addEventListener("dragleave", (event) => event.relatedTarget || document.body.classList.remove("dropping"));
    addEventListener("drop", (event) => {
      event.preventDefault();
      document.body.classList.remove("dropping");
      const [file] = event.dataTransfer.files;
      if (file) this.then(() => this.take(file));
    });
  }
}

// Shows in words what went wrong.
function fail(error) {
  const known = error instanceof PageError;
  if (!known) console.error(error);
  element("alert").textContent = known ? error.message : `This page has a fault: ${error.message}`;
  element("alert").hidden = false;
}

try {
  const app = new App();
  app.then(() => app.start());
} catch (error) {
  fail(error);
}
