// Units and pictures as tiles that link to their pages.

import type { ComponentChildren } from "preact";
import { index, useLayer, useNames } from "./data";
import type { Layer, LayerData, Names } from "./format";
import { href } from "./routes";
import { Picture, Tile } from "./sprite";

/** What a unit looks like: its feature visualization, else its four strongest pictures. */
export function UnitLook({ data, channel, examples }: { data: LayerData | undefined; channel: number; examples?: boolean }) {
  const sprite = data?.sprites?.positive;
  if (sprite && !examples) return <Tile sprite={sprite} number={channel} class="look" />;
  const top = data?.top[channel] ?? [];
  return (
    <span class={top.length > 1 ? "look four" : "look"}>
      {top.slice(0, 4).map((picture) => (
        <Picture key={picture} number={picture} />
      ))}
    </span>
  );
}

interface UnitProps {
  layer: Layer;
  channel: number;
  data?: LayerData | undefined;
  examples?: boolean;
  /** The layer's name is said elsewhere. */
  short?: boolean;
  /** A second line; else the unit's name with its AUC, or its label. */
  note?: ComponentChildren;
}

/** A unit whose layer's file is there. */
export function UnitTile({ layer, channel, data, examples, short, note }: UnitProps) {
  const name = data?.names?.[channel];
  const label = name ? `${name[0]} ${name[1].toFixed(2)}` : data?.labels?.[channel];
  return (
    <a class="unit" href={href.unit(layer.name, channel)}>
      <UnitLook data={data} channel={channel} examples={examples ?? false} />
      <span class="name">{short ? channel : <>{layer.name}<wbr />:{channel}</>}{data?.flagged?.includes(channel) && " ⚠"}</span>
      <span class="note">{note ?? label ?? " "}</span>
    </a>
  );
}

/** A unit anywhere; its layer's file is read for it. */
export function FarUnit({ layer: number, channel, note }: { layer: number; channel: number; note?: ComponentChildren }) {
  const layer = index().layers[number] ?? null;
  const { value } = useLayer(layer);
  if (!layer) return null;
  return <UnitTile layer={layer} channel={channel} data={value} note={note} />;
}

/** "tabby/07.jpg, tabby" as words for a picture. */
export function pictureWords(names: Names | undefined, picture: number): string {
  const id = names?.ids[picture];
  if (id === undefined) return `picture ${picture}`;
  const label = names?.labels?.[picture];
  return label && !id.startsWith(`${label}/`) ? `${id}, ${label}` : id;
}

/** Where a picture's page is, once its name is known. */
export const pictureHref = (names: Names | undefined, picture: number) => {
  const id = names?.ids[picture];
  return id === undefined ? href.pictures() : href.picture(id);
};

export function PictureTile({ picture }: { picture: number }) {
  const known = useNames().value;
  const id = known?.ids[picture] ?? `${picture}`;
  return (
    <a class="unit" href={pictureHref(known, picture)}>
      <Picture number={picture} class="look" />
      <span class="name file">{id.slice(id.lastIndexOf("/") + 1)}</span>
      <span class="note">{known?.labels?.[picture] ?? " "}</span>
    </a>
  );
}
