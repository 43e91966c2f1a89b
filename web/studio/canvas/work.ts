// The work copy of a picture that is edited by hand: its pixels, the stroke under way, and what can be undone.

import type { Fill, Point, Rect } from "./edits";
import { copied, covered, mixed, paste, reach } from "./edits";

/** What one step changed: a rectangle before and after. */
interface Change {
  rect: Rect;
  before: ImageData;
  after: ImageData;
}

const MOST_STEPS = 200;

export class Work {
  readonly unedited: ImageData;
  pixels: ImageData;
  private done: Change[] = [];
  private undone: Change[] = [];
  private stroke: { base: ImageData; cover: Float32Array; fill: Fill; rect: Rect | null } | null = null;

  constructor(picture: ImageData) {
    this.unedited = copied(picture);
    this.pixels = copied(picture);
  }

  get canUndo() {
    return this.done.length > 0;
  }

  get canRedo() {
    return this.undone.length > 0;
  }

  get drawing() {
    return this.stroke !== null;
  }

  /** Does any pixel differ from the picture as it came? */
  get edited() {
    const [now, then] = [this.pixels, this.unedited].map(({ data }) => new Uint32Array(data.buffer)) as [Uint32Array, Uint32Array];
    for (let i = 0; i < now.length; i++) if (now[i] !== then[i]) return true;
    return false;
  }

  /** Begins a stroke; `fill` makes the tool's colours from the pixels as they are now. */
  begin(fill: (pixels: ImageData) => Fill): void {
    this.end();
    const base = copied(this.pixels);
    this.stroke = { base, cover: new Float32Array(base.width * base.height), fill: fill(base), rect: null };
  }

  /** Draws on to a point; returns what changed. */
  extend(from: Point, to: Point, radius_px: number): Rect | null {
    if (!this.stroke) return null;
    const { base, cover, fill } = this.stroke;
    const line = { points: [from, to], radius_px };
    const rect = reach(line, base);
    if (!rect.w || !rect.h) return null;
    covered(cover, line, base.width, base.height);
    mixed(this.pixels, base, cover, fill, rect);
    this.stroke.rect = around(this.stroke.rect, rect);
    return rect;
  }

  /** Ends the stroke: it can now be undone in one step. */
  end(): void {
    const stroke = this.stroke;
    this.stroke = null;
    if (stroke?.rect) this.keep(stroke.base, stroke.rect);
  }

  /** Copies a rectangle so that its middle lies at a point. */
  paste(from: Rect, [x, y]: Point): void {
    this.end();
    const base = this.pixels;
    const corner: Point = [Math.round(x - from.w / 2), Math.round(y - from.h / 2)];
    this.pixels = paste(base, from, corner);
    const rect = clipped({ x: corner[0], y: corner[1], w: from.w, h: from.h }, base);
    if (rect.w && rect.h) this.keep(base, rect);
  }

  /** Back to the picture as it came; this can be undone too. */
  reset(): void {
    this.end();
    if (!this.edited) return;
    const base = this.pixels;
    this.pixels = copied(this.unedited);
    this.keep(base, { x: 0, y: 0, w: base.width, h: base.height });
  }

  undo(): void {
    this.end();
    const change = this.done.pop();
    if (!change) return;
    this.undone.push(change);
    put(this.pixels, change.before, change.rect);
  }

  redo(): void {
    const change = this.undone.pop();
    if (!change) return;
    this.done.push(change);
    put(this.pixels, change.after, change.rect);
  }

  private keep(base: ImageData, rect: Rect): void {
    this.done = [...this.done.slice(1 - MOST_STEPS), { rect, before: cut(base, rect), after: cut(this.pixels, rect) }];
    this.undone = [];
  }
}

function clipped({ x, y, w, h }: Rect, { width, height }: ImageData): Rect {
  const [left, upper] = [Math.max(0, x), Math.max(0, y)];
  return { x: left, y: upper, w: Math.max(0, Math.min(width, x + w) - left), h: Math.max(0, Math.min(height, y + h) - upper) };
}

function around(one: Rect | null, { x, y, w, h }: Rect): Rect {
  if (!one) return { x, y, w, h };
  const [left, upper] = [Math.min(one.x, x), Math.min(one.y, y)];
  return { x: left, y: upper, w: Math.max(one.x + one.w, x + w) - left, h: Math.max(one.y + one.h, y + h) - upper };
}

function cut({ data, width }: ImageData, { x, y, w, h }: Rect): ImageData {
  const made = new ImageData(w, h);
  for (let row = 0; row < h; row++) made.data.set(data.subarray(4 * ((y + row) * width + x), 4 * ((y + row) * width + x + w)), 4 * row * w);
  return made;
}

function put({ data, width }: ImageData, part: ImageData, { x, y, w, h }: Rect): void {
  for (let row = 0; row < h; row++) data.set(part.data.subarray(4 * row * w, 4 * (row + 1) * w), 4 * ((y + row) * width + x));
}
