// The colour bar: which colour means which value.

import { number } from "../../shared/words";
import { gradient } from "./colours";
import type { Reduce } from "./maps";
import { UNITS } from "./words";

interface BarProps {
  reduce: Reduce;
  top: number;
  /** Does the map go beyond `top`? Then its ends read "and more". */
  beyond: boolean;
  threshold: number;
  /** What the numbers mean; said by the kind of map where nothing else is given. */
  unit?: string | undefined;
}

/** The scale with its numbers; what lies below the threshold is grey here as it is in the map. */
export function ColourBar({ reduce, top, beyond, threshold, unit = UNITS[reduce] }: BarProps) {
  const signed = reduce === "sum";
  const more = beyond ? "≥ " : "";
  const hidden = signed ? { left: `${50 * (1 - threshold)}%`, width: `${100 * threshold}%` } : { left: "0", width: `${100 * threshold}%` };
  const from = signed ? `−${number(top)}` : "0";
  return (
    <div class="bar-scale">
      <div class="ramp" style={{ backgroundImage: gradient(reduce) }}>
        {threshold > 0 && <i style={hidden} title={`Below ${number(threshold * top)} only the photograph shows`} />}
      </div>
      <div class="numbers">
        <span>{signed && beyond ? from.replace("−", "≤ −") : from}</span>
        {signed && <span>0</span>}
        <span>{more}{number(top)}</span>
      </div>
      <p class="note">{unit}</p>
    </div>
  );
}
