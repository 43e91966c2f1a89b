// A grid of channel maps: what the strongest channels of a layer found, each in the colours of its own scale.

import { useLayoutEffect, useMemo, useRef } from "preact/hooks";
import { number } from "../../shared/words";
import { colorized, overlaid } from "./colours";
import type { MapData, Reduce } from "./maps";
import { decoded, resized, strongest } from "./maps";
import { fitted } from "./pixels";
import { whereabouts } from "./words";

/** One layer of the server's answer; `pictures` has one list of channels per picture. */
export interface ChannelLayer {
  layer: string;
  size: [h: number, w: number];
  /** By what the channels were chosen, in words. */
  by: string;
  signed: boolean;
  pictures: { channel: number; map: MapData }[][];
}

export interface ChannelsViewProps {
  layer: ChannelLayer;
  /** Which of the pictures. */
  row: number;
  /** What the model saw: the maps then lie over it. Without it they stand alone, one block per value. */
  photo?: ImageData | null | undefined;
  smooth: boolean;
  opacity: number;
  threshold: number;
  /** One scale for all, so that weak channels stay dark. */
  shared?: boolean | undefined;
  chosen?: number | null | undefined;
  /** A channel was chosen. */
  onChannel?: ((channel: number) => void) | undefined;
}

export function ChannelsView(props: ChannelsViewProps) {
  const { layer, row, shared } = props;
  const channels = layer.pictures[row] ?? [];
  const top = shared ? Math.max(...channels.map(({ map }) => map.top)) : undefined;
  if (!channels.length) return <p class="note">No channel of {layer.layer} has a map of this picture.</p>;
  return (
    <ul class="channels" aria-label={`Channels of ${layer.layer}`}>
      {channels.map(({ channel, map }) => (
        <li key={channel}>
          <Channel {...props} channel={channel} map={map} top={top ?? map.top} />
        </li>
      ))}
    </ul>
  );
}

interface ChannelProps extends ChannelsViewProps {
  channel: number;
  map: MapData;
  top: number;
}

function Channel({ layer, channel, map, top, photo, smooth, opacity, threshold, chosen, onChannel }: ChannelProps) {
  const reduce: Reduce = layer.signed ? "sum" : "positive";
  const canvas = useRef<HTMLCanvasElement>(null);
  const heat = decoded(map);
  const pixels = useMemo(() => {
    if (!photo) return colorized(heat, reduce, top);
    return overlaid(fitted(photo, ...layer.size), heat, reduce, top, opacity, threshold, smooth ? "smooth" : "pixelated");
  }, [photo, heat, reduce, top, opacity, threshold, smooth]);
  useLayoutEffect(() => {
    [canvas.current!.width, canvas.current!.height] = [pixels.width, pixels.height];
    canvas.current!.getContext("2d")!.putImageData(pixels, 0, 0);
  }, [pixels]);
  const where = useMemo(() => placeOf(map, layer.size), [map]);
  const ratio = photo ? `${layer.size[1]} / ${layer.size[0]}` : `${heat.w} / ${heat.h}`;
  const picture = <canvas ref={canvas} role="img" aria-label={`Map of channel ${channel}, ${where}`} class={smooth || photo ? "" : "blocks"} style={{ aspectRatio: ratio }} />;
  const words = (
    <>
      <span class="name">{channel}</span> <span class="note">{number(map.high)}</span>
    </>
  );
  if (!onChannel) return <div class="channel">{picture}{words}</div>;
  return (
    <button type="button" class="channel" aria-pressed={chosen === channel} onClick={() => onChannel(channel)}>
      {picture}
      {words}
    </button>
  );
}

function placeOf(map: MapData, [h, w]: [number, number]): string {
  const at = strongest(resized(decoded(map), h, w), true);
  return at ? `strongest at the ${whereabouts(at, h, w)}` : "without values";
}
