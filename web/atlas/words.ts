// What the atlas says of a layer, and numbers that have a place of their own.

import { count, number } from "../shared/words";
import type { Finite, Layer } from "./format";

/** Two decimals: what has a scale of its own, as correlations and z have. */
export const fixed = (value: Finite) => (value === null ? "–" : value.toFixed(2).replace(/^-0\.00$/, "0.00").replace("-", "−"));

/** A score under a small picture: two digits where there are zeros before them. */
export const score = (value: number) => (value !== 0 && Math.abs(value) < 0.1 && Math.abs(value) >= 1e-3 ? number(Number(value.toPrecision(2))).replace(/0$/, "") : number(value));

export const grid = (layer: Layer) => (layer.grid[0] * layer.grid[1] === 1 ? "1" : `${layer.grid[0]} × ${layer.grid[1]}`);

/** The receptive field in px of what the network sees, "all" where it covers that. */
export function field(layer: Layer, size: number): string {
  if (layer.receptive_field === null) return "–";
  return layer.receptive_field >= size ? "all" : `${count(layer.receptive_field)} px`;
}

export const tap = (layer: Layer) =>
  layer.tap === "pre-activation" ? "before its activation function" : layer.signed ? "its output, with signs" : "its output";
