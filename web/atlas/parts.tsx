// Small parts that several pages have.

import type { ComponentChildren } from "preact";
import { useEffect, useRef } from "preact/hooks";
import type { MissingFile } from "./data";
import { index } from "./data";
import { href } from "./routes";

let arrived = false;

/** A page's heading and title. After a step inside the atlas it takes the focus, so that a screen reader says where one is. */
export function Heading({ text, children }: { text: string; children?: ComponentChildren }) {
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => {
    const atlas = index()?.title;
    document.title = atlas && atlas !== text ? `${text} · ${atlas}` : text;
    if (arrived) heading.current?.focus({ preventScroll: true });
    arrived = true;
  }, [text]);
  return (
    <h1 tabIndex={-1} ref={heading}>
      {children ?? text}
    </h1>
  );
}

/** What is not there, why, and where to go instead. */
export function Refusal({ title, children }: { title: string; children?: ComponentChildren }) {
  return (
    <main class="refusal">
      <Heading text={title} />
      {children}
      <p>
        <a href={href.home()}>All layers</a> · <a href={href.pictures()}>All pictures</a>
      </p>
    </main>
  );
}

/** A data file that does not load, in the place where its content would be. */
export function Missing({ error }: { error: MissingFile }) {
  return (
    <p class="caution" role="alert">
      The file <code>{error.path}</code> could not be loaded. Keep the folders <code>data</code>, <code>pictures</code> and{" "}
      <code>units</code> beside <code>index.html</code>, or write the site again with <code>tapetum atlas export</code>.
    </p>
  );
}

/** The left and right arrow keys follow links, unless something is being typed or moved. */
export function useArrows(previous: string | null, next: string | null) {
  useEffect(() => {
    const press = (event: KeyboardEvent) => {
      if (event.altKey || event.ctrlKey || event.metaKey || event.shiftKey || event.defaultPrevented) return;
      if ((event.target as HTMLElement).closest("input, select, textarea")) return;
      const to = { ArrowLeft: previous, ArrowRight: next }[event.key];
      if (to) location.hash = to;
    };
    addEventListener("keydown", press);
    return () => removeEventListener("keydown", press);
  }, [previous, next]);
}

/** Links to what comes before and after. */
export function Steps(props: { previous: [string, string] | null; next: [string, string] | null }) {
  useArrows(props.previous?.[0] ?? null, props.next?.[0] ?? null);
  return (
    <nav class="steps" aria-label="Before and after">
      {props.previous ? <a rel="prev" href={props.previous[0]} title="Left arrow key">← {props.previous[1]}</a> : <span />}
      {props.next && <a rel="next" href={props.next[0]} title="Right arrow key">{props.next[1]} →</a>}
    </nav>
  );
}
