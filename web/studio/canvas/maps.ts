// Maps as the server sends them, as numbers: decoded, resized, read, subtracted.
//
// A map comes at the method's own resolution (a Grad-CAM of 7 × 7) and is shown at the size of the crop that it belongs to.

/** How a method's map is read: signed shares, positive evidence, or magnitudes. */
export type Reduce = "sum" | "positive" | "max_abs";

/** Why a map can or cannot be shown. */
export type Status = "ok" | "no_positive_evidence" | "constant" | "non_finite";

/** A map as the server sends it: float32, little endian, row by row, in base64. */
export interface MapData {
  shape: [h: number, w: number];
  data: string;
  /** The magnitude that gets the full colour. */
  top: number;
  low: number;
  high: number;
}

/** A map's numbers, row by row; NaN where the model saw nothing. */
export interface Heat {
  h: number;
  w: number;
  values: Float32Array;
}

/** A place in px of what the model saw: 0, 0 is the upper left. */
export interface Place {
  row: number;
  column: number;
}

const decodedMaps = new WeakMap<MapData, Heat>();

/** The numbers of a map as the server sent it; kept as long as the message is. */
export function decoded(map: MapData): Heat {
  let heat = decodedMaps.get(map);
  if (!heat) decodedMaps.set(map, (heat = read(map)));
  return heat;
}

function read({ shape: [h, w], data }: MapData): Heat {
  const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
  if (bytes.length !== 4 * h * w) throw new Error(`a map of ${h} × ${w} has ${4 * h * w} bytes, not ${bytes.length}`);
  const view = new DataView(bytes.buffer);
  const values = new Float32Array(h * w);
  for (let i = 0; i < values.length; i++) values[i] = view.getFloat32(4 * i, true);
  return { h, w, values };
}

/** Where along one axis a resized map takes its values: two neighbours, and the share of the second. */
interface Taps {
  first: Int32Array;
  second: Int32Array;
  share: Float64Array;
}

/** As torch computes them, in single precision: source = (i + 0.5) * n_in / n_out - 0.5, not below 0. */
function taps(n_in: number, n_out: number): Taps {
  const scale = Math.fround(n_in / n_out);
  const found = { first: new Int32Array(n_out), second: new Int32Array(n_out), share: new Float64Array(n_out) };
  for (let i = 0; i < n_out; i++) {
    const source = Math.max(0, Math.fround(Math.fround(scale * (i + 0.5)) - 0.5));
    const first = Math.min(Math.floor(source), n_in - 1);
    found.first[i] = first;
    found.second[i] = Math.min(first + 1, n_in - 1);
    found.share[i] = source - first;
  }
  return found;
}

/**
 * A map (h, w) at another size. "bilinear" equals torch's F.interpolate(..., mode="bilinear", align_corners=False), "pixelated" its
 * mode="nearest": every value of the method is one block. NaN spreads to its neighbours, as it does there.
 */
export function resized(heat: Heat, h: number, w: number, mode: "bilinear" | "pixelated" = "bilinear"): Heat {
  if (heat.h === h && heat.w === w) return heat;
  const values = new Float32Array(h * w);
  if (mode === "pixelated") {
    const columns = nearest(heat.w, w);
    nearest(heat.h, h).forEach((row, i) => columns.forEach((column, j) => (values[i * w + j] = heat.values[row * heat.w + column]!)));
    return { h, w, values };
  }
  const [rows, columns] = [taps(heat.h, h), taps(heat.w, w)];
  for (let i = 0; i < h; i++) {
    const [upper, lower, below] = [rows.first[i]! * heat.w, rows.second[i]! * heat.w, rows.share[i]!];
    for (let j = 0; j < w; j++) {
      const [left, right, after] = [columns.first[j]!, columns.second[j]!, columns.share[j]!];
      const above = (1 - after) * heat.values[upper + left]! + after * heat.values[upper + right]!;
      const under = (1 - after) * heat.values[lower + left]! + after * heat.values[lower + right]!;
      values[i * w + j] = (1 - below) * above + below * under;
    }
  }
  return { h, w, values };
}

function nearest(n_in: number, n_out: number): Int32Array {
  const scale = Math.fround(n_in / n_out);
  return Int32Array.from({ length: n_out }, (_, i) => Math.min(Math.floor(Math.fround(i * scale)), n_in - 1));
}

/** The value at a place; NaN outside the map. */
export const valueAt = (heat: Heat, { row, column }: Place) =>
  row >= 0 && column >= 0 && row < heat.h && column < heat.w ? heat.values[row * heat.w + column]! : NaN;

/** The place with the largest value, or with the largest magnitude; null where all is NaN. */
export function strongest(heat: Heat, signed = false): Place | null {
  let best = -1;
  for (let i = 0; i < heat.values.length; i++) {
    const size = signed ? Math.abs(heat.values[i]!) : heat.values[i]!;
    const most = best < 0 ? -Infinity : signed ? Math.abs(heat.values[best]!) : heat.values[best]!;
    if (size > most) best = i; // NaN is not
  }
  return best < 0 ? null : { row: Math.floor(best / heat.w), column: best % heat.w };
}

/** The middle, in a map resized to (h, w), of what one value of the method became. */
export const middle = ({ row, column }: Place, of: Heat, h: number, w: number): Place => ({
  row: Math.floor(((row + 0.5) * h) / of.h),
  column: Math.floor(((column + 0.5) * w) / of.w),
});

/**
 * first / firstTop - second / secondTop, at the first's size: where the first map is stronger it is positive. With both tops 1 it
 * is the plain difference, in the maps' own unit.
 */
export function difference(first: Heat, second: Heat, firstTop = 1, secondTop = 1): Heat {
  const other = resized(second, first.h, first.w);
  return { ...first, values: first.values.map((value, i) => value / firstTop - other.values[i]! / secondTop) };
}

/** The `quantile` of |values| without NaN, interpolated linearly; their maximum where that is zero, 1 where all are zero. */
export function limit(heat: Heat, quantile = 0.995): number {
  const sizes = heat.values.filter((value) => !Number.isNaN(value)).map(Math.abs).sort();
  if (!sizes.length) return 1;
  const place = quantile * (sizes.length - 1);
  const [low, high] = [sizes[Math.floor(place)]!, sizes[Math.ceil(place)]!];
  return low + (place - Math.floor(place)) * (high - low) || sizes.at(-1)! || 1;
}
