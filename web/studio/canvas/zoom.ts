// Which part of a picture a view shows. Views that are given the same `View` stay linked, whatever their sizes.

import type { Place } from "./maps";

/** The centre of what is shown, in shares of the picture (0 ... 1), and how many times larger than the whole it is. */
export interface View {
  x: number;
  y: number;
  zoom: number;
}

export const WHOLE: View = { x: 0.5, y: 0.5, zoom: 1 };
export const MOST = 32;

/** The nearest view that shows nothing outside the picture. */
export function inside({ x, y, zoom }: View): View {
  const z = Math.min(MOST, Math.max(1, zoom));
  const half = 0.5 / z;
  const within = (centre: number) => Math.min(1 - half, Math.max(half, centre));
  return { x: within(x), y: within(y), zoom: z };
}

/** Larger by `factor` around the point (u, v) of the frame, 0 ... 1 from its upper left: that point stays where it is. */
export function zoomed(view: View, factor: number, u = 0.5, v = 0.5): View {
  const zoom = Math.min(MOST, Math.max(1, view.zoom * factor));
  const shift = 1 / view.zoom - 1 / zoom;
  return inside({ x: view.x + (u - 0.5) * shift, y: view.y + (v - 0.5) * shift, zoom });
}

/** Moved with the pointer by (du, dv) of the frame. */
export const panned = (view: View, du: number, dv: number): View =>
  inside({ ...view, x: view.x - du / view.zoom, y: view.y - dv / view.zoom });

/** The picture's pixel under the point (u, v) of the frame. */
export function placeAt(view: View, u: number, v: number, h: number, w: number): Place {
  const pixel = (share: number, n: number) => Math.min(n - 1, Math.max(0, Math.floor(share * n)));
  return { row: pixel(view.y + (v - 0.5) / view.zoom, h), column: pixel(view.x + (u - 0.5) / view.zoom, w) };
}

/** Where in the frame the middle of a pixel lies; outside 0 ... 1 where it is not shown. */
export const pointOf = (view: View, place: Place, h: number, w: number): [u: number, v: number] => [
  0.5 + ((place.column + 0.5) / w - view.x) * view.zoom,
  0.5 + ((place.row + 0.5) / h - view.y) * view.zoom,
];

/** The view, moved just as far as it must be to show a place. */
export function showing(view: View, place: Place, h: number, w: number): View {
  const [u, v] = pointOf(view, place, h, w);
  const over = (share: number) => Math.max(0, share - 0.95) - Math.max(0, 0.05 - share);
  return panned(view, -over(u), -over(v));
}
