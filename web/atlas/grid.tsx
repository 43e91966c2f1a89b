// A grid of square tiles with captions of which only the rows in sight exist.

import type { ComponentChildren } from "preact";
import { useLayoutEffect, useRef, useState } from "preact/hooks";

interface Measure {
  columns: number;
  side: number;
  /** From one row to the next, px. */
  step: number;
}

const GAP = 12;
const SPARE = 3; // rows above and below the window, so that Tab finds the next tile
let lastWidth = 0; // a page one comes back to has its height at once, and can be scrolled

function measure(width: number, least: number, caption: number): Measure {
  const rem = parseFloat(getComputedStyle(document.documentElement).fontSize);
  const columns = Math.max(2, Math.floor((width + GAP) / (Math.min(least, width / 3.4) + GAP)));
  const side = Math.max(1, (width - GAP * (columns - 1)) / columns);
  return { columns, side, step: side + caption * rem + GAP };
}

interface Props {
  count: number;
  /** What is at a place. */
  tile: (place: number) => ComponentChildren;
  /** Stays with what is at a place when the order changes. */
  id: (place: number) => string | number;
  label: string;
  /** Least side of a tile, px. */
  least?: number;
  /** Height of a caption, rem. */
  caption?: number;
  /** A place to scroll to and mark. `nonce` makes a second jump to it one. */
  jump?: { place: number; nonce: number } | null;
}

export function Grid({ count, tile, id, label, least = 112, caption = 2.5, jump }: Props) {
  const box = useRef<HTMLUListElement>(null);
  const [width, setWidth] = useState(lastWidth || Math.min(innerWidth, 1344) - 48);
  const [rows, setRows] = useState<[number, number]>([0, 12]);
  const focus = useRef<number | null>(null);
  const { columns, side, step } = measure(width, least, caption);
  const total = Math.ceil(count / columns);

  useLayoutEffect(() => {
    const watch = new ResizeObserver(([entry]) => {
      if (entry) setWidth((lastWidth = entry.contentRect.width));
    });
    watch.observe(box.current!);
    return () => watch.disconnect();
  }, []);

  /** Which rows are in sight now? */
  const look = () => {
    const above = -box.current!.getBoundingClientRect().top;
    const first = Math.max(0, Math.min(total, Math.floor(above / step)) - SPARE);
    const last = Math.min(total, Math.ceil((above + innerHeight) / step) + SPARE);
    setRows((old) => (old[0] === first && old[1] === last ? old : [first, last]));
  };
  useLayoutEffect(() => {
    look();
    addEventListener("scroll", look, { passive: true });
    addEventListener("resize", look);
    return () => {
      removeEventListener("scroll", look);
      removeEventListener("resize", look);
    };
  }, [step, total]);

  /** Scrolls to a place, draws its row before the next frame, and gives it the focus. */
  const show = (place: number) => {
    focus.current = place;
    const top = box.current!.getBoundingClientRect().top + scrollY + Math.floor(place / columns) * step;
    if (top < scrollY + 80 || top + step > scrollY + innerHeight) scrollTo(0, top - innerHeight / 3);
    look();
    setRows(([first, last]) => [first, last]); // drawn again, also where the rows stay
  };
  useLayoutEffect(() => {
    if (jump) show(jump.place);
  }, [jump?.nonce]);
  useLayoutEffect(() => {
    const link = box.current!.querySelector<HTMLElement>(`[data-place="${focus.current}"] a`);
    if (focus.current === null || !link) return;
    focus.current = null;
    link.focus({ preventScroll: true });
  });

  const walk = (event: KeyboardEvent) => {
    const from = (event.target as HTMLElement).closest<HTMLElement>("[data-place]");
    const by = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns }[event.key];
    if (!from || by === undefined || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    const to = Number(from.dataset["place"]) + by;
    if (to >= 0 && to < count) show(to);
  };

  const shown: number[] = [];
  for (let place = rows[0] * columns; place < Math.min(count, rows[1] * columns); place++) shown.push(place);
  const style = { height: `${Math.max(0, total * step - GAP)}px`, "--side": `${side}px` };
  return (
    <ul class="grid" ref={box} style={style} aria-label={label} onKeyDown={walk}>
      {shown.map((place) => (
        <li
          key={id(place)}
          data-place={place}
          class={jump?.place === place ? "jumped" : ""}
          aria-setsize={count}
          aria-posinset={place + 1}
          style={{ transform: `translate(${(place % columns) * (side + GAP)}px, ${Math.floor(place / columns) * step}px)` }}
        >
          {tile(place)}
        </li>
      ))}
    </ul>
  );
}
