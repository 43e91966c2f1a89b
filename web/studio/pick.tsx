// Pick: a button that opens a list to search in; classes, layers, models and methods are chosen with it.

import type { ComponentChildren } from "preact";
import { useEffect, useId, useMemo, useRef, useState } from "preact/hooks";
import { holds } from "../shared/words";

export interface Option {
  value: string;
  title: string;
  note?: string;
  on?: boolean;
}

export interface Group {
  title: string;
  options: Option[];
}

interface PickProps {
  /** What is chosen, for screen readers and the search field. */
  label: string;
  /** What the button shows. */
  children: ComponentChildren;
  groups: () => Group[];
  pick: (value: string) => void;
  /** The list stays open, for several. */
  several?: boolean;
  /** What was typed may be chosen as it is. */
  free?: boolean;
  /** A key that opens the list. */
  hotkey?: string;
  kind?: string;
}

const MOST = 300;

export function Pick(props: PickProps) {
  const [open, set] = useState(false);
  const box = useRef<HTMLSpanElement>(null);
  const button = useRef<HTMLButtonElement>(null);
  const close = () => {
    set(false);
    button.current?.focus();
  };
  useEffect(() => {
    if (!open) return;
    const outside = (event: Event) => !box.current?.contains(event.target as Node) && set(false);
    addEventListener("pointerdown", outside);
    return () => removeEventListener("pointerdown", outside);
  }, [open]);
  useEffect(() => {
    if (!props.hotkey) return;
    const press = (event: KeyboardEvent) => {
      if (event.key !== props.hotkey || (event.target as HTMLElement).closest("input, select, textarea")) return;
      event.preventDefault();
      set(true);
    };
    addEventListener("keydown", press);
    return () => removeEventListener("keydown", press);
  }, [props.hotkey]);
  return (
    <span class="pick" ref={box}>
      <button
        ref={button}
        type="button"
        class={props.kind ?? "drop"}
        aria-haspopup="listbox"
        aria-expanded={open}
        onClick={() => set(!open)}
        title={props.label}
      >
        {props.children}
      </button>
      {open && <List {...props} close={close} />}
    </span>
  );
}

function List({ label, groups, pick, several, free, close }: PickProps & { close: () => void }) {
  const [query, ask] = useState("");
  const [at, move] = useState(-1);
  const id = useId();
  const list = useRef<HTMLDivElement>(null);
  const field = useRef<HTMLInputElement>(null);
  useEffect(() => field.current?.focus({ preventScroll: true }), []);
  const all = groups();
  const shown = useMemo(() => filtered(all, query), [all, query]);
  const options = shown.flatMap((group) => group.options);
  useEffect(() => list.current?.querySelector(`[data-at="${at}"]`)?.scrollIntoView({ block: "nearest" }), [at]);
  const take = (value: string) => {
    pick(value);
    if (!several) close();
  };
  const press = (event: KeyboardEvent) => {
    if (event.key === "Escape") close();
    else if (event.key === "ArrowDown") move(Math.min(at + 1, options.length - 1));
    else if (event.key === "ArrowUp") move(Math.max(at - 1, 0));
    else if (event.key === "Enter") {
      const one = options[at] ?? (query ? options[0] : undefined);
      if (one) take(one.value);
      else if (free && query.trim()) take(query.trim());
    } else return;
    event.preventDefault();
    event.stopPropagation();
  };
  let place = -1;
  return (
    <div class="list">
      <input
        ref={field}
        type="text"
        role="combobox"
        aria-label={label}
        aria-expanded="true"
        aria-controls={id}
        placeholder={label}
        autocomplete="off"
        spellcheck={false}
        aria-activedescendant={at >= 0 ? `${id}-${at}` : undefined}
        onInput={(event) => (ask(event.currentTarget.value), move(-1))}
        onKeyDown={press}
      />
      <div class="listbox" role="listbox" id={id} ref={list} aria-label={label} aria-multiselectable={several} tabIndex={-1}>
        {shown.map((group) => (
          <div role="group" aria-label={group.title || label} key={group.title}>
            {group.title && (
              <div class="group-title" aria-hidden="true">
                {group.title}
              </div>
            )}
            {group.options.map((one) => {
              const here = ++place;
              return (
                <div
                  role="option"
                  id={`${id}-${here}`}
                  data-at={here}
                  key={one.value}
                  aria-selected={one.on ?? false}
                  class={here === at ? "at" : ""}
                  onClick={() => take(one.value)}
                >
                  <span class="option">{one.title}</span>
                  {one.note && <span class="note">{one.note}</span>}
                </div>
              );
            })}
          </div>
        ))}
        {options.length === 0 && (
          <p class="note none-found">{free && query ? `Enter takes “${query}” as it is.` : "Nothing of that name."}</p>
        )}
      </div>
    </div>
  );
}

/** Options that hold what is typed, those that begin with it first; not more than a list can hold. */
function filtered(groups: Group[], query: string): Group[] {
  const asked = query.trim().toLowerCase();
  let left = MOST;
  return groups.flatMap((group) => {
    const found = asked ? group.options.filter((one) => holds(`${one.title} ${one.note ?? ""} ${one.value}`, asked)) : group.options;
    const sorted = asked
      ? [...found].sort((a, b) => Number(b.title.toLowerCase().startsWith(asked)) - Number(a.title.toLowerCase().startsWith(asked)))
      : found;
    const options = sorted.slice(0, left);
    left -= options.length;
    return options.length ? [{ ...group, options }] : [];
  });
}
