// A picture on a canvas as sharp as the screen allows, with zoom, a reading cross, and words for who does not see it.

import type { ComponentChildren } from "preact";
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { useGestures } from "./gestures";
import type { Place } from "./maps";
import type { View } from "./zoom";
import { pointOf, WHOLE, zoomed } from "./zoom";

/** Anything that a canvas draws, and its size in px. */
export interface Drawable {
  source: CanvasImageSource;
  h: number;
  w: number;
}

/** Pixels as something that is drawn scaled. */
export function drawable(pixels: ImageData): Drawable {
  const source = document.createElement("canvas");
  [source.width, source.height] = [pixels.width, pixels.height];
  source.getContext("2d")!.putImageData(pixels, 0, 0);
  return { source, h: pixels.height, w: pixels.width };
}

interface SurfaceProps {
  image: Drawable | null;
  size: [h: number, w: number];
  smooth: boolean;
  view?: View | undefined;
  onView?: ((view: View) => void) | undefined;
  /** What the picture shows, in words. */
  label: string;
  place?: Place | null;
  onPlace?: ((place: Place | null, byKeys: boolean) => void) | undefined;
  home?: Place | null;
  children?: ComponentChildren;
}

const KEYS = "Arrow keys move the reading cross, Home goes to the strongest place; plus, minus and 0 zoom.";
const ZOOM_KEYS = "Plus, minus and 0 zoom.";

export function Surface({ image, size: [h, w], smooth, view = WHOLE, onView, label, place = null, onPlace, home = null, children }: SurfaceProps) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const { frame, dragging } = useGestures({ h, w, view, onView, place, onPlace, home });
  const [width, ratio] = useWidth(frame);

  useLayoutEffect(() => {
    if (canvas.current && width) draw(canvas.current, image, { h, w, view, place, smooth, ratio });
  }, [image, h, w, view.x, view.y, view.zoom, place?.row, place?.column, smooth, width, ratio]);

  const hand = view.zoom > 1 ? (dragging ? "grabbing" : "grab") : onPlace ? "crosshair" : "default";
  return (
    <div
      class="surface"
      ref={frame}
      {...((onView || onPlace) && { role: "application" as const, tabIndex: 0, "aria-label": onPlace ? KEYS : ZOOM_KEYS })}
      style={{ aspectRatio: `${w} / ${h}`, cursor: hand, touchAction: !onView ? "auto" : view.zoom > 1 ? "none" : "pan-y" }}
    >
      <canvas ref={canvas} role="img" aria-label={label} />
      {children}
      {onView && <ZoomButtons view={view} onView={onView} />}
    </div>
  );
}

function ZoomButtons({ view, onView }: { view: View; onView: (view: View) => void }) {
  return (
    <span class={view.zoom > 1 ? "zoom on" : "zoom"} title="Or click the picture and turn the wheel, pinch, or double-click">
      {view.zoom > 1 && <button type="button" onClick={() => onView(WHOLE)}>Whole</button>}
      <button type="button" aria-label="Smaller" disabled={view.zoom <= 1} onClick={() => onView(zoomed(view, 1 / 1.5))}>−</button>
      <button type="button" aria-label="Larger" onClick={() => onView(zoomed(view, 1.5))}>+</button>
    </span>
  );
}

/** An element's width in CSS px and the screen's pixels per CSS px, followed while they change. */
function useWidth(element: { current: HTMLElement | null }): [width: number, ratio: number] {
  const [now, set] = useState<[number, number]>([0, 1]);
  useEffect(() => {
    const watch = new ResizeObserver(() => element.current && set([element.current.clientWidth, devicePixelRatio || 1]));
    watch.observe(element.current!);
    return () => watch.disconnect();
  }, []);
  return now;
}

interface Shown {
  h: number;
  w: number;
  view: View;
  place: Place | null;
  smooth: boolean;
  ratio: number;
}

function draw(canvas: HTMLCanvasElement, image: Drawable | null, { h, w, view, place, smooth, ratio }: Shown) {
  const [across, down] = [canvas.clientWidth, canvas.clientHeight].map((px) => Math.max(1, Math.round(px * ratio))) as [number, number];
  if (canvas.width !== across || canvas.height !== down) [canvas.width, canvas.height] = [across, down];
  const brush = canvas.getContext("2d")!;
  brush.clearRect(0, 0, across, down);
  if (!image) return;
  const scale = (view.zoom * across) / image.w;
  brush.imageSmoothingEnabled = smooth || scale < 3; // single pixels are blocks once they are large enough to be looked at
  brush.imageSmoothingQuality = "high";
  const [left, upper] = [view.x - 0.5 / view.zoom, view.y - 0.5 / view.zoom];
  brush.drawImage(image.source, -left * view.zoom * across, -upper * view.zoom * down, view.zoom * across, view.zoom * down);
  if (place) cross(brush, pointOf(view, place, h, w), across, down, ratio);
}

/** Two thin lines with a gap, light on dark, so that they are seen on every picture and hide nothing. */
function cross(brush: CanvasRenderingContext2D, [u, v]: [number, number], across: number, down: number, ratio: number) {
  const [x, y, gap, arm] = [u * across, v * down, 4 * ratio, 14 * ratio];
  for (const [colour, thick] of [["rgb(0 0 0 / 0.75)", 3.5], ["#fff", 1.5]] as const) {
    brush.beginPath();
    for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]] as const) {
      brush.moveTo(x + dx * gap, y + dy * gap);
      brush.lineTo(x + dx * arm, y + dy * arm);
    }
    brush.strokeStyle = colour;
    brush.lineWidth = thick * ratio;
    brush.lineCap = colour === "#fff" ? "butt" : "round";
    brush.stroke();
  }
}
