// Pixels from files, blobs and addresses, at the size that is wanted.

import type { Drawable } from "./surface";

/** A picture from a data or blob address. */
export async function loaded(address: string): Promise<Drawable> {
  const source = new Image();
  source.src = address;
  await source.decode();
  return { source, h: source.naturalHeight, w: source.naturalWidth };
}

/** A blob's pixels; not more than `longest` px on its longer side. Transparent places become white. */
export async function pixelsOf(blob: Blob, longest = Infinity): Promise<ImageData> {
  const bitmap = await createImageBitmap(blob);
  const scale = Math.min(1, longest / Math.max(bitmap.width, bitmap.height));
  const pixels = scaled(bitmap, Math.max(1, Math.round(bitmap.height * scale)), Math.max(1, Math.round(bitmap.width * scale)));
  bitmap.close();
  return pixels;
}

/** Pixels at another size. */
export function fitted(pixels: ImageData, h: number, w: number): ImageData {
  if (pixels.height === h && pixels.width === w) return pixels;
  const source = document.createElement("canvas");
  [source.width, source.height] = [pixels.width, pixels.height];
  source.getContext("2d")!.putImageData(pixels, 0, 0);
  return scaled(source, h, w);
}

function scaled(source: CanvasImageSource, h: number, w: number): ImageData {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [w, h];
  const brush = canvas.getContext("2d", { willReadFrequently: true })!;
  brush.fillStyle = "#fff";
  brush.fillRect(0, 0, w, h);
  brush.imageSmoothingQuality = "high";
  brush.drawImage(source, 0, 0, w, h);
  return brush.getImageData(0, 0, w, h);
}

/** Pixels as a PNG, so that every pixel arrives as it is. */
export const asPng = (pixels: ImageData): Promise<Blob> => {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [pixels.width, pixels.height];
  canvas.getContext("2d")!.putImageData(pixels, 0, 0);
  return new Promise((done, failed) => canvas.toBlob((blob) => (blob ? done(blob) : failed(new Error("the picture could not be written"))), "image/png"));
};
