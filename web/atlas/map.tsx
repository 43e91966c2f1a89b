// An activation atlas: what a layer holds, as a grid of averaged places. Similar ones lie side by side.

import { useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";
import { remember } from "../shared/address";
import { Wait } from "../shared/parts";
import { count, number, plural } from "../shared/words";
import { useLayer, useMap, useNames } from "./data";
import type { Cell, Layer, MapData } from "./format";
import { Heading, Missing, Refusal } from "./parts";
import { href } from "./routes";
import { background, Picture } from "./sprite";
import { pictureHref, pictureWords, UnitTile } from "./tiles";
import { index } from "./data";

const labelWords = (cell: Cell) => (cell.labels ?? []).slice(0, 3).map(([text, n]) => `${text} ${n}`).join(", ");
const look = (map: MapData, cell: Cell) => (map.sprite ? background(map.sprite, cell.tile) : background(index().pictures, cell.pictures[0] ?? 0));

/** The cell next to one, in a direction: the nearest in its row or column. */
function beside(cells: Cell[], from: number, key: string): number {
  const here = cells[from]!;
  const [down, right] = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[key] ?? [0, 0];
  const far = (cell: Cell) => {
    const along = (cell.row - here.row) * down! + (cell.column - here.column) * right!;
    const aside = Math.abs((cell.row - here.row) * right!) + Math.abs((cell.column - here.column) * down!);
    return along > 0 ? along + 3 * aside : Infinity;
  };
  return cells.reduce((best, cell, i) => (far(cell) < (best === from ? Infinity : far(cells[best]!)) ? i : best), from);
}

/** What is known of one cell. */
function Side({ layer, cell }: { layer: Layer; cell: Cell }) {
  const names = useNames().value;
  const { value: data } = useLayer(layer);
  return (
    <>
      <h2>{plural(cell.count, "place")}</h2>
      {cell.labels && cell.labels.length > 0 && <p>{cell.labels.slice(0, 5).map(([text, n]) => `${text} ${count(n)}`).join(" · ")}</p>}
      <h3>Units</h3>
      <ul class="row small">
        {cell.units.slice(0, 6).map(([channel, value]) => <li key={channel}><UnitTile short layer={layer} channel={channel} data={data} note={number(value)} /></li>)}
      </ul>
      <h3>Pictures</h3>
      <ul class="nine">
        {cell.pictures.slice(0, 9).map((picture) => (
          <li key={picture}><a href={pictureHref(names, picture)} title={pictureWords(names, picture)}><Picture number={picture} alt={pictureWords(names, picture)} /></a></li>
        ))}
      </ul>
    </>
  );
}

function Cells({ map, shares, at, go }: { map: MapData; shares: Map<number, number> | null; at: number; go: (cell: number) => void }) {
  const box = useRef<HTMLDivElement>(null);
  const most = Math.max(1, ...(shares?.values() ?? []));
  const press = (event: KeyboardEvent) => {
    if (!event.key.startsWith("Arrow")) return;
    event.preventDefault();
    const to = beside(map.cells, at, event.key);
    go(to);
    box.current!.querySelectorAll("button")[to]?.focus();
  };
  return (
    <div class="cells" ref={box} role="group" aria-label="Cells; arrow keys go from one to the next" style={{ "--columns": map.grid[1] }} onKeyDown={press}>
      {map.cells.map((cell, i) => {
        const share = shares ? (shares.get(i) ?? 0) / most : 1;
        return (
          <button
            type="button"
            key={i}
            tabIndex={i === at ? 0 : -1}
            class={shares ? (share > 0 ? "of" : "not") : ""}
            aria-pressed={i === at}
            aria-label={`row ${cell.row + 1}, column ${cell.column + 1}: ${plural(cell.count, "place")}${cell.labels ? `, ${labelWords(cell)}` : ""}`}
            style={{ gridRow: cell.row + 1, gridColumn: cell.column + 1, ...look(map, cell), ...(shares ? { opacity: 0.12 + 0.88 * Math.sqrt(share) } : {}) }}
            onPointerEnter={(event) => event.pointerType === "mouse" && go(i)}
            onFocus={() => go(i)}
            onClick={() => go(i)}
          />
        );
      })}
    </div>
  );
}

function Atlas({ layer, map, params }: { layer: Layer; map: MapData; params: URLSearchParams }) {
  const middle = useMemo(() => map.cells.reduce((best, cell, i) => (cell.count > map.cells[best]!.count ? i : best), 0), [map]);
  const [at, go] = useState(Math.min(map.cells.length - 1, Number(params.get("cell") ?? middle) || 0));
  const [label, choose] = useState(params.get("class") ?? "");
  useLayoutEffect(() => remember({ class: label, cell: at === middle ? "" : `${at}` }), [label, at]);
  const shares = useMemo(() => {
    const [, ...cells] = map.classes?.find(([name]) => name === label) ?? [null];
    return cells.length ? new Map(cells) : null;
  }, [map, label]);
  const cell = map.cells[at];
  return (
    <>
      <div class="tools">
        {map.classes && map.classes.length > 0 && (
          <label>
            Class{" "}
            <select value={label} onChange={(event) => choose(event.currentTarget.value)}>
              <option value="">all</option>
              {map.classes.map(([name]) => <option key={name} value={name}>{name}</option>)}
            </select>
          </label>
        )}
        <span class="state" aria-live="polite">{shares ? `${label}: ${plural(shares.size, "cell")}` : plural(map.cells.length, "cell")}</span>
      </div>
      <div class="map">
        <div class="scroll"><Cells {...{ map, shares, at, go }} /></div>
        <aside aria-label="The cell">{cell && <Side layer={layer} cell={cell} />}</aside>
      </div>
      {map.notes?.map((note) => <p key={note} class="note">{note}</p>)}
    </>
  );
}

export function MapPage({ layer, params }: { layer: Layer; params: URLSearchParams }) {
  const { value: map, error } = useMap(layer);
  if (!layer.map) {
    const others = index().layers.filter((one) => one.map);
    return (
      <Refusal title={`No activation atlas of ${layer.name}`}>
        <p>{others.length ? "There is one of" : "This atlas was built without."} {others.map((one) => <><a href={href.map(one.name)}>{one.name}</a> </>)}</p>
      </Refusal>
    );
  }
  return (
    <main>
      <Heading text={`Activation atlas of ${layer.name}`}>Activation atlas of <a href={href.layer(layer.name)}>{layer.name}</a></Heading>
      {map && (
        <p class="lead">
          {plural(map.positions, "random place")} of each picture, laid out by {map.layout === "umap" ? "UMAP" : "their two principal components"} of
          the layer's values there, so that what the layer holds to be alike lies side by side. A cell is the mean of its places
          {map.sprite ? ", made visible" : "; it shows the first of its pictures"}.
        </p>
      )}
      {error ? <Missing error={error} /> : map ? <Atlas {...{ layer, map, params }} /> : <Wait what="the map" />}
    </main>
  );
}
