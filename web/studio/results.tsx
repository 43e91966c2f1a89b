// One component per type of value; whatever has none of its own is shown by its figure, or by its words.

import { number } from "../shared/words";
import { ChannelsView } from "./canvas/channels";
import { MapView, PictureView } from "./canvas/mapview";
import { classTitle } from "./choices";
import { change, changeUnit, modelKey, state } from "./state";
import { Bars } from "./predictions";
import { Verdicts } from "./verdict";
import { useView } from "./view";
import type { Ask, Channels, Made, Maps, Numbers, Result, Verdict } from "./types";
import { modelNow, pictureOf, titleOf, useSeen } from "./world";

interface Shown<V> {
  value: V;
  ask: Ask;
  row: number | null;
}

export const keyOfModel = (ask: Ask) => modelKey(ask.model, ask.weights);

function OneMap({ value, ask, row }: { value: Maps; ask: Ask; row: number }) {
  const { opacity, threshold, smooth } = state.use();
  const [view, onView] = useView();
  const photo = useSeen(ask.pictures[row] ?? "", keyOfModel(ask));
  const one = value.maps[row];
  if (!one) return null;
  const target = classTitle(one.target, modelNow(keyOfModel(ask)));
  return (
    <MapView
      photo={photo}
      map={one.map}
      reduce={value.reduce}
      size={value.size}
      opacity={opacity}
      threshold={threshold}
      smooth={smooth}
      view={view}
      onView={onView}
      label={{ method: titleOf(ask.method), target }}
      status={one.status}
      words={one.why ?? undefined}
      stderr={one.stderr}
    />
  );
}

function MapRows({ value, ask, row }: Shown<Maps>) {
  const rows = row === null ? value.maps.map((_, i) => i) : [row];
  return (
    <div class="cards">
      {rows.map((i) => (
        <figure key={i}>
          <OneMap value={value} ask={ask} row={i} />
        </figure>
      ))}
    </div>
  );
}

/** A click on a channel asks what it looks for. */
export const toUnit = (layer: string, channel: number) => {
  changeUnit({ layer, channel, label: "", mixed: "", minus: false });
  change({ tab: "looks_for" }, true);
};

function OneLayer({ layer, ask, row }: { layer: Channels; ask: Ask; row: number }) {
  const { opacity, threshold, smooth, unit } = state.use();
  const photo = useSeen(ask.pictures[row] ?? "", keyOfModel(ask));
  return (
    <ChannelsView
      layer={layer}
      row={row}
      photo={photo}
      smooth={smooth}
      opacity={opacity}
      threshold={threshold}
      chosen={unit.layer === layer.layer ? unit.channel : null}
      onChannel={(channel) => toUnit(layer.layer, channel)}
    />
  );
}

export function ChannelRows({ value, ask, row }: Shown<{ layers: Channels[] }>) {
  const rows = row === null ? ask.pictures.map((_, i) => i) : [row];
  return (
    <>
      {value.layers.map((layer) => (
        <section key={layer.layer} class="layer-of">
          <h4>
            {layer.layer} <span class="note">the channels with the largest {layer.by}; click one to see what it looks for</span>
          </h4>
          {rows.map((i) => (
            <OneLayer key={i} layer={layer} ask={ask} row={i} />
          ))}
        </section>
      ))}
    </>
  );
}

export function MadePictures({ value, stale = false }: { value: Made; stale?: boolean }) {
  const [view, onView] = useView();
  const several = new Set(value.objectives).size > 1;
  return (
    <div class={`made-of ${value.pictures.length > 1 ? "many" : ""} ${stale ? "stale" : ""}`}>
      {value.pictures.map((picture, i) => {
        const score = value.scores[i];
        const objective = value.objectives[i] ?? value.objectives[0] ?? "";
        const state = value.status[i] && value.status[i] !== "ok" ? value.status[i]!.replaceAll("_", " ") : "";
        return (
          <figure key={i}>
            <PictureView
              picture={picture}
              size={value.size}
              view={view}
              onView={onView}
              label={`Picture made for ${objective}`}
              words={state || undefined}
            />
            <figcaption class="note">
              {several && <>{objective} · </>}
              {score !== null && score !== undefined && <>score {number(score)}</>}
              {Object.entries(value.numbers).map(([name, of]) => (
                <>
                  {" "}
                  · {name.replaceAll("_", " ")} {number(of[i])}
                </>
              ))}
            </figcaption>
          </figure>
        );
      })}
    </div>
  );
}

function Metric({ value, ask, row }: Shown<Numbers>) {
  const rows = row === null ? value.values.map((_, i) => i) : [row];
  return (
    <div>
      {rows.map((i) => (
        <p key={i} class="big-number">
          <strong>{number(value.values[i])}</strong>{" "}
          <span class="note">
            {pictureOf(ask.pictures[i] ?? "")?.name}
            {value.better && ` · ${value.better} is better`}
          </span>
        </p>
      ))}
      {value.curves.length > 0 && value.fraction.length > 1 && <Curves value={value} rows={rows} />}
      <p class="note">{value.words}</p>
    </div>
  );
}

function Curves({ value, rows }: { value: Numbers; rows: number[] }) {
  const xs = value.fraction.map((one) => one ?? 0);
  const all = rows.flatMap((i) => value.curves[i] ?? []).filter((one): one is number => one !== null);
  const [low, high] = [Math.min(0, ...all), Math.max(...all, 1e-9)];
  const line = (curve: (number | null)[]) =>
    curve.map((y, i) => `${4 + 192 * xs[i]!},${96 - (92 * ((y ?? 0) - low)) / (high - low || 1)}`).join(" ");
  return (
    <figure class="curve">
      <svg
        viewBox="0 0 200 100"
        role="img"
        aria-label={`${value.measures} against the share of the picture, from ${number(low)} to ${number(high)}`}
      >
        <line x1="4" x2="196" y1="96" y2="96" class="axis-line" />
        {rows.map((i) => (
          <polyline key={i} points={line(value.curves[i] ?? [])} class="curve-line" />
        ))}
      </svg>
      <figcaption class="note">
        {value.measures} from {number(low)} to {number(high)}, against the share of the picture that was changed
      </figcaption>
    </figure>
  );
}

export function Words({ text }: { text: string }) {
  return (
    <pre class="words-of" tabIndex={0}>
      {text}
    </pre>
  );
}

const named = (verdict: Verdict, ask: Ask) => {
  const target = classTitle(verdict.target, modelNow(keyOfModel(ask)));
  const picture =
    ask.pictures.length > 1 ? `, ${pictureOf(ask.pictures[verdict.picture] ?? "")?.name ?? `picture ${verdict.picture + 1}`}` : "";
  return `${titleOf(verdict.method)} for ${target}${picture}`;
};

/** `row`: of one of the pictures alone. */
export function ResultView({ result, ask, row = null }: { result: Result; ask: Ask; row?: number | null }) {
  const { value } = result;
  if (value.type === "maps") return <MapRows value={value} ask={ask} row={row} />;
  if (value.type === "channels") return <ChannelRows value={value} ask={ask} row={row} />;
  if (value.type === "pictures") return <MadePictures value={value} />;
  if (value.type === "predictions")
    return (
      <>
        {value.rows.map((rows, i) => (
          <Bars key={i} rows={rows} />
        ))}
      </>
    );
  if (value.type === "verdicts") return <Verdicts rows={value.rows} title={(verdict) => named(verdict, ask)} />;
  if (value.type === "numbers") return <Metric value={value} ask={ask} row={row} />;
  if (value.type === "words") return <Words text={value.words} />;
  return (
    <figure class="figure-of">
      <img src={value.picture} alt={value.alt || value.words.slice(0, 300)} />
      {value.words && (
        <details>
          <summary>In words</summary>
          <Words text={value.words} />
        </details>
      )}
    </figure>
  );
}
