// Small pictures of results for the history and the pins.

import { colorized } from "./canvas/colours";
import { decoded } from "./canvas/maps";
import type { MapData, Reduce } from "./canvas/maps";
import { loaded } from "./canvas/pixels";
import type { Result } from "./types";

const SIDE = 72;

function drawn(source: CanvasImageSource, smooth: boolean): string {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [SIDE, SIDE];
  const brush = canvas.getContext("2d")!;
  brush.imageSmoothingEnabled = smooth;
  brush.drawImage(source, 0, 0, SIDE, SIDE);
  return canvas.toDataURL("image/webp", 0.7);
}

function ofMap(map: MapData, reduce: Reduce): string {
  const pixels = colorized(decoded(map), reduce, map.top);
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [pixels.width, pixels.height];
  canvas.getContext("2d")!.putImageData(pixels, 0, 0);
  return drawn(canvas, true);
}

async function ofPicture(address: string): Promise<string> {
  return drawn((await loaded(address)).source, true);
}

/** A result as a thumbnail; "" where there is nothing to draw. */
export async function thumbnail({ value }: Result): Promise<string> {
  try {
    if (value.type === "maps" && value.maps[0]?.map) return ofMap(value.maps[0].map, value.reduce);
    if (value.type === "channels") return ofMap(value.layers[0]!.pictures[0]![0]!.map, value.layers[0]!.signed ? "sum" : "positive");
    if (value.type === "pictures" && value.pictures[0]) return await ofPicture(value.pictures[0]);
    if (value.type === "figure") return await ofPicture(value.picture);
  } catch {
    // a result without a picture is known by its words
  }
  return "";
}
