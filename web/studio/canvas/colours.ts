// Colours of a map over a photograph: the same picture as tapetum.figures.overlay makes in Python; a test compares their pixels.
//
//     s      = clip(value / top, -1 or 0, 1)                       strength
//     ground = 0.65 * grey + (0.3 where the map is signed)         nearer to the colour that means zero
//     cover  = opacity * |s|^COVER, 0 where |s| < threshold        how much of the colour lies over the ground
//     pixel  = ground + cover * (ramp(s) - ground)
//
// Below the threshold the grey photograph alone shows. Where the map is NaN, the model did not see the photograph: it is pale.

import type { Heat, Reduce } from "./maps";
import { resized } from "./maps";

/** tapetum.figures.theme.SEQUENTIAL: every 15th colour of "inferno". A test compares. */
export const SEQUENTIAL = [
  "#000004", "#0a0722", "#1e0c45", "#380962", "#510e6c", "#69166e", "#801f6c", "#982766", "#b0315b",
  "#c63d4d", "#d94d3d", "#e9612b", "#f47918", "#fa9407", "#fcb014", "#f8cd37", "#f2ea69", "#fcffa4",
];
/** tapetum.figures.theme.DIVERGING: blue speaks against, red for. A test compares. */
export const DIVERGING = ["#2065ab", "#4393c3", "#90c4dd", "#d1e5f0", "#f7f6f6", "#fddbc7", "#f3a481", "#d6604d", "#b1182b"];
/** Exponents of the opacity: maps of single pixels are sparse and need more colour than smooth ones. */
export const COVER: Record<Reduce, number> = { sum: 0.5, positive: 1, max_abs: 0.65 };
export const OPACITY = 0.85;
const LUMA = [0.299, 0.587, 0.114] as const; // ITU-R BT.601
const UNSEEN = "#dedcd5"; // a map's own colour where it is NaN

/** How the map reaches the photograph's size: interpolated, or every value of the method one block. */
export type Mode = "smooth" | "pixelated";
export type Rgb = [red: number, green: number, blue: number];

/** "#rrggbb" as red, green and blue, 0 ... 255. */
export const rgb = (colour: string): Rgb => [1, 3, 5].map((i) => Number.parseInt(colour.slice(i, i + 2), 16)) as Rgb;

export const anchors = (reduce: Reduce) => (reduce === "sum" ? DIVERGING : SEQUENTIAL);

const STEPS = 2048;
const ramps = new Map<Reduce, Uint8ClampedArray>();

/** The scale's colours at STEPS + 1 even places, so that a pixel is one look-up; off by less than 1/255. */
function ramp(reduce: Reduce): Uint8ClampedArray {
  const known = ramps.get(reduce);
  if (known) return known;
  const colours = anchors(reduce).map(rgb);
  const made = new Uint8ClampedArray(3 * (STEPS + 1));
  for (let i = 0; i <= STEPS; i++) {
    const place = (i / STEPS) * (colours.length - 1);
    const low = Math.min(Math.floor(place), colours.length - 2);
    for (let c = 0; c < 3; c++) made[3 * i + c] = colours[low]![c]! + (place - low) * (colours[low + 1]![c]! - colours[low]![c]!);
  }
  ramps.set(reduce, made);
  return made;
}

/** Where in the ramp a strength lies. */
const step = (strength: number, signed: boolean) => 3 * Math.round((signed ? (strength + 1) / 2 : strength) * STEPS);

const clipped = (value: number, top: number, signed: boolean) => Math.min(1, Math.max(signed ? -1 : 0, value / top));

const grey = (pixels: Uint8ClampedArray, i: number) => LUMA[0] * pixels[i]! + LUMA[1] * pixels[i + 1]! + LUMA[2] * pixels[i + 2]!;

/**
 * The photograph with the map over it.
 *
 * photo: what the model saw; the map is brought to its size. top: the magnitude that gets the full colour. opacity: 0 ... 1 of the
 * full colour. threshold: 0 ... 1 of `top`; what is weaker leaves the grey photograph.
 */
export function overlaid(photo: ImageData, map: Heat, reduce: Reduce, top: number, opacity = OPACITY, threshold = 0, mode: Mode = "smooth"): ImageData {
  const { values } = resized(map, photo.height, photo.width, mode === "smooth" ? "bilinear" : "pixelated");
  const [signed, colours, made] = [reduce === "sum", ramp(reduce), new ImageData(photo.width, photo.height)];
  const [from, to, lift] = [photo.data, made.data, signed ? 0.3 * 255 : 0];
  for (let i = 0; i < values.length; i++) {
    const [at, light] = [4 * i, grey(from, 4 * i)];
    const unseen = Number.isNaN(values[i]!);
    const strength = unseen ? 0 : clipped(values[i]!, top, signed);
    const size = Math.abs(strength);
    const cover = unseen || size < threshold ? 0 : opacity * size ** COVER[reduce];
    const ground = unseen ? 0.35 * light + 0.6 * 255 : 0.65 * light + lift;
    const colour = step(strength, signed);
    for (let c = 0; c < 3; c++) to[at + c] = ground + cover * (colours[colour + c]! - ground);
    to[at + 3] = 255;
  }
  return made;
}

/** A map alone, in its colours, at its own resolution: as tapetum.figures.overlay.colorize. */
export function colorized(map: Heat, reduce: Reduce, top: number): ImageData {
  const [signed, colours, unseen, made] = [reduce === "sum", ramp(reduce), rgb(UNSEEN), new ImageData(map.w, map.h)];
  for (let i = 0; i < map.values.length; i++) {
    const value = map.values[i]!;
    const at = step(clipped(value || 0, top, signed), signed);
    for (let c = 0; c < 3; c++) made.data[4 * i + c] = Number.isNaN(value) ? unseen[c]! : colours[at + c]!;
    made.data[4 * i + 3] = 255;
  }
  return made;
}

/** The photograph dark and without colour, under words that say why there is no map. */
export function dimmed(photo: ImageData): ImageData {
  const made = new ImageData(photo.width, photo.height);
  for (let i = 0; i < made.data.length; i += 4) {
    made.data.fill(0.3 * grey(photo.data, i), i, i + 3);
    made.data[i + 3] = 255;
  }
  return made;
}

/** A CSS gradient of the scale from its low end to its high end. */
export const gradient = (reduce: Reduce) => `linear-gradient(to right, ${anchors(reduce).join(", ")})`;
