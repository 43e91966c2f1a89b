// Wheel, pinch, drag, tap and keys on a view.
//
// The wheel zooms with Ctrl or ⌘ (a trackpad's pinch sends these), and alone once the view was clicked: else it scrolls the page.

import { useEffect, useRef, useState } from "preact/hooks";
import type { Place } from "./maps";
import type { View } from "./zoom";
import { inside, panned, placeAt, showing, WHOLE, zoomed } from "./zoom";

const SLACK_PX = 4; // a finger that moves less is a tap

interface Given {
  h: number;
  w: number;
  view: View;
  onView?: ((view: View) => void) | undefined;
  place: Place | null;
  /** byKeys: the place was reached with the keyboard. */
  onPlace?: ((place: Place | null, byKeys: boolean) => void) | undefined;
  /** Where the keyboard's cross begins. */
  home: Place | null;
}

type Point = [u: number, v: number];

/** Attaches all gestures to the element of the reference that it returns. */
export function useGestures(given: Given) {
  const frame = useRef<HTMLDivElement>(null);
  const now = useRef(given);
  now.current = given;
  const [dragging, setDragging] = useState(false);

  useEffect(() => {
    const element = frame.current!;
    const fingers = new Map<number, Point>();
    let moved = 0;
    const set = (view: View) => {
      now.current = { ...now.current, view };
      now.current.onView?.(view);
    };
    const pointOf = (event: MouseEvent): Point => {
      const box = element.getBoundingClientRect();
      return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
    };
    const read = ([u, v]: Point) => now.current.onPlace?.(placeAt(now.current.view, u, v, now.current.h, now.current.w), false);

    const wheel = (event: WheelEvent) => {
      if (!now.current.onView || !(event.ctrlKey || event.metaKey || document.activeElement === element)) return;
      const px = event.deltaY * (event.deltaMode === 1 ? 16 : event.deltaMode === 2 ? 400 : 1);
      const next = zoomed(now.current.view, Math.exp(-px * (event.ctrlKey ? 0.01 : 0.002)), ...pointOf(event));
      event.preventDefault();
      set(next);
    };
    const down = (event: PointerEvent) => {
      if (event.button !== 0 || (event.target as HTMLElement).closest("button")) return;
      element.setPointerCapture(event.pointerId);
      fingers.set(event.pointerId, pointOf(event));
      moved = fingers.size > 1 ? Infinity : 0;
      setDragging(true);
    };
    const move = (event: PointerEvent) => {
      const [before, at] = [fingers.get(event.pointerId), pointOf(event)];
      if (!before) return event.pointerType === "mouse" ? read(at) : undefined;
      const others = [...fingers].filter(([id]) => id !== event.pointerId).map(([, point]) => point);
      fingers.set(event.pointerId, at);
      moved += Math.hypot((at[0] - before[0]) * element.clientWidth, (at[1] - before[1]) * element.clientHeight);
      const other = others[0];
      if (other) set(pinched(now.current.view, before, at, other));
      else if (moved > SLACK_PX && now.current.view.zoom > 1) set(panned(now.current.view, at[0] - before[0], at[1] - before[1]));
    };
    const up = (event: PointerEvent) => {
      if (!fingers.delete(event.pointerId)) return;
      if (event.type === "pointerup" && moved <= SLACK_PX) read(pointOf(event));
      setDragging(fingers.size > 0);
    };
    const leave = (event: PointerEvent) => {
      if (event.pointerType === "mouse" && !fingers.size) now.current.onPlace?.(null, false);
    };
    const twice = (event: MouseEvent) => {
      if (!(event.target as HTMLElement).closest("button")) set(zoomed(now.current.view, 2, ...pointOf(event)));
    };
    const press = (event: KeyboardEvent) => pressed(event, now.current, set);
    element.addEventListener("wheel", wheel, { passive: false });
    element.addEventListener("pointerdown", down);
    element.addEventListener("pointermove", move);
    for (const end of ["pointerup", "pointercancel"] as const) element.addEventListener(end, up);
    element.addEventListener("pointerleave", leave);
    element.addEventListener("dblclick", twice);
    element.addEventListener("keydown", press);
    return () => {
      element.removeEventListener("wheel", wheel);
      element.removeEventListener("pointerdown", down);
      element.removeEventListener("pointermove", move);
      for (const end of ["pointerup", "pointercancel"] as const) element.removeEventListener(end, up);
      element.removeEventListener("pointerleave", leave);
      element.removeEventListener("dblclick", twice);
      element.removeEventListener("keydown", press);
    };
  }, []);
  return { frame, dragging };
}

/** Two fingers: the picture follows their middle and grows with their distance. */
function pinched(view: View, before: Point, at: Point, other: Point): View {
  const middle = (point: Point): Point => [(point[0] + other[0]) / 2, (point[1] + other[1]) / 2];
  const far = (point: Point) => Math.max(0.01, Math.hypot(point[0] - other[0], point[1] - other[1]));
  const [from, to] = [middle(before), middle(at)];
  return panned(zoomed(view, far(at) / far(before), ...from), to[0] - from[0], to[1] - from[1]);
}

const STEPS: Record<string, [down: number, right: number]> = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };

function pressed(event: KeyboardEvent, { view, onView, place, onPlace, home, h, w }: Given, set: (view: View) => void) {
  if (event.ctrlKey || event.metaKey || event.altKey || (event.target as HTMLElement).closest("button")) return;
  const begin = home ?? { row: Math.floor(h / 2), column: Math.floor(w / 2) };
  const go = (to: Place) => {
    onPlace?.(to, true);
    if (onView) set(showing(view, to, h, w));
  };
  const step = STEPS[event.key];
  const around = (factor: number) => onView && set(inside(zoomed(place ? { ...view, ...middleOf(place, h, w) } : view, factor)));
  if (step && onPlace) {
    const far = event.shiftKey ? 10 : 1;
    const limited = (n: number, most: number) => Math.min(most - 1, Math.max(0, n));
    go(place ? { row: limited(place.row + far * step[0], h), column: limited(place.column + far * step[1], w) } : begin);
  } else if (event.key === "Home" && onPlace) go(begin);
  else if (event.key === "Escape" && place) onPlace?.(null, true);
  else if (event.key === "+" || event.key === "=") around(1.5);
  else if (event.key === "-") around(1 / 1.5);
  else if (event.key === "0" && onView) set(WHOLE);
  else return;
  event.preventDefault();
}

const middleOf = (place: Place, h: number, w: number) => ({ x: (place.column + 0.5) / w, y: (place.row + 0.5) / h });
