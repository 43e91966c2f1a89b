// Small parts that both pages have.

/** Shown only when reading takes longer than a blink. */
export const Wait = ({ what }: { what: string }) => (
  <p class="wait" role="status">
    Reading {what} …
  </p>
);

/** Buttons of which one is pressed. */
export function Choice<T extends string>(props: { label: string; value: T; of: Record<T, string>; set: (value: T) => void }) {
  return (
    <span class="choice" role="group" aria-label={props.label}>
      {(Object.entries(props.of) as [T, string][]).map(([value, text]) => (
        <button type="button" key={value} aria-pressed={props.value === value} onClick={() => props.set(value)}>
          {text}
        </button>
      ))}
    </span>
  );
}
