// A field that keeps what is being typed, however often the page around it is drawn again.

import { useState } from "preact/hooks";

interface TypedProps {
  value: string;
  /** Called with Enter, and when the field is left; false: what was typed cannot be taken, and stays to be corrected. */
  take: (text: string) => boolean | void;
  size: number;
  /** Its name, where no label says it. */
  label?: string;
  placeholder?: string;
  inputMode?: "text" | "numeric" | "decimal";
  wrong?: boolean;
}

export function Typed({ value, take, size, label, placeholder = "", inputMode = "text", wrong = false }: TypedProps) {
  const [draft, set] = useState<string | null>(null);
  const done = (event: Event & { currentTarget: HTMLInputElement }) => {
    if (take(event.currentTarget.value.trim()) !== false) set(null);
  };
  return (
    <input
      type="text"
      inputMode={inputMode}
      size={size}
      placeholder={placeholder}
      aria-label={label}
      aria-invalid={wrong}
      spellcheck={false}
      value={draft ?? value}
      onInput={(event) => set(event.currentTarget.value)}
      onChange={done}
    />
  );
}
