// Maps in words and numbers: for labels, the reading line, and the colour bar.

import { number } from "../../shared/words";
import type { Heat, Place, Reduce, Status } from "./maps";
import { valueAt } from "./maps";

/** Whose map it is: "Grad-CAM" for "espresso". */
export interface Label {
  method: string;
  target: string | null;
}

/** What a scale's colours mean. */
export const UNITS: Record<Reduce, string> = {
  sum: "share of the score: blue speaks against, red for",
  positive: "positive evidence, no unit",
  max_abs: "largest magnitude over the channels",
};

/** Why there is no map; the server's own words are shown instead where it sends some. */
export const WORDS: Record<Exclude<Status, "ok">, string> = {
  no_positive_evidence: "no positive evidence for this class",
  constant: "the map is constant",
  non_finite: "the map contains NaN or infinity",
};

export const title = ({ method, target }: Label) => (target ? `${method} for ${target}` : method);

/** "upper left", "centre", "bottom": the ninth of the picture in which a place lies. */
export function whereabouts({ row, column }: Place, h: number, w: number): string {
  const third = (at: number, n: number) => Math.min(2, Math.floor((3 * at) / n));
  const [down, across] = [third(row, h), third(column, w)];
  const [vertical, horizontal] = [["upper", "", "lower"][down], ["left", "", "right"][across]];
  if (!horizontal) return ["top", "centre", "bottom"][down]!;
  return `${vertical} ${horizontal}`.trim();
}

export const placed = ({ row, column }: Place) => `row ${row}, column ${column}`;

/** What a map shows, in one sentence; `at` is its strongest place. */
export function described(heat: Heat, at: Place | null, label: Label, reduce: Reduce): string {
  if (!at) return `${title(label)}: no place has a value`;
  if (!(valueAt(heat, at) > 0) && reduce === "sum" && label.target !== null) return `${title(label)}: all of the map speaks against it`;
  const where = `at the ${whereabouts(at, heat.h, heat.w)}, ${placed(at)} of ${heat.h} × ${heat.w} px`;
  return `${title(label)}: strongest ${where}, value ${number(valueAt(heat, at))}`;
}

/** "0.431 ± 0.02 at row 80, column 121". */
export function reading(place: Place, value: number, stderr: number | null): string {
  if (Number.isNaN(value)) return `${placed(place)}: the model did not see this place`;
  const error = stderr === null || Number.isNaN(stderr) ? "" : ` ± ${number(stderr)}`;
  return `${number(value)}${error} at ${placed(place)}`;
}

/** "72 % of the full colour". */
export function share(value: number, top: number): string {
  const size = Math.abs(value) / top;
  return size > 1 ? "beyond the full colour" : `${Math.round(100 * size)} % of the full colour`;
}
