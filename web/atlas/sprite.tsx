// Tiles of sprite sheets, drawn as backgrounds in per cent, so that a tile takes any size its place has.

import type { CSSProperties } from "preact";
import { index } from "./data";
import type { Example, Layer, Sprite } from "./format";

/** A square of a tile: its left and top edge and its side, in sides of the tile. */
export interface Part {
  left: number;
  top: number;
  side: number;
}

/** The background that shows `part` of tile `number`. */
export function background(sprite: Sprite, number: number, part?: Part): CSSProperties {
  const each = sprite.columns * sprite.rows;
  const place = number % each;
  const sheet = sprite.sheets[Math.floor(number / each)];
  if (sheet === undefined) return {};
  const edge = 0.5 / sprite.tile; // half a px less on each side, or scaling draws the neighbors in
  const { left, top, side } = part ?? { left: edge, top: edge, side: 1 - 2 * edge };
  // p per cent puts p of the sheet at p of the box: offset = p * (sheet - box)
  const at = (offset: number, tiles: number) => (tiles > side ? (100 * offset) / (tiles - side) : 0);
  return {
    backgroundImage: `url("${sheet}")`,
    backgroundSize: `${(100 * sprite.columns) / side}% ${(100 * sprite.rows) / side}%`,
    backgroundPosition: `${at((place % sprite.columns) + left, sprite.columns)}% ${at(Math.floor(place / sprite.columns) + top, sprite.rows)}%`,
  };
}

/** The square around the place where a unit of `layer` fired, as large as its receptive field but a quarter at least. */
export function fired(layer: Layer, [, , row, column]: Example): Part {
  const size = index().model.size;
  const side = Math.min(1, Math.max(0.25, (layer.receptive_field ?? size) / size));
  const start = (cell: number, cells: number) => Math.min(1 - side, Math.max(0, (cell + 0.5) / cells - side / 2));
  return { left: start(column, layer.grid[1]), top: start(row, layer.grid[0]), side };
}

/** One tile; with `alt` it is an image to a screen reader, without it is decoration beside words. */
export function Tile(props: { sprite: Sprite; number: number; part?: Part | undefined; alt?: string; class?: string }) {
  const { sprite, number, part, alt } = props;
  const named = alt ? { role: "img" as const, "aria-label": alt } : {};
  return <span class={`tile ${props.class ?? ""}`} style={background(sprite, number, part)} {...named} />;
}

/** A picture of the data set. */
export function Picture(props: { number: number; part?: Part | undefined; alt?: string; class?: string }) {
  return <Tile sprite={index().pictures} {...props} />;
}
