// A map over what the model saw, and a picture that the model made: both with a zoom that several views can share.

import { useEffect, useMemo, useState } from "preact/hooks";
import { number } from "../../shared/words";
import { ColourBar } from "./bar";
import type { Mode } from "./colours";
import { dimmed, overlaid } from "./colours";
import type { Heat, MapData, Place, Reduce, Status } from "./maps";
import { decoded, middle, resized, strongest, valueAt } from "./maps";
import { fitted, loaded } from "./pixels";
import type { Drawable } from "./surface";
import { drawable, Surface } from "./surface";
import type { Label } from "./words";
import { described, placed, reading, share, title, WORDS } from "./words";
import type { View } from "./zoom";

/** A place and the map's value there. */
export interface Reading extends Place {
  value: number;
}

export interface MapViewProps {
  /** What the model saw; null while it is not here yet: the map is then shown on plain grey. */
  photo: ImageData | null;
  /** As the server sent it, or numbers of your own; null where there is no map. */
  map: MapData | Heat | null;
  reduce: Reduce;
  /** Rows and columns in px of what the model saw: places are told in these. */
  size: [h: number, w: number];
  /** The magnitude that gets the full colour; the map's own where none is given. */
  top?: number | undefined;
  /** 0 ... 1 of the full colour. */
  opacity: number;
  /** 0 ... 1 of `top`: what is weaker leaves the grey photograph. */
  threshold: number;
  /** Interpolated, or every value of the method one block. */
  smooth: boolean;
  /** What is shown; give several views the same, and one `onView`, to link them. */
  view: View;
  onView: (view: View) => void;
  label: Label;
  /** Another than "ok" shows words instead of the map: `words`, or the status's own. */
  status?: Status | undefined;
  words?: string | undefined;
  /** The standard error of each value, where the method samples. */
  stderr?: MapData | null | undefined;
  /** Tells the place and value under the pointer or the keyboard's cross; null where there is none. */
  onRead?: ((reading: Reading | null) => void) | undefined;
  /** Where the cross is; without it the view keeps its own. */
  cross?: Place | null | undefined;
  /** What the numbers mean, if not what maps of this kind mean. */
  unit?: string | undefined;
  /** The map is a difference: its extreme is the largest one of either sign. */
  difference?: boolean | undefined;
  /** Without the colour bar: where several views share one. */
  plain?: boolean | undefined;
}

const heatOf = (map: MapData | Heat): Heat => ("data" in map ? decoded(map) : map);
const extreme = (reduce: Reduce, difference: boolean) => (difference ? "largest difference" : reduce === "sum" ? "strongest for it" : "strongest");

/** Where the map is strongest: the middle of the block where every value is one. */
function homeOf(heat: Heat, map: MapData | Heat, smooth: boolean, either: boolean): Place | null {
  if (smooth) return strongest(heat, either);
  const at = strongest(heatOf(map), either);
  return at && middle(at, heatOf(map), heat.h, heat.w);
}

export function MapView(props: MapViewProps) {
  const { map, size: [h, w], reduce, smooth, opacity, threshold, label } = props;
  const mode: Mode = smooth ? "smooth" : "pixelated";
  const status = props.status ?? "ok";
  const heat = useMemo(() => (map && status === "ok" ? resized(heatOf(map), h, w, smooth ? "bilinear" : "pixelated") : null), [map, status, h, w, smooth]);
  const photo = useMemo(() => (props.photo ? fitted(props.photo, h, w) : grey(h, w)), [props.photo, h, w]);
  const top = props.top ?? (map && "data" in map ? map.top : heat ? Math.max(...range(heat).map(Math.abs)) : 1);
  const image = useMemo(
    () => drawable(heat ? overlaid(photo, heat, reduce, top, opacity, threshold, mode) : dimmed(photo)),
    [photo, heat, reduce, top, opacity, threshold, mode],
  );
  const words = heat ? "" : props.words || (status === "ok" ? "no map yet" : WORDS[status]);
  const home = useMemo(() => heat && homeOf(heat, map!, smooth, !!props.difference), [heat]);
  const over = useMemo(() => !!heat && beyond(heat, top, reduce), [heat, top, reduce]);
  const says = heat ? described(heat, home, label, reduce) : `${title(label)}: ${words}`;
  const [place, setPlace, live] = useCross(props, heat);
  return (
    <div class="mapview">
      <Surface image={image} size={[h, w]} smooth={smooth} view={props.view} onView={props.onView} label={says} place={place} home={home} {...(heat && { onPlace: setPlace })}>
        {words && <p class="why">{words}</p>}
      </Surface>
      {heat && <ReadLine heat={heat} place={place} home={home} top={top} stderr={props.stderr ?? null} live={live} most={extreme(reduce, !!props.difference)} />}
      {heat && !props.plain && <ColourBar reduce={reduce} top={top} beyond={over} threshold={threshold} unit={props.unit} />}
    </div>
  );
}

/** The cross: the caller's if it gives one, else the view's own. `live`: it moved by keys, so it is read out. */
function useCross(props: MapViewProps, heat: Heat | null): [Place | null, (place: Place | null, byKeys: boolean) => void, boolean] {
  const [own, set] = useState<Place | null>(null);
  const [live, setLive] = useState(false);
  const move = (place: Place | null, byKeys: boolean) => {
    set(place);
    setLive(byKeys);
    props.onRead?.(place && heat && { ...place, value: valueAt(heat, place) });
  };
  return [heat && (props.cross === undefined ? own : props.cross), move, live];
}

interface ReadLineProps {
  heat: Heat;
  place: Place | null;
  home: Place | null;
  top: number;
  stderr: MapData | null;
  live: boolean;
  /** What the strongest value is called. */
  most: string;
}

/** The value under the cross; without a cross the strongest one. */
function ReadLine({ heat, place, home, top, stderr, live, most }: ReadLineProps) {
  const spread = useMemo(() => stderr && resized(decoded(stderr), heat.h, heat.w), [stderr, heat]);
  const rest = home ? `${most}: ${number(valueAt(heat, home))} at ${placed(home)}` : "no place has a value";
  const value = place ? valueAt(heat, place) : NaN;
  return (
    <p class="reading" aria-live={live ? "polite" : "off"}>
      {place ? reading(place, value, spread && valueAt(spread, place)) : rest}
      {!Number.isNaN(value) && <span class="share"> · {share(value, top)}</span>}
    </p>
  );
}

function range(heat: Heat): [low: number, high: number] {
  let low = Infinity;
  let high = -Infinity;
  for (const value of heat.values) {
    if (value < low) low = value;
    if (value > high) high = value;
  }
  return low > high ? [0, 1] : [low, high];
}

/** Does any value lie outside the scale? Not for what rounding to single precision adds. */
function beyond(heat: Heat, top: number, reduce: Reduce): boolean {
  const [low, high] = range(heat);
  return (reduce === "sum" ? Math.max(-low, high) : high) > top * 1.001;
}

function grey(h: number, w: number): ImageData {
  const made = new ImageData(w, h);
  made.data.fill(128);
  for (let i = 3; i < made.data.length; i += 4) made.data[i] = 255;
  return made;
}

export interface PictureViewProps {
  /** A data or blob address, or pixels. While a new one loads the one before stays. */
  picture: string | ImageData | null;
  /** Rows and columns in px, so that nothing moves when the picture comes. */
  size: [h: number, w: number];
  view: View;
  onView: (view: View) => void;
  smooth?: boolean | undefined;
  /** What it shows, in words. */
  label: string;
  /** Said over the picture: "step 12 of 64", "stopped". */
  words?: string | undefined;
}

/** A picture that the model made, while it is being made too. */
export function PictureView({ picture, size, view, onView, smooth = true, label, words }: PictureViewProps) {
  const image = usePicture(picture);
  return (
    <div class="mapview">
      <Surface image={image} size={size} smooth={smooth} view={view} onView={onView} label={label}>
        {words && <p class="said">{words}</p>}
      </Surface>
    </div>
  );
}

/** The picture once it is decoded; until then the one before. */
export function usePicture(picture: string | ImageData | null): Drawable | null {
  const [image, set] = useState<Drawable | null>(null);
  useEffect(() => {
    let wanted = true;
    if (!picture) set(null);
    else if (picture instanceof ImageData) set(drawable(picture));
    else loaded(picture).then((next) => wanted && set(next), () => undefined); // a frame that does not decode is followed by the next
    return () => void (wanted = false);
  }, [picture]);
  return image;
}
