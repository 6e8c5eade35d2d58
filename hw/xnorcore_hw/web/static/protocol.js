// Numbers of the link protocol, version 5, and what a device says about itself (docs/protocol.md, section 4).

export const VERSION = 5;
export const COMMAND = {
  INFO: 1, WRITE: 2, READ: 3, ARM: 4, INFER: 5, RUN: 6, COUNTERS: 7, RESET: 8,
};
export const SPACE = { PROGRAM: 0, THRESHOLDS: 1, WEIGHTS: 2, ACTIVATIONS: 3, STORE: 4, CHIP: 5, KEPT: 6 };
export const END = 0x80;
export const KEY_BYTES = 4;
export const STATUS = {
  OK: 0, BAD_COMMAND: 1, BAD_LENGTH: 2, BAD_ADDRESS: 3, NOT_ARMED: 4, SEQUENCE: 5, BAD_PROGRAM: 6, WRONG_PROGRAM: 7,
};
export const COUNTERS = [
  "active", "busy", "drain", "fetch", "hazard", "port", "wait_output", "tail", "wait_input", "images",
  "batches", "frames_good", "frames_bad",
];
export const STORE_COUNTERS = ["wait_weights"]; // behind them, on a device with a store

const INFO_BYTES = 56;
const HINTS = {
  BAD_COMMAND: "this device does not know the command",
  BAD_LENGTH: "the request has a length that the command does not take",
  BAD_ADDRESS: "the request names a place outside the device's memories",
  NOT_ARMED: "the device holds no network; it has been reset or lost power",
  SEQUENCE: "the parts of an image came out of order",
  BAD_PROGRAM: "the device holds no valid program; load the network again",
  WRONG_PROGRAM: "the device holds another network; load the network again",
};

// Everything that goes wrong and has a sentence for people. `status` is that of a device's refusal.
export class PageError extends Error {
  constructor(message, status = 0) {
    super(message);
    this.name = "PageError";
    this.status = status;
  }
}

export function commandName(command) {
  return Object.keys(COMMAND).find((name) => COMMAND[name] === command) ?? `command ${command}`;
}

export function refusal(command, status) {
  const name = Object.keys(STATUS).find((key) => STATUS[key] === status);
  const text = name ? `${name}: ${HINTS[name]}` : `status ${status}, which this page does not know`;
  return new PageError(`The device refused ${commandName(command)}, ${text}.`, status);
}

const hex = (bytes) => [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");

// The configuration of an INFO answer, by the names of DeviceConfig.
function configOf(payload, view) {
  const flags = view.getUint16(10, true);
  const words = ["weight_depth", "threshold_depth", "act_depth", "program_depth"];
  const config = {
    rows: payload[6], columns: payload[7], width: payload[8], acc_width: payload[9], column_group: payload[5],
    counters: (flags >> 1) & 1, convolution: (flags >> 2) & 1, program_halves: (flags >> 3) & 1,
    whole_windows: (flags >> 4) & 1, act_ports: 2 - ((flags >> 5) & 1),
    column_align: 1 << ((flags >> 6) & 3),
    threshold_share: (flags >> 8) & 15, row_sums: (flags >> 14) & 1,
    code_bits: 1 + ((flags >> 12) & 3) + 4 * (flags >> 15), result_lanes: (1 << (payload[31] >> 5)) >> 1,
    fifo_bytes: view.getUint16(28, true), store_kind: payload[30] & 7,
    store_words: payload[31] & 31 ? 2 ** ((payload[31] & 31) - 1) : 0,
    line_bytes: view.getUint32(32, true) & 0x3ffff, value_depth: (1 << (payload[35] & 31)) >> 1,
    packed_rows: (payload[35] >> 5) & 1, scale_depth: (1 << (payload[30] >> 3)) >> 1,
    kept_words: (1 << ((view.getUint32(32, true) >> 18) & 31)) >> 1,
  };
  words.forEach((name, index) => { config[name] = view.getUint32(12 + 4 * index, true); });
  return config;
}

// Names of its fields.
export const CONFIG = Object.keys(configOf(new Uint8Array(INFO_BYTES), new DataView(new ArrayBuffer(INFO_BYTES))));

// {config, clockHz, armed, build, network} of an INFO answer. Configuration names are those of DeviceConfig.
export function parseInfo(payload) {
  const magic = [0x58, 0x4e, 0x4f, 0x52]; // XNOR
  if (payload.length < 5 || magic.some((byte, index) => payload[index] !== byte)) {
    throw new PageError("What answers there is not an xnorcore accelerator.");
  }
  const version = payload[4];
  if (version !== VERSION) {
    const fix = version < VERSION
      ? "its bitstream is older: build it again and program the board (xnorcore build, xnorcore program)"
      : "its bitstream is newer: make this page again with a newer xnorcore";
    throw new PageError(
      `The device speaks protocol version ${version}, and this page speaks version ${VERSION}; ${fix}.`,
    );
  }
  if (payload.length !== INFO_BYTES) {
    throw new PageError(`The device's description has ${payload.length} bytes, not ${INFO_BYTES}.`);
  }
  const view = new DataView(payload.buffer, payload.byteOffset, payload.length);
  const config = configOf(payload, view);
  const flash = [2, 4, 5].includes(config.store_kind);
  if (config.store_words && !flash && !(payload[35] & 64)) {
    throw new PageError(
      "The device does not check what its store holds: its bitstream is older: build it again and program the board "
      + "(xnorcore build, xnorcore program).",
    );
  }
  return {
    config,
    clockHz: view.getUint32(36, true),
    armed: Boolean(payload[10] & 1),
    build: hex(payload.subarray(40, 48)),
    network: hex(payload.subarray(48, 56)),
  };
}
