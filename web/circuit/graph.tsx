// The graph: nodes are buttons in columns, or in rows on a phone; the lines between them are measured and drawn behind.

import type { TargetedPointerEvent } from "preact";
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { circuit, score } from "./format";
import type { Change, State } from "./state";
import { grouped, pinned } from "./state";
import type { Item, Line, View } from "./view";

const THIN = 1;
const THICK = 6;
const TALL = 9; // nodes above each other
const MOVED_PX = 6; // a press that moves farther is a drag

interface Path {
  line: Line;
  d: string;
}

type Box = { left: number; right: number; top: number; bottom: number };

export function Graph({ view, state, change }: { view: View; state: State; change: Change }) {
  const frame = useRef<HTMLDivElement>(null);
  const [paths, set] = useState<Path[]>([]);
  useLayoutEffect(() => {
    const measure = () => set(measured(frame.current!, view));
    measure();
    const watch = new ResizeObserver(measure);
    watch.observe(frame.current!);
    return () => watch.disconnect();
  }, [view]);
  useEffect(() => {
    requestAnimationFrame(() => frame.current?.parentElement?.scrollTo({ left: 1e6 })); // the score, where reading begins
  }, []);
  useEffect(() => {
    frame.current!.querySelector('[aria-pressed="true"]')?.scrollIntoView({ block: "nearest", inline: "nearest" }); // not under the panel
  }, [state.select]);
  const touches = (line: Line) => line.source === state.select || line.target === state.select;
  const look = (line: Line) => [line.excites ? "excites" : "inhibits", line.confirmed ? "" : "unsure", state.select && (touches(line) ? "on" : "off")];
  return (
    <div class="graph scroll" tabIndex={0} role="region" aria-label="The graph">
      <div class="frame" ref={frame}>
        <svg class="lines" aria-hidden="true">
          <defs>
            <marker id="arrow" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="10" markerHeight="10" markerUnits="userSpaceOnUse" orient="auto">
              <path d="M0 0.5 10 5 0 9.5z" />
            </marker>
            <marker id="bar" viewBox="0 0 4 14" refX="2" refY="7" markerWidth="4" markerHeight="14" markerUnits="userSpaceOnUse" orient="auto">
              <path d="M0.5 0h3v14h-3z" />
            </marker>
          </defs>
          {paths.map(({ line, d }) => (
            <path
              key={`${line.source} ${line.target}`}
              class={look(line).filter(Boolean).join(" ")}
              d={d}
              stroke-width={THIN + (THICK - THIN) * line.share}
              marker-end={`url(#${line.excites ? "arrow" : "bar"})`}
            />
          ))}
        </svg>
        <ol class="columns">
          {view.columns.map((column, i) => (
            <li key={i} class="column">
              {column.map(({ layer, items }) => (
                <section key={layer} aria-label={layer || "score"}>
                  <p class="layer" title={layer}>{layer || "score"}</p>
                  <ul style={`--side-by-side: ${beside(items.length)}`}>
                    {items.map((item, i) => (
                      <li key={item.id} style={`--shift: ${(i % beside(items.length)) / beside(items.length)}`}>
                        <Tile item={item} view={view} state={state} change={change} />
                      </li>
                    ))}
                  </ul>
                </section>
              ))}
            </li>
          ))}
        </ol>
      </div>
    </div>
  );
}

/** Nodes of one layer that stand side by side, so that a graph fits on a screen. */
const beside = (nodes: number) => Math.ceil(nodes / TALL);

// --- one node

function Tile({ item, view, state, change }: { item: Item; view: View; state: State; change: Change }) {
  const [at, move] = useState<{ x: number; y: number } | null>(null);
  const start = useRef<{ x: number; y: number } | null>(null);
  const dragged = useRef(false);
  const node = item.members[0]!;
  const alone = item.members.length === 1;
  const held = alone && state.pins.includes(node);
  const pin = () => alone && node !== score && change({ pins: pinned(state, node) });
  const click = (event: MouseEvent) => {
    if (dragged.current) return;
    if (event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) pin();
    else change({ select: state.select === item.id ? "" : item.id });
  };
  const press = (event: KeyboardEvent) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "p") pin();
    const next = neighbour(view, item.id, event.key);
    if (!next) return;
    event.preventDefault();
    document.querySelector<HTMLElement>(`[data-id="${next}"]`)?.focus();
  };
  const drag = {
    onPointerDown: (event: TargetedPointerEvent<HTMLButtonElement>) => {
      dragged.current = false;
      if (!held || event.button) return;
      start.current = { x: event.clientX, y: event.clientY };
      event.currentTarget.setPointerCapture(event.pointerId);
    },
    onPointerMove: (event: PointerEvent) => {
      if (!start.current) return;
      const to = { x: event.clientX - start.current.x, y: event.clientY - start.current.y };
      if (dragged.current || Math.hypot(to.x, to.y) > MOVED_PX) {
        dragged.current = true;
        move(to);
      }
    },
    onPointerUp: (event: PointerEvent) => {
      start.current = null;
      move(null);
      const over = dragged.current && document.elementsFromPoint(event.clientX, event.clientY)
        .map((one) => one.closest<HTMLElement>("[data-id]")?.dataset.id).find((id) => id && id !== item.id);
      const onto = over ? view.items.get(over) : undefined;
      if (onto && !onto.members.includes(score)) change(grouped(state, [...onto.members, node], ""));
    },
    onPointerCancel: () => {
      start.current = null;
      move(null);
    },
  };
  const style = at ? `transform: translate(${at.x}px, ${at.y}px); z-index: 4` : "";
  return (
    <button
      type="button"
      data-id={item.id}
      class={`node ${at ? "dragged " : ""}${alone ? circuit.nodes[node]!.kind : "group"} ${held ? "held" : ""}`}
      aria-pressed={state.select === item.id}
      aria-label={item.name + (held ? ", pinned" : "")}
      title={item.name}
      style={style}
      onClick={click}
      onKeyDown={press}
      {...drag}
    >
      <Face item={item} />
      <span class="label">{item.label}</span>
    </button>
  );
}

/** The picture of a node: what it wants to see, or else where it answers most; up to four of a group. */
function Face({ item }: { item: Item }) {
  const pictures = item.members.slice(0, 4).flatMap((node) => face(node) ?? []);
  if (item.members.includes(score)) return null;
  if (!pictures.length) return <span class="face none" aria-hidden="true" />;
  return (
    <span class={`face ${item.members.length > 1 ? "many" : circuit.looks.pictures[item.members[0]!] ? "" : "photo"}`}>
      {pictures.map((source) => <img src={source} alt="" draggable={false} />)}
    </span>
  );
}

export const face = (node: number): string | undefined =>
  circuit.looks.pictures[node] ?? circuit.looks.examples.find((one) => one.node === node)?.crop;

/** Left and right follow the strongest line; up and down go through the column. */
function neighbour(view: View, id: string, key: string): string | undefined {
  const best = (lines: Line[]) => lines.sort((a, b) => b.share - a.share)[0];
  if (key === "ArrowLeft") return best(view.lines.filter((line) => line.target === id))?.source;
  if (key === "ArrowRight") return best(view.lines.filter((line) => line.source === id))?.target;
  if (key !== "ArrowUp" && key !== "ArrowDown") return undefined;
  const column = view.columns.map((parts) => parts.flatMap((part) => part.items)).find((items) => items.some((one) => one.id === id)) ?? [];
  return column[column.findIndex((one) => one.id === id) + (key === "ArrowUp" ? -1 : 1)]?.id;
}

// --- lines

function measured(frame: HTMLElement, view: View): Path[] {
  const origin = frame.getBoundingClientRect();
  const across = getComputedStyle(frame.querySelector(".columns")!).flexDirection === "row";
  const boxes = new Map<string, Box>();
  for (const one of frame.querySelectorAll<HTMLElement>("[data-id]")) {
    const box = (one.querySelector(".face") ?? one).getBoundingClientRect();
    const whole = one.getBoundingClientRect();
    const found = { left: box.left - origin.left, right: box.right - origin.left, top: whole.top - origin.top, bottom: (across ? box : whole).bottom - origin.top };
    boxes.set(one.dataset.id!, found);
  }
  const middle = (box: Box) => (across ? box.top + box.bottom : box.left + box.right) / 2;
  const ends = spread(view.lines, "target", (line) => middle(boxes.get(line.source)!));
  const starts = spread(view.lines, "source", (line) => middle(boxes.get(line.target)!));
  return [...view.lines].sort((a, b) => a.share - b.share).map((line) => {
    const [from, to] = [boxes.get(line.source)!, boxes.get(line.target)!];
    const begin: [number, number] = across ? [from.right, middle(from) + starts.get(line)!] : [from.bottom, middle(from) + starts.get(line)!];
    const end: [number, number] = across ? [to.left - 2, middle(to) + ends.get(line)!] : [to.top - 2, middle(to) + ends.get(line)!];
    return { line, d: curve(begin, end, across) };
  });
}

/** Lines at the same node lie beside each other, in the order of where they come from. */
function spread(lines: Line[], end: "source" | "target", place: (line: Line) => number): Map<Line, number> {
  const found = new Map<Line, number>();
  for (const id of new Set(lines.map((line) => line[end]))) {
    const here = lines.filter((line) => line[end] === id).sort((a, b) => place(a) - place(b));
    const step = Math.min(9, 44 / here.length);
    here.forEach((line, i) => found.set(line, (i - (here.length - 1) / 2) * step));
  }
  return found;
}

/** A curve that leaves and arrives along the direction of reading: from (along, side) to (along, side). */
function curve([a, u]: [number, number], [b, v]: [number, number], across: boolean): string {
  const pull = Math.max(28, (b - a) / 2);
  const point = (along: number, side: number) => (across ? [along, side] : [side, along]).map((x) => x.toFixed(1)).join(" ");
  return `M${point(a, u)}C${point(a + pull, u)},${point(b - pull, v)},${point(b, v)}`;
}
