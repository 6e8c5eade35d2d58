// What people draw or drop, as the pixels of a network's image: 0 to 255, ink is bright.

const FINE = 8; // points of the fine picture for each pixel, both ways

function surface(width, height) {
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.lineCap = "round";
  context.lineJoin = "round";
  return context;
}

export function strokePath(context, strokes, place, thickness) {
  context.strokeStyle = "#fff";
  context.fillStyle = "#fff";
  context.lineWidth = thickness;
  for (const stroke of strokes) {
    const points = stroke.map(place);
    context.beginPath();
    if (points.length === 1) {
      context.arc(...points[0], thickness / 2, 0, 2 * Math.PI);
      context.fill();
      continue;
    }
    points.forEach(([x, y], index) => (index ? context.lineTo(x, y) : context.moveTo(x, y)));
    context.stroke();
  }
}

// Means of FINE x FINE points.
function coarse(context, height, width) {
  const { data } = context.getImageData(0, 0, width * FINE, height * FINE);
  const sums = new Float64Array(height * width);
  for (let y = 0; y < height * FINE; y++) {
    for (let x = 0; x < width * FINE; x++) {
      const at = 4 * (y * width * FINE + x);
      sums[Math.floor(y / FINE) * width + Math.floor(x / FINE)] += (data[at] * data[at + 3]) / 255;
    }
  }
  return Array.from(sums, (sum) => Math.round(sum / FINE / FINE));
}

function boxOf(points) {
  const xs = points.map(([x]) => x);
  const ys = points.map(([, y]) => y);
  const [left, top] = [Math.min(...xs), Math.min(...ys)];
  return { left, top, width: Math.max(...xs) - left, height: Math.max(...ys) - top };
}

// How data sets put a digit into their pictures: what part of the side it fills, how thick its lines are there,
// and whether its centre of mass is in the middle, or its box.
const FITS = {
  digits: { fills: 1, thickness: 0.2, mass: false },
  mnist: { fills: 20 / 28, thickness: 0.1, mass: true },
  none: { fills: 0, thickness: 0.06, mass: false },
};

// Where the strokes, in 0 to 1, go in a picture of `side` points, and how thick they are there.
function placing(strokes, fit, side) {
  const { fills, thickness, mass } = FITS[fit] ?? FITS.none;
  const pen = thickness * side;
  if (!fills) return { place: ([x, y]) => [x * side, y * side], pen };
  const points = strokes.flat();
  const box = boxOf(points);
  const scale = (fills * side - pen) / Math.max(box.width, box.height, 0.02);
  let [cx, cy] = [box.left + box.width / 2, box.top + box.height / 2];
  if (mass) [cx, cy] = centre(strokes) ?? [cx, cy];
  return { place: ([x, y]) => [side / 2 + (x - cx) * scale, side / 2 + (y - cy) * scale], pen };
}

// Centre of mass of lines.
function centre(strokes) {
  let [sx, sy, total] = [0, 0, 0];
  for (const stroke of strokes) {
    for (let index = 1; index < stroke.length; index++) {
      const [[x0, y0], [x1, y1]] = [stroke[index - 1], stroke[index]];
      const length = Math.hypot(x1 - x0, y1 - y0);
      sx += (length * (x0 + x1)) / 2;
      sy += (length * (y0 + y1)) / 2;
      total += length;
    }
  }
  return total ? [sx / total, sy / total] : null;
}

// Pixels of strokes, each a list of points in 0 to 1.
export function pixelsOfStrokes(strokes, { shape: [height, width], fit }) {
  const context = surface(width * FINE, height * FINE);
  if (strokes.length) {
    const side = Math.min(width, height) * FINE;
    const { place, pen } = placing(strokes, fit, side);
    context.translate((width * FINE - side) / 2, (height * FINE - side) / 2);
    strokePath(context, strokes, place, pen);
  }
  return coarse(context, height, width);
}

// Grey of the paper, with what little it varies, and of the ink.
function spread(greys, ground) {
  const side = ground > 127 ? -1 : 1;
  const ink = greys.reduce((most, grey) => (side * grey > side * most ? grey : most), ground);
  const range = Math.max(1, Math.abs(ink - ground));
  return [ground + 0.15 * side * range, ground + 0.9 * side * range];
}

// Pixels of a picture, `bitmap`; dark ink on a light ground is turned round.
export function pixelsOfPicture(bitmap, { shape: [height, width], fit }) {
  const side = 256;
  const whole = surface(side, side);
  const scale = side / Math.max(bitmap.width, bitmap.height);
  const size = [bitmap.width * scale, bitmap.height * scale];
  const corner = [(side - size[0]) / 2, (side - size[1]) / 2];
  whole.drawImage(bitmap, ...corner, ...size);
  const image = whole.getImageData(0, 0, side, side);
  const { data } = image;
  const grey = (at) => 0.299 * data[at] + 0.587 * data[at + 1] + 0.114 * data[at + 2];
  const seen = [];
  for (let at = 0; at < data.length; at += 4) if (data[at + 3] > 127) seen.push(at);
  const edge = seen.filter((at) => {
    const [x, y] = [(at / 4) % side, Math.floor(at / 4 / side)];
    return Math.min(x - corner[0], y - corner[1], corner[0] + size[0] - 1 - x, corner[1] + size[1] - 1 - y) < 3;
  });
  const ground = edge.reduce((sum, at) => sum + grey(at), 0) / Math.max(edge.length, 1);
  const light = ground > 127;
  const { fills } = FITS[fit] ?? FITS.none;
  // Of a digit, the paper is black and the ink white, whatever they were; other pictures keep their greys.
  const [paper, ink] = fills ? spread(seen.map(grey), ground) : light ? [255, 0] : [0, 255];
  const points = [];
  for (let at = 0; at < data.length; at += 4) {
    const value = data[at + 3] > 127 ? Math.min(255, Math.max(0, (255 * (grey(at) - paper)) / (ink - paper))) : 0;
    data.fill(value, at, at + 3);
    data[at + 3] = 255;
    if (value > 100) points.push([(at / 4) % side, Math.floor(at / 4 / side)]);
  }
  whole.putImageData(image, 0, 0);
  const target = surface(width * FINE, height * FINE);
  target.imageSmoothingQuality = "high";
  if (fills && points.length) {
    let [left, top, right, bottom] = [side, side, 0, 0];
    for (const [x, y] of points) {
      [left, top] = [Math.min(left, x), Math.min(top, y)];
      [right, bottom] = [Math.max(right, x + 1), Math.max(bottom, y + 1)];
    }
    const [w, h] = [right - left, bottom - top];
    const by = (fills * Math.min(width, height) * FINE) / Math.max(w, h);
    const at = [(width * FINE - w * by) / 2, (height * FINE - h * by) / 2];
    target.drawImage(whole.canvas, left, top, w, h, ...at, w * by, h * by);
  } else {
    target.drawImage(whole.canvas, 0, 0, width * FINE, height * FINE);
  }
  return coarse(target, height, width);
}

// The drawing area: pointer and keyboard. Calls `changed` when there is something else on it.
export class Pad {
  constructor(canvas, changed, say) {
    Object.assign(this, { canvas, changed, say, strokes: [], picture: null, pen: null, cursor: null });
    this.context = canvas.getContext("2d");
    this.context.lineCap = this.context.lineJoin = "round";
    canvas.addEventListener("pointerdown", (event) => this.down(event));
    canvas.addEventListener("pointermove", (event) => this.move(event));
    for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, () => this.up());
    canvas.addEventListener("keydown", (event) => this.key(event));
    canvas.addEventListener("blur", () => {
      this.cursor = null;
      this.penDown = false;
      this.paint();
    });
  }

  get empty() {
    return !this.strokes.length && !this.picture;
  }

  // The point of the square in the middle of the canvas's box.
  point(event) {
    const box = this.canvas.getBoundingClientRect();
    const side = Math.min(box.width, box.height);
    const clamp = (value) => Math.min(1, Math.max(0, value));
    return [
      clamp((event.clientX - box.left - (box.width - side) / 2) / side),
      clamp((event.clientY - box.top - (box.height - side) / 2) / side),
    ];
  }

  begin(point) {
    this.picture = null;
    this.pen = [point];
    this.strokes.push(this.pen);
  }

  down(event) {
    if (event.button) return;
    this.canvas.setPointerCapture?.(event.pointerId);
    this.cursor = null;
    this.begin(this.point(event));
    this.update();
  }

  move(event) {
    if (!this.pen || this.cursor) return;
    const events = event.getCoalescedEvents?.() ?? [];
    for (const one of events.length ? events : [event]) this.pen.push(this.point(one));
    this.update();
  }

  up() {
    if (!this.cursor) this.pen = null;
  }

  key(event) {
    const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (step) {
      const [x, y] = this.cursor ?? [0.5, 0.5];
      const size = event.shiftKey ? 1 / 8 : 1 / 24;
      this.cursor = [Math.min(1, Math.max(0, x + step[0] * size)), Math.min(1, Math.max(0, y + step[1] * size))];
      if (this.penDown) this.pen.push(this.cursor);
      this.update(Boolean(this.penDown));
    } else if (event.key === " ") {
      this.cursor ??= [0.5, 0.5];
      this.penDown = !this.penDown;
      if (this.penDown) this.begin(this.cursor);
      else this.pen = null;
      this.say(this.penDown ? "pen down" : "pen up");
      this.update(this.penDown);
    } else if (event.key === "Delete" || event.key === "Backspace") {
      this.clear();
      this.say("cleared");
    } else return;
    event.preventDefault();
  }

  clear() {
    this.strokes = [];
    this.picture = this.pen = null;
    this.penDown = false;
    this.update();
  }

  // Shows a picture of values 0 to 1.
  show(values, height, width) {
    this.strokes = [];
    this.pen = null;
    this.picture = { values, height, width };
    this.paint();
  }

  update(changed = true) {
    this.paint();
    if (changed) this.changed();
  }

  paint() {
    const { context, canvas } = this;
    const side = canvas.width;
    context.clearRect(0, 0, side, side);
    if (this.picture) {
      const { values, height, width } = this.picture;
      const size = side / Math.max(height, width);
      const [left, top] = [(side - width * size) / 2, (side - height * size) / 2];
      values.forEach((value, index) => {
        const level = Math.round(255 * value);
        context.fillStyle = `rgb(${level},${level},${level})`;
        if (level) context.fillRect(left + (index % width) * size, top + Math.floor(index / width) * size, size + 0.5, size + 0.5);
      });
    }
    strokePath(context, this.strokes, ([x, y]) => [x * side, y * side], side * 0.06);
    if (this.cursor) {
      const [x, y] = this.cursor.map((value) => value * side);
      context.strokeStyle = this.penDown ? "#ff9155" : "#93a5ff";
      context.lineWidth = 4;
      context.beginPath();
      context.arc(x, y, 16, 0, 2 * Math.PI);
      context.stroke();
    }
  }
}
