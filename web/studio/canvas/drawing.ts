// A hand on a picture: pointer, finger, or arrow keys with Space, told as press, drag and lift in px of the picture.

import { useEffect, useRef, useState } from "preact/hooks";
import type { Point } from "./edits";

interface Hand {
  h: number;
  w: number;
  /** How far an arrow key moves, in px of the picture; 1 px with Shift. */
  step: number;
  press: (at: Point) => void;
  drag: (from: Point, to: Point) => void;
  lift: (at: Point) => void;
  /** Gives up what was begun. */
  drop: () => void;
  undo: () => void;
  redo: () => void;
  widen: (factor: number) => void;
}

/** `cursor`: where the hand is; `pen`: pressed by Space. The reference is for the element that holds the picture. */
export function useDrawing(hand: Hand) {
  const frame = useRef<HTMLDivElement>(null);
  const [cursor, setCursor] = useState<Point | null>(null);
  const [pen, setPen] = useState(false);
  const now = useRef({ hand, cursor, pen });
  now.current = { hand, cursor, pen };

  useEffect(() => {
    const element = frame.current!;
    let finger: number | null = null;
    let last: Point = [0, 0];
    const at = (event: PointerEvent): Point => {
      const box = element.getBoundingClientRect();
      const { h, w } = now.current.hand;
      return [((event.clientX - box.left) / box.width) * w, ((event.clientY - box.top) / box.height) * h];
    };
    const down = (event: PointerEvent) => {
      if (event.button !== 0 || finger !== null) return;
      element.setPointerCapture((finger = event.pointerId));
      setPen(false);
      setCursor((last = at(event)));
      now.current.hand.press(last);
    };
    const move = (event: PointerEvent) => {
      if (finger !== null && event.pointerId !== finger) return;
      const to = at(event);
      setCursor(to);
      if (finger !== null) now.current.hand.drag(last, to);
      last = to;
    };
    const up = (event: PointerEvent) => {
      if (event.pointerId !== finger) return;
      finger = null;
      now.current.hand.lift(at(event));
      if (event.pointerType !== "mouse") setCursor(null); // no finger is over the picture any more
    };
    const leave = (event: PointerEvent) => {
      if (finger === null && event.pointerType === "mouse") setCursor(null);
    };
    const keys = (event: KeyboardEvent) => {
      const next = pressed(event, now.current);
      if (!next) return;
      event.preventDefault();
      event.stopPropagation();
      if (next.cursor !== undefined) setCursor(next.cursor);
      if (next.pen !== undefined) setPen(next.pen);
    };
    element.addEventListener("pointerdown", down);
    element.addEventListener("pointermove", move);
    for (const end of ["pointerup", "pointercancel"] as const) element.addEventListener(end, up);
    element.addEventListener("pointerleave", leave);
    element.addEventListener("keydown", keys);
    return () => {
      element.removeEventListener("pointerdown", down);
      element.removeEventListener("pointermove", move);
      for (const end of ["pointerup", "pointercancel"] as const) element.removeEventListener(end, up);
      element.removeEventListener("pointerleave", leave);
      element.removeEventListener("keydown", keys);
    };
  }, []);
  return { frame, cursor, pen };
}

const ARROWS: Record<string, Point> = { ArrowUp: [0, -1], ArrowDown: [0, 1], ArrowLeft: [-1, 0], ArrowRight: [1, 0] };

interface Moment {
  hand: Hand;
  cursor: Point | null;
  pen: boolean;
}

/** What a key did to the hand; null: it is not one of its keys. */
function pressed(event: KeyboardEvent, { hand, cursor, pen }: Moment): Partial<Moment> | null {
  const from: Point = cursor ?? [hand.w / 2, hand.h / 2];
  const arrow = ARROWS[event.key];
  if (event.altKey) return null;
  if (event.ctrlKey || event.metaKey) {
    const key = event.key.toLowerCase();
    if (key !== "z" && key !== "y") return null;
    (key === "y" || event.shiftKey ? hand.redo : hand.undo)();
    return { pen: false };
  }
  if (arrow) {
    const far = event.shiftKey ? 1 : Math.max(1, hand.step);
    const within = (place: number, n: number) => Math.min(n, Math.max(0, place));
    const to: Point = cursor ? [within(from[0] + far * arrow[0], hand.w), within(from[1] + far * arrow[1], hand.h)] : from;
    if (pen) hand.drag(from, to);
    return { cursor: to };
  }
  if (event.key === " ") {
    (pen ? hand.lift : hand.press)(from);
    return { cursor: from, pen: !pen };
  }
  if (event.key === "Escape") hand.drop();
  else if (event.key === "[" || event.key === "]") hand.widen(event.key === "]" ? 1.25 : 0.8);
  else return null;
  return event.key === "Escape" ? { pen: false } : {};
}
