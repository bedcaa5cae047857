// The image and its boxes on a canvas (Konva): zoom, pan, draw, move, resize.

import { between, CLASS, HIGH, SUGGESTED, under, WIDE, X, Y } from "./boxes.js";

const COLOURS = ["#4cc2ff", "#ffb000", "#62e08a", "#ff7ab6", "#c9a0ff", "#ffe14d", "#ff8566", "#3fe0d0", "#b8d430", "#a9b8ff"];
const SLIP = 4; // screen pixels: less is a click, not a box

export const colour = (kind) => COLOURS[kind % COLOURS.length];

export class View {
  /** `on` hears: drawn(box), changed(index, box), selected(index), zoomed(). */
  constructor(holder, on) {
    this.holder = holder;
    this.on = on;
    this.hand = false;
    this.size = { width: 1, height: 1 };
    this.rows = [];
    this.chosen = -1;
    this.names = [];
    const Konva = window.Konva;
    this.Konva = Konva;
    Konva.dragButtons = [0];
    this.stage = new Konva.Stage({ container: holder, width: holder.clientWidth || 1, height: holder.clientHeight || 1 });
    this.below = new Konva.Layer({ listening: false });
    this.above = new Konva.Layer();
    this.stage.add(this.below, this.above);
    this.picture = new Konva.Image({ image: undefined });
    this.below.add(this.picture);
    this.sketch = new Konva.Rect({ stroke: "#fff", strokeWidth: 1.5, dash: [5, 4], strokeScaleEnabled: false, listening: false, visible: false });
    const coarse = matchMedia("(pointer: coarse)").matches;
    this.handles = new Konva.Transformer({
      rotateEnabled: false, flipEnabled: false, keepRatio: false, ignoreStroke: true, borderEnabled: false,
      anchorSize: coarse ? 20 : 10, anchorStroke: "#000", anchorFill: "#fff", anchorCornerRadius: 2,
    });
    this.pointers = new Map();
    this.gesture = null;
    const content = this.stage.content;
    content.addEventListener("pointerdown", (event) => this.down(event));
    window.addEventListener("pointermove", (event) => this.move(event));
    window.addEventListener("pointerup", (event) => this.up(event));
    window.addEventListener("pointercancel", (event) => this.cancel(event));
    content.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.zoom(Math.exp(-event.deltaY * 0.0015), this.at(event));
    }, { passive: false });
    content.addEventListener("contextmenu", (event) => event.preventDefault());
    new ResizeObserver(() => this.resize()).observe(holder);
  }

  show(image, size) {
    this.size = size;
    this.picture.setAttrs({ image, width: size.width, height: size.height });
    this.fit();
  }

  blank() {
    this.picture.image(undefined);
    this.draw([], -1, this.names);
  }

  resize() {
    const { clientWidth: width, clientHeight: height } = this.holder;
    if (!width || !height) return;
    const whole = this.isWhole;
    this.stage.size({ width, height });
    if (whole) this.fit();
    else this.placed();
  }

  fit() {
    const { width, height } = this.size;
    const scale = Math.min((this.stage.width() - 24) / width, (this.stage.height() - 24) / height);
    this.place(Math.max(scale, 0.01), null);
    this.isWhole = true;
  }

  zoom(factor, point) {
    const old = this.stage.scaleX();
    const about = point || { x: this.stage.width() / 2, y: this.stage.height() / 2 };
    const next = Math.min(Math.max(old * factor, 0.02), 40);
    const at = this.toImage(about);
    this.place(next, { x: about.x - at.x * next, y: about.y - at.y * next });
  }

  pan(dx, dy) {
    this.place(this.stage.scaleX(), { x: this.stage.x() + dx, y: this.stage.y() + dy });
  }

  place(scale, at) {
    const wide = this.size.width * scale, high = this.size.height * scale;
    const { x, y } = at || { x: (this.stage.width() - wide) / 2, y: (this.stage.height() - high) / 2 };
    const some = 40; // of the image always stays in sight
    this.stage.scale({ x: scale, y: scale });
    this.stage.position({
      x: Math.min(Math.max(x, some - wide), this.stage.width() - some),
      y: Math.min(Math.max(y, some - high), this.stage.height() - some),
    });
    this.isWhole = false;
    this.placed();
  }

  placed() {
    this.below.imageSmoothingEnabled(this.stage.scaleX() < 2);
    this.holder.dataset.scale = this.stage.scaleX();
    this.draw(this.rows, this.chosen, this.names);
    this.on.zoomed();
  }

  draw(rows, chosen, names) {
    Object.assign(this, { rows, chosen, names });
    const { Konva, above } = this;
    const unit = 1 / this.stage.scaleX();
    this.handles.remove();
    this.sketch.remove();
    above.destroyChildren();
    rows.forEach((row, index) => {
      if (index !== chosen) above.add(...this.shape(row, unit));
    });
    above.add(this.sketch);
    if (rows[chosen]) {
      const row = rows[chosen];
      const [back, front, tag] = this.shape(row, unit);
      front.setAttrs({ draggable: !this.hand, listening: true, strokeWidth: 3, fill: "rgba(255,255,255,0.08)", dragDistance: SLIP });
      front.dragBoundFunc((p) => this.bounded(p, row));
      front.on("dragmove transform", () => {
        back.setAttrs({ x: front.x(), y: front.y(), width: front.width() * front.scaleX(), height: front.height() * front.scaleY() });
        tag.position({ x: front.x(), y: front.y() });
      });
      front.on("dragend", () => this.on.changed(chosen, [Math.round(front.x()), Math.round(front.y()), row[WIDE], row[HIGH]]));
      front.on("transformend", () => {
        const end = { x: front.x() + front.width() * front.scaleX(), y: front.y() + front.height() * front.scaleY() };
        const box = between({ x: front.x(), y: front.y() }, end, this.size);
        if (box) this.on.changed(chosen, box);
        else this.draw(this.rows, this.chosen, this.names);
      });
      front.on("click tap", () => this.pick(this.toImage(this.stage.getPointerPosition())));
      above.add(back, front, tag, this.handles);
      this.handles.nodes([front]);
    }
    above.draw();
  }

  /** A dark line below a bright one, and the class in words: readable without colour. */
  shape(row, unit) {
    const { Konva } = this;
    const box = { x: row[X], y: row[Y], width: row[WIDE], height: row[HIGH], strokeScaleEnabled: false, listening: false };
    const back = new Konva.Rect({ ...box, stroke: "#000", strokeWidth: 4, opacity: 0.65 });
    const front = new Konva.Rect({ ...box, stroke: colour(row[CLASS]), strokeWidth: 2, dash: row[SUGGESTED] ? [7, 5] : [] });
    const tag = new Konva.Label({ x: row[X], y: row[Y], scaleX: unit, scaleY: unit, listening: false, offsetY: row[Y] / unit > 20 ? 20 : 0 });
    tag.add(new Konva.Tag({ fill: "#000", opacity: 0.75 }));
    tag.add(new Konva.Text({ text: this.names[row[CLASS]] + (row[SUGGESTED] ? " ?" : ""), fontSize: 13, padding: 3, fill: "#fff", fontFamily: "sans-serif" }));
    return [back, front, tag];
  }

  bounded(p, row) {
    const scale = this.stage.scaleX(), from = this.stage.position();
    const x = Math.min(Math.max((p.x - from.x) / scale, 0), Math.max(0, this.size.width - row[WIDE]));
    const y = Math.min(Math.max((p.y - from.y) / scale, 0), Math.max(0, this.size.height - row[HIGH]));
    return { x: from.x + x * scale, y: from.y + y * scale };
  }

  at(event) {
    const edge = this.stage.content.getBoundingClientRect();
    return { x: event.clientX - edge.left, y: event.clientY - edge.top };
  }

  toImage(point) {
    const scale = this.stage.scaleX();
    return { x: (point.x - this.stage.x()) / scale, y: (point.y - this.stage.y()) / scale };
  }

  /** The middle of what is in sight, in pixels of the image. */
  middle() {
    return this.toImage({ x: this.stage.width() / 2, y: this.stage.height() / 2 });
  }

  pick(point) {
    const found = under(this.rows, point);
    const after = found.indexOf(this.chosen) + 1; // once more takes the next larger one
    this.on.selected(found.length ? found[after % found.length] : -1);
  }

  // --- pointers: draw, pan, pinch ----------------------------------------------------------------

  down(event) {
    this.holder.focus({ preventScroll: true });
    const point = this.at(event);
    this.pointers.set(event.pointerId, point);
    if (this.pointers.size === 2) {
      this.sketch.visible(false);
      this.gesture = { kind: "pinch" };
      return;
    }
    if (event.button === 1 || this.hand) {
      event.preventDefault();
      this.gesture = { kind: "pan", last: point };
      return;
    }
    if (event.button !== 0 || !this.picture.image()) return;
    if (this.above.getIntersection(point)) return; // the chosen box or a handle: Konva's business
    this.gesture = { kind: "draw", from: point };
  }

  move(event) {
    if (!this.pointers.has(event.pointerId)) return;
    const point = this.at(event), before = [...this.pointers.values()];
    this.pointers.set(event.pointerId, point);
    if (this.gesture?.kind === "pan") {
      this.pan(point.x - this.gesture.last.x, point.y - this.gesture.last.y);
      this.gesture.last = point;
    } else if (this.gesture?.kind === "pinch" && before.length === 2) {
      const [a, b] = before, [c, d] = [...this.pointers.values()];
      const mid = { x: (c.x + d.x) / 2, y: (c.y + d.y) / 2 };
      this.pan(mid.x - (a.x + b.x) / 2, mid.y - (a.y + b.y) / 2);
      this.zoom(Math.hypot(c.x - d.x, c.y - d.y) / Math.max(1, Math.hypot(a.x - b.x, a.y - b.y)), mid);
    } else if (this.gesture?.kind === "draw") {
      const box = between(this.toImage(this.gesture.from), this.toImage(point), this.size);
      this.sketch.setAttrs(box ? { visible: true, x: box[0], y: box[1], width: box[2], height: box[3] } : { visible: false });
      this.above.batchDraw();
    }
  }

  up(event) {
    if (!this.pointers.delete(event.pointerId)) return;
    const gesture = this.gesture;
    if (gesture?.kind === "pinch" && this.pointers.size) return;
    this.gesture = null;
    if (gesture?.kind !== "draw") return;
    this.sketch.visible(false);
    const point = this.at(event);
    if (Math.hypot(point.x - gesture.from.x, point.y - gesture.from.y) < SLIP) {
      this.pick(this.toImage(point));
      return;
    }
    const box = between(this.toImage(gesture.from), this.toImage(point), this.size);
    if (box) this.on.drawn(box);
  }

  cancel(event) {
    this.pointers.delete(event.pointerId);
    this.gesture = null;
    this.sketch.visible(false);
  }
}
