// How maps are drawn: opacity, threshold, interpolated or in blocks.

import { Choice } from "../shared/parts";
import { change, state } from "./state";
import { useView } from "./view";

const wide = () => matchMedia("(min-width: 48.01rem)").matches;

export function Look() {
  const { opacity, threshold, smooth } = state.use();
  const [view, onView] = useView();
  const slide = (label: string, value: number, set: (value: number) => void) => (
    <label class="slide">
      {label} <input type="range" min="0" max="1" step="0.01" value={value} onInput={(event) => set(Number(event.currentTarget.value))} />
    </label>
  );
  return (
    <details class="look-of" open={wide()}>
      <summary>How maps are drawn</summary>
      <div class="row-of">
        {slide("Opacity", opacity, (value) => change({ opacity: value }))}
        {slide("Threshold", threshold, (value) => change({ threshold: value }))}
        <Choice
          label="Map"
          value={smooth ? "smooth" : "blocks"}
          of={{ smooth: "Smooth", blocks: "As computed" }}
          set={(value) => change({ smooth: value === "smooth" })}
        />
        {view.zoom > 1 && (
          <button type="button" onClick={() => onView({ x: 0.5, y: 0.5, zoom: 1 })}>
            Whole picture
          </button>
        )}
      </div>
    </details>
  );
}
