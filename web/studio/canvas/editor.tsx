// The picture, edited by hand: what if this were not there? Erase, blur, paint or paste, with pointer, finger or keyboard.

import { useEffect, useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";
import { Choice } from "../../shared/parts";
import { rgb } from "./colours";
import { useDrawing } from "./drawing";
import type { Fill, Point, Rect } from "./edits";
import { between, blurring, GREY, meanColour } from "./edits";
import { Marks } from "./marks";
import { asPng, fitted } from "./pixels";
import { Work } from "./work";

export const LONGEST_PX = 1024;
const PAUSE_MS = 120;
const [THINNEST, WIDEST] = [1, 40]; // a brush's width, in % of the picture's longer side

export interface EditorProps {
  picture: ImageData;
  /** What the picture is, in words. */
  label: string;
  /**
   * The work copy as a PNG of at most 1024 px on its longer side: once at first, as it came, and then whenever drawing pauses for
   * 120 ms. `edited` says whether any pixel differs from what came.
   */
  onEdited: (png: Blob, edited: boolean) => void;
  /** From `workOn(picture)`, to keep the strokes and what can be undone while the editor is not on the page. */
  work?: Work | undefined;
  /** Pixels changed just now: what is known about the picture is out of date. */
  onStroke?: (() => void) | undefined;
}

type Tool = "erase" | "blur" | "paint" | "paste";
const TOOLS: Record<Tool, string> = { erase: "Erase", blur: "Blur", paint: "Paint", paste: "Paste" };

interface Settings {
  tool: Tool;
  /** What erasing leaves. */
  fill: "mean" | "grey";
  colour: string;
  /** The brush's width in % of the picture's longer side. */
  width: number;
}

/** Another picture begins anew. */
export const Editor = (props: EditorProps) => <Session key={numberOf(props.picture)} {...props} />;

const numbers = new WeakMap<ImageData, number>();
let counted = 0;
function numberOf(picture: ImageData): number {
  if (!numbers.has(picture)) numbers.set(picture, counted++);
  return numbers.get(picture)!;
}

function Session({ picture, label, onEdited, onStroke, ...given }: EditorProps) {
  const [work] = useState(() => given.work ?? workOn(picture));
  const [settings, set] = useState<Settings>({ tool: "erase", fill: "mean", colour: "#d94d3d", width: 12 });
  const [before, setBefore] = useState(false);
  const [version, changed] = useVersion(work, onEdited);
  const { width: w, height: h } = work.unedited;
  const edited = work.edited;
  const radius = Math.max(1, (settings.width / 200) * Math.max(w, h));
  const change = (step: () => void) => {
    step();
    setBefore(false);
    changed();
    onStroke?.();
  };
  const { corner, clip, ...hand } = useHand(work, settings, radius, change);
  const { frame, cursor, pen } = useDrawing({
    ...hand,
    h,
    w,
    step: radius / 2,
    undo: () => change(() => work.undo()),
    redo: () => change(() => work.redo()),
    widen: (factor) => set({ ...settings, width: Math.min(WIDEST, Math.max(THINNEST, settings.width * factor)) }),
  });
  const canvas = useRef<HTMLCanvasElement>(null);
  useLayoutEffect(() => canvas.current!.getContext("2d")!.putImageData(before ? work.unedited : work.pixels, 0, 0), [version, before]);
  return (
    <section class="editor" aria-label={`Edit ${label}`}>
      <Tools settings={settings} set={(next) => (hand.drop(), set(next))} clip={clip} drop={hand.drop} brush_px={2 * radius} />
      <div class="surface drawn" ref={frame} tabIndex={0} role="application" aria-label="Arrow keys move the brush, Space presses and lifts it, Control Z undoes." style={{ aspectRatio: `${w} / ${h}` }}>
        <canvas ref={canvas} width={w} height={h} role="img" aria-label={`${label}, ${before || !edited ? "as it came" : "edited"}`} />
        <Marks h={h} w={w} cursor={cursor} radius={settings.tool === "paste" ? 0 : radius} corner={corner} clip={clip} pressed={pen || work.drawing} />
        {before && <p class="said">as it came</p>}
      </div>
      <div class="tools">
        <button type="button" disabled={!work.canUndo} onClick={() => change(() => work.undo())}>Undo</button>
        <button type="button" disabled={!work.canRedo} onClick={() => change(() => work.redo())}>Redo</button>
        <button type="button" disabled={!edited} onClick={() => change(() => work.reset())}>Start over</button>
        <button type="button" disabled={!edited} aria-pressed={before} aria-label="Before: show the picture as it came" onClick={() => setBefore(!before)}>Before</button>
      </div>
      <p class="note">
        <span role="status">{advice(settings.tool, corner, clip)}</span> <span class="keys">{KEYS}</span>
      </p>
    </section>
  );
}

interface ToolsProps {
  settings: Settings;
  set: (settings: Settings) => void;
  clip: Rect | null;
  drop: () => void;
  brush_px: number;
}

function Tools({ settings, set, clip, drop, brush_px }: ToolsProps) {
  const { tool, fill, colour, width } = settings;
  const with_ = (change: Partial<Settings>) => set({ ...settings, ...change });
  return (
    <div class="tools">
      <Choice label="Tool" value={tool} of={TOOLS} set={(next) => with_({ tool: next })} />
      <div class="options">
        {tool === "erase" && <Choice label="Erase with" value={fill} of={{ mean: "Mean colour", grey: "Grey" }} set={(next) => with_({ fill: next })} />}
        {tool === "paint" && <label class="slide">Colour <input type="color" value={colour} onInput={(event) => with_({ colour: event.currentTarget.value })} /></label>}
        {tool === "paste" && <button type="button" disabled={!clip} onClick={drop}>Copy another part</button>}
        {tool !== "paste" && (
          <label class="slide">
            Brush <input type="range" min={THINNEST} max={WIDEST} step="any" value={width} aria-valuetext={`${Math.round(brush_px)} px wide`} onInput={(event) => with_({ width: Number(event.currentTarget.value) })} />
          </label>
        )}
      </div>
    </div>
  );
}

const KEYS = "Keyboard: arrow keys move, Space presses and lifts, [ and ] change the brush, Escape gives up.";

/** What the next touch does, in words. */
function advice(tool: Tool, corner: Point | null, clip: Rect | null): string {
  if (tool !== "paste") return "Draw on the picture.";
  if (clip) return "Press where the copy goes, as often as you like.";
  return corner ? "Draw on to the opposite corner." : "Draw a rectangle around what is to be copied.";
}

/** Counts the changes of a picture, and tells it once drawing pauses. */
function useVersion(work: Work, onEdited: EditorProps["onEdited"]): [version: number, changed: () => void] {
  const [version, set] = useState(0);
  const tell = useRef(onEdited);
  tell.current = onEdited;
  useEffect(() => {
    let wanted = true;
    const write = () => void asPng(work.pixels).then((png) => wanted && tell.current(png, work.edited));
    const timer = setTimeout(write, version ? PAUSE_MS : 0);
    return () => {
      wanted = false;
      clearTimeout(timer);
    };
  }, [version]);
  return [version, () => set((now) => now + 1)];
}

/** What pressing, dragging and lifting mean for the chosen tool. */
function useHand(work: Work, { tool, fill, colour }: Settings, radius: number, change: (step: () => void) => void) {
  const [corner, setCorner] = useState<Point | null>(null);
  const [clip, setClip] = useState<Rect | null>(null);
  const [, render] = useState({});
  const mean = useMemo(() => meanColour(work.unedited), [work]);
  const longer = Math.max(work.unedited.width, work.unedited.height);
  const filling = (pixels: ImageData): Fill => {
    if (tool === "blur") return blurring(pixels, longer / 40);
    const flat = tool === "paint" ? rgb(colour) : fill === "grey" ? GREY : mean;
    return (_x, _y, c) => flat[c]!;
  };
  const press = (at: Point) => {
    if (tool !== "paste") return change(() => (work.begin(filling), work.extend(at, at, radius)));
    if (clip) return change(() => work.paste(clip, at));
    setCorner(at);
  };
  const drag = (from: Point, to: Point) => {
    if (work.drawing) change(() => work.extend(from, to, radius));
  };
  const lift = (at: Point) => {
    work.end();
    render({}); // there is more to undo
    if (!corner) return;
    const far = Math.max(Math.abs(at[0] - corner[0]), Math.abs(at[1] - corner[1])) > longer / 100;
    setClip(far ? between(corner, at, work.unedited) : null);
    setCorner(null);
  };
  const drop = () => {
    work.end();
    setCorner(null);
    setClip(null);
  };
  return { corner, clip, press, drag, lift, drop };
}

/** The work copy of a picture: at most 1024 px on its longer side. */
export function workOn(picture: ImageData): Work {
  const scale = Math.min(1, LONGEST_PX / Math.max(picture.width, picture.height));
  return new Work(fitted(picture, Math.max(1, Math.round(scale * picture.height)), Math.max(1, Math.round(scale * picture.width))));
}
