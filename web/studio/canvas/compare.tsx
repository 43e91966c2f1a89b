// Up to six maps side by side: one zoom and one reading cross for all, one colour scale if wanted, the difference of two.

import { useMemo, useState } from "preact/hooks";
import type { MapData, Place, Reduce, Status } from "./maps";
import { decoded, difference, limit, resized } from "./maps";
import type { Reading } from "./mapview";
import { MapView } from "./mapview";
import type { Label } from "./words";
import type { View } from "./zoom";

export const MOST_VIEWS = 6;

/** One of the maps that are compared. */
export interface Compared {
  id: string;
  label: Label;
  /** A second line under the label: the picture, the model, the layer. */
  note?: string | undefined;
  photo: ImageData | null;
  map: MapData | null;
  reduce: Reduce;
  size: [h: number, w: number];
  status?: Status | undefined;
  words?: string | undefined;
  stderr?: MapData | null | undefined;
}

export interface CompareProps {
  items: Compared[];
  opacity: number;
  threshold: number;
  smooth: boolean;
  view: View;
  onView: (view: View) => void;
  /** One colour scale for all maps of a kind: its top is the largest of theirs. */
  shared: boolean;
  onShared: (shared: boolean) => void;
  /** Which two are subtracted: their ids, in order. */
  selected: string[];
  onSelected: (ids: string[]) => void;
  /** Takes one out. */
  onRemove?: ((id: string) => void) | undefined;
}

/** The common top of each kind of map: the largest of theirs. */
export function tops(items: Pick<Compared, "reduce" | "map">[]): Partial<Record<Reduce, number>> {
  const found: Partial<Record<Reduce, number>> = {};
  for (const { reduce, map } of items) if (map) found[reduce] = Math.max(found[reduce] ?? 0, map.top);
  return found;
}

export function Compare(props: CompareProps) {
  const { items, shared, onShared, selected, onSelected, onRemove } = props;
  const shown = items.slice(0, MOST_VIEWS);
  const common = tops(shown);
  const [at, setAt] = useState<{ x: number; y: number } | null>(null);
  const pair = selected.map((id) => shown.find((item) => item.id === id)).filter((item) => item !== undefined);
  const kinds = new Set(shown.filter(({ map }) => map).map(({ reduce }) => reduce));
  return (
    <section class="compare" aria-label="Maps side by side">
      <div class="tools">
        <label>
          <input type="checkbox" checked={shared} onChange={(event) => onShared(event.currentTarget.checked)} /> One colour scale
        </label>
        <span class="note" role="status">{advice(pair, shared, kinds.size)}</span>
      </div>
      <ul class="side-by-side" style={{ "--columns": columns(shown.length + Number(pair.length === 2 && pair[0]!.reduce === pair[1]!.reduce)) }}>
        {shown.map((item) => (
          <li key={item.id}>
            <Head item={item} selected={selected} onSelected={onSelected} onRemove={onRemove} />
            <MapView
              {...item}
              {...look(props)}
              top={shared ? common[item.reduce] : undefined}
              cross={at && placeIn(item.size, at)}
              onRead={(reading) => setAt(reading && shareOf(item.size, reading))}
            />
          </li>
        ))}
        {pair.length === 2 && <Difference pair={pair as [Compared, Compared]} props={props} at={at} setAt={setAt} />}
      </ul>
    </section>
  );
}

const look = ({ opacity, threshold, smooth, view, onView }: CompareProps) => ({ opacity, threshold, smooth, view, onView });
const placeIn = ([h, w]: [number, number], { x, y }: { x: number; y: number }): Place => ({
  row: Math.min(h - 1, Math.floor(y * h)),
  column: Math.min(w - 1, Math.floor(x * w)),
});
const shareOf = ([h, w]: [number, number], { row, column }: Place) => ({ x: (column + 0.5) / w, y: (row + 0.5) / h });

/** As few rows as leave a picture large enough. */
const columns = (views: number) => (views <= 4 ? Math.max(2, views) : Math.ceil(views / 2));

/** What can be done next, or why not. */
function advice(pair: Compared[], shared: boolean, kinds: number): string {
  if (pair.length === 2 && pair[0]!.reduce !== pair[1]!.reduce) return "These two are maps of different kinds: signed shares and evidence cannot be subtracted.";
  if (pair.length === 2) return "";
  if (pair.length === 1) return "Choose a second one to see their difference.";
  if (shared && kinds > 1) return "Signed maps and maps of evidence have a scale each.";
  return "Choose two to see their difference.";
}

interface HeadProps {
  item: Compared;
  selected: string[];
  onSelected: (ids: string[]) => void;
  onRemove: ((id: string) => void) | undefined;
}

function Head({ item: { id, label, note }, selected, onSelected, onRemove }: HeadProps) {
  const on = selected.includes(id);
  const name = `${label.method}${label.target ? ` for ${label.target}` : ""}`;
  const toggle = () => onSelected(on ? selected.filter((other) => other !== id) : [...selected.slice(-1), id]);
  return (
    <div class="head">
      <label title="Subtract: choose two">
        <input type="checkbox" checked={on} onChange={toggle} aria-label={`Take ${name} for the difference`} />
        <span>
          <span class="name">{label.method}</span>
          {label.target && <> {label.target}</>}
          {note && <span class="note">{note}</span>}
        </span>
      </label>
      {onRemove && <button type="button" aria-label={`Take out ${name}`} onClick={() => onRemove(id)}>×</button>}
    </div>
  );
}

interface DifferenceProps {
  pair: [Compared, Compared];
  props: CompareProps;
  at: { x: number; y: number } | null;
  setAt: (at: { x: number; y: number } | null) => void;
}

/**
 * The first map minus the second. With one colour scale their values are subtracted as they are; else each is divided by its own
 * full colour first, since values of different methods have no common unit.
 */
function Difference({ pair: [first, second], props, at, setAt }: DifferenceProps) {
  const { shared } = props;
  const heat = useMemo(() => {
    if (!first.map || !second.map || first.reduce !== second.reduce) return null;
    const [h, w] = first.size;
    const [one, other] = [resized(decoded(first.map), h, w), resized(decoded(second.map), h, w)];
    return shared ? difference(one, other) : difference(one, other, first.map.top, second.map.top);
  }, [first.map, second.map, shared]);
  if (first.reduce !== second.reduce) return null;
  const names = [first, second].map(({ label }) => (first.label.method === second.label.method ? (label.target ?? label.method) : label.method));
  const unit = shared ? "first minus second, in their own unit" : "first minus second, each divided by its full colour";
  const top = heat ? limit(heat) : 1;
  const read = (reading: Reading | null) => setAt(reading && shareOf(first.size, reading));
  return (
    <li class="difference">
      <div class="head">
        <span>
          <span class="name">Difference</span> {names.join(" − ")}
          <span class="note">Red: the first is stronger. Blue: the second.</span>
        </span>
      </div>
      <MapView
        photo={first.photo}
        map={heat}
        reduce="sum"
        size={first.size}
        top={top}
        difference
        {...look(props)}
        label={{ method: `Difference of ${names.join(" and ")}`, target: null }}
        unit={unit}
        words={heat ? undefined : "one of the two has no map"}
        cross={at && placeIn(first.size, at)}
        onRead={read}
      />
    </li>
  );
}
