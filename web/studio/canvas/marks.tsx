// What the hand is about to do, drawn over the picture: the brush's ring, a rectangle, the copy's outline.

import type { Point, Rect } from "./edits";
import { between } from "./edits";

interface MarksProps {
  h: number;
  w: number;
  cursor: Point | null;
  /** The brush's; 0: no brush, a cross. */
  radius: number;
  /** Where a rectangle was begun. */
  corner: Point | null;
  /** The rectangle that is pasted. */
  clip: Rect | null;
  pressed: boolean;
}

export function Marks({ h, w, cursor, radius, corner, clip, pressed }: MarksProps) {
  const begun = corner && cursor && between(corner, cursor, { width: w, height: h });
  const copy = clip && cursor && { x: cursor[0] - clip.w / 2, y: cursor[1] - clip.h / 2, w: clip.w, h: clip.h };
  return (
    <svg class={pressed ? "marks pressed" : "marks"} viewBox={`0 0 ${w} ${h}`} aria-hidden="true">
      {begun && <Box of={begun} />}
      {clip && <Box of={clip} kind="from" />}
      {copy && <Box of={copy} />}
      {cursor && radius > 0 && ["dark", "light"].map((tone) => <circle key={tone} class={tone} cx={cursor[0]} cy={cursor[1]} r={radius} vector-effect="non-scaling-stroke" />)}
    </svg>
  );
}

const Box = ({ of: { x, y, w, h }, kind = "" }: { of: Rect; kind?: string }) => (
  <>
    <rect class={`dark ${kind}`} x={x} y={y} width={w} height={h} vector-effect="non-scaling-stroke" />
    <rect class={`light ${kind}`} x={x} y={y} width={w} height={h} vector-effect="non-scaling-stroke" />
  </>
);
