// Numbers and lengths as people read them.

import type { Finite, Layer } from "./format";

/** Three significant digits, a true minus sign, a dash for what is not finite. */
export function number(value: Finite | undefined): string {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  if (value === 0) return "0";
  const size = Math.abs(value);
  const text = size >= 1e6 || size < 1e-4 ? value.toExponential(1) : value.toFixed(Math.max(0, 2 - Math.floor(Math.log10(size))));
  return text.replaceAll("-", "−");
}

/** Two decimals: what has a scale of its own, as correlations and z have. */
export const fixed = (value: Finite) => (value === null ? "–" : value.toFixed(2).replace(/^-0\.00$/, "0.00").replace("-", "−"));

/** A score under a small picture: two digits where there are zeros before them. */
export const score = (value: number) => (value !== 0 && Math.abs(value) < 0.1 && Math.abs(value) >= 1e-3 ? number(Number(value.toPrecision(2))).replace(/0$/, "") : number(value));

/** 0.347 as 34.7 %. */
export const percent = (share: Finite | undefined) =>
  share === null || share === undefined ? "–" : `${(share * 100).toFixed(1)} %`;

/** 20000 as 20,000. */
export const count = (value: number) => value.toLocaleString("en-US");

export const capital = (text: string) => text.charAt(0).toUpperCase() + text.slice(1);

export const plural = (value: number, one: string, many = `${one}s`) => `${count(value)} ${value === 1 ? one : many}`;

export const grid = (layer: Layer) => (layer.grid[0] * layer.grid[1] === 1 ? "1" : `${layer.grid[0]} × ${layer.grid[1]}`);

/** The receptive field in px of what the network sees, "all" where it covers that. */
export function field(layer: Layer, size: number): string {
  if (layer.receptive_field === null) return "–";
  return layer.receptive_field >= size ? "all" : `${count(layer.receptive_field)} px`;
}

export const tap = (layer: Layer) =>
  layer.tap === "pre-activation" ? "before its activation function" : layer.signed ? "its output, with signs" : "its output";

/** Does a text hold all words of a query, whatever their case? */
export function holds(text: string, query: string): boolean {
  const low = text.toLowerCase();
  return query.toLowerCase().split(/\s+/).every((word) => low.includes(word));
}
