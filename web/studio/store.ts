// A value that components follow.

import { useLayoutEffect, useState } from "preact/hooks";

export interface Store<T> {
  get(): T;
  set(value: T): void;
  /** Calls `heard` after every change, until what it returns is called. */
  follow(heard: () => void): () => void;
  /** The value; the component is drawn again when it changes. */
  use(): T;
}

export function store<T>(value: T): Store<T> {
  const heard = new Set<() => void>();
  const follow = (one: () => void) => {
    heard.add(one);
    return () => void heard.delete(one);
  };
  const use = () => {
    const [, again] = useState(0);
    const seen = value;
    useLayoutEffect(() => {
      const draw = () => again((n) => n + 1);
      if (value !== seen) draw();
      return follow(draw);
    }, []);
    return value;
  };
  const set = (next: T) => {
    if (next === value) return;
    value = next;
    for (const one of [...heard]) one();
  };
  return { get: () => value, set, follow, use };
}
