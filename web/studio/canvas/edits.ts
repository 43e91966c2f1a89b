// Edits of a picture by hand, as functions of pixels. None changes what it is given.
//
// A stroke is a line through points with a round brush: a pixel belongs to it by clip(radius + 1/2 - distance, 0, 1), so its edge is
// one pixel soft. What the tool makes is mixed in by that share.

import type { Rgb } from "./colours";

/** In px of the picture, x to the right, y down; the middle of the upper left pixel is 0.5, 0.5. */
export type Point = [x: number, y: number];

export interface Stroke {
  points: Point[];
  radius_px: number;
}

/** Whole px: the upper left corner, width and height. */
export interface Rect {
  x: number;
  y: number;
  w: number;
  h: number;
}

export const GREY: Rgb = [128, 128, 128];

/** The mean colour of a picture. */
export function meanColour({ data }: ImageData): Rgb {
  const sums: Rgb = [0, 0, 0];
  for (let i = 0; i < data.length; i += 4) for (let c = 0; c < 3; c++) sums[c]! += data[i + c]!;
  return sums.map((sum) => (4 * sum) / data.length) as Rgb;
}

/** The part of a picture that a stroke can touch; empty where it lies outside. */
export function reach({ points, radius_px }: Stroke, { width, height }: { width: number; height: number }): Rect {
  const [xs, ys] = [points.map(([x]) => x), points.map(([, y]) => y)];
  const [left, upper] = [Math.max(0, Math.floor(Math.min(...xs) - radius_px - 1)), Math.max(0, Math.floor(Math.min(...ys) - radius_px - 1))];
  const [right, lower] = [Math.min(width, Math.ceil(Math.max(...xs) + radius_px + 1)), Math.min(height, Math.ceil(Math.max(...ys) + radius_px + 1))];
  return { x: left, y: upper, w: Math.max(0, right - left), h: Math.max(0, lower - upper) };
}

/** Distance of a point to the line from a to b. */
function distance(x: number, y: number, [ax, ay]: Point, [bx, by]: Point): number {
  const [dx, dy] = [bx - ax, by - ay];
  const length = dx * dx + dy * dy;
  const along = length ? Math.min(1, Math.max(0, ((x - ax) * dx + (y - ay) * dy) / length)) : 0;
  return Math.hypot(x - ax - along * dx, y - ay - along * dy);
}

/** Adds a stroke to a picture's cover (0 ... 1 for each pixel), so that a line crossing itself counts once. */
export function covered(cover: Float32Array, stroke: Stroke, width: number, height: number): Float32Array {
  const { points, radius_px } = stroke;
  points.forEach((point, i) => {
    const last = points[i - 1] ?? point;
    const near = reach({ points: [last, point], radius_px }, { width, height });
    for (let y = near.y; y < near.y + near.h; y++) {
      for (let x = near.x; x < near.x + near.w; x++) {
        const share = Math.min(1, radius_px + 0.5 - distance(x + 0.5, y + 0.5, last, point));
        if (share > cover[y * width + x]!) cover[y * width + x] = share;
      }
    }
  });
  return cover;
}

/** What a tool puts in a pixel's place: red, green or blue (c = 0, 1, 2) at column x and row y. */
export type Fill = (x: number, y: number, c: number) => number;

/** Writes before + cover * (fill - before) into `after`, inside a rectangle. */
export function mixed(after: ImageData, before: ImageData, cover: Float32Array, fill: Fill, { x: left, y: upper, w, h }: Rect): void {
  for (let y = upper; y < upper + h; y++) {
    for (let x = left; x < left + w; x++) {
      const [at, share] = [y * before.width + x, cover[y * before.width + x]!];
      if (share > 0) for (let c = 0; c < 3; c++) after.data[4 * at + c] = before.data[4 * at + c]! + share * (fill(x, y, c) - before.data[4 * at + c]!);
    }
  }
}

export const copied = (pixels: ImageData) => new ImageData(pixels.data.slice(), pixels.width, pixels.height);

function stroked(pixels: ImageData, stroke: Stroke, fill: Fill): ImageData {
  const after = copied(pixels);
  const cover = covered(new Float32Array(pixels.width * pixels.height), stroke, pixels.width, pixels.height);
  mixed(after, pixels, cover, fill, reach(stroke, pixels));
  return after;
}

/** Fills the stroke with one colour. */
export const paint = (pixels: ImageData, stroke: Stroke, colour: Rgb) => stroked(pixels, stroke, (_x, _y, c) => colour[c]!);

/** Fills the stroke with the picture's mean colour, or with another that says nothing. */
export const erase = (pixels: ImageData, stroke: Stroke, colour: Rgb = meanColour(pixels)) => paint(pixels, stroke, colour);

/** Puts the picture, blurred by a Gaussian, where the stroke is. */
export const blur = (pixels: ImageData, stroke: Stroke, sigma_px: number) => stroked(pixels, stroke, blurring(pixels, sigma_px));

const TILE = 64;

/** The blurred picture, computed tile by tile where it is asked for: a stroke then costs only what it touches. */
export function blurring(pixels: ImageData, sigma_px: number): Fill {
  const tiles = new Map<number, Float32Array>();
  const across = Math.ceil(pixels.width / TILE);
  return (x, y, c) => {
    const [column, row] = [Math.floor(x / TILE), Math.floor(y / TILE)];
    let tile = tiles.get(row * across + column);
    if (!tile) tiles.set(row * across + column, (tile = blurred(pixels, sigma_px, { x: TILE * column, y: TILE * row, w: TILE, h: TILE })));
    return tile[3 * ((y - TILE * row) * TILE + x - TILE * column) + c]!;
  };
}

/** Gaussian weights at whole px up to 3 sigma, which sum to 1. */
function gaussian(sigma_px: number): Float32Array {
  const far = Math.floor(3 * sigma_px + 0.5);
  const weights = Float32Array.from({ length: 2 * far + 1 }, (_, i) => Math.exp(-0.5 * ((i - far) / sigma_px) ** 2));
  const sum = weights.reduce((total, weight) => total + weight, 0);
  return weights.map((weight) => weight / sum);
}

/** A rectangle of the picture after a Gaussian, along rows and then along columns; beyond the edge the edge's pixels go on. */
function blurred({ data, width, height }: ImageData, sigma_px: number, { x: left, y: upper, w, h }: Rect): Float32Array {
  const weights = gaussian(sigma_px);
  const far = (weights.length - 1) / 2;
  const within = (at: number, n: number) => Math.min(n - 1, Math.max(0, at));
  const rows = new Float32Array(3 * w * (h + 2 * far));
  for (let y = 0; y < h + 2 * far; y++) {
    const row = within(upper + y - far, height) * width;
    for (let x = 0; x < w; x++) {
      const to = 3 * (y * w + x);
      for (let k = 0; k < weights.length; k++) {
        const at = 4 * (row + within(left + x + k - far, width));
        for (let c = 0; c < 3; c++) rows[to + c]! += weights[k]! * data[at + c]!;
      }
    }
  }
  const made = new Float32Array(3 * w * h);
  for (let i = 0; i < made.length; i++) for (let k = 0; k < weights.length; k++) made[i]! += weights[k]! * rows[3 * w * k + i]!;
  return made;
}

/** The rectangle between two corners, in whole px, inside the picture and at least one px wide and high. */
export function between([ax, ay]: Point, [bx, by]: Point, { width, height }: { width: number; height: number }): Rect {
  const within = (at: number, n: number) => Math.min(n, Math.max(0, Math.round(at)));
  const [x, y] = [Math.min(within(Math.min(ax, bx), width), width - 1), Math.min(within(Math.min(ay, by), height), height - 1)];
  return { x, y, w: Math.max(1, within(Math.max(ax, bx), width) - x), h: Math.max(1, within(Math.max(ay, by), height) - y) };
}

/** Copies a rectangle so that its upper left corner lies at `to`; what would lie outside the picture is cut off. */
export function paste(pixels: ImageData, from: Rect, to: Point): ImageData {
  const after = copied(pixels);
  const [x, y] = to.map(Math.round) as Point;
  for (let row = 0; row < from.h; row++) {
    for (let column = 0; column < from.w; column++) {
      if (x + column < 0 || y + row < 0 || x + column >= pixels.width || y + row >= pixels.height) continue;
      const at = 4 * ((from.y + row) * pixels.width + from.x + column);
      after.data.set(pixels.data.subarray(at, at + 4), 4 * ((y + row) * pixels.width + x + column));
    }
  }
  return after;
}
