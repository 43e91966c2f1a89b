// The lesson of the course in which a method is explained: its page, where the documentation has an address.

import type { Method } from "./types";

export function Lesson({ method, titled = false }: { method: Method | undefined; titled?: boolean }) {
  const of = method?.lesson;
  if (!of) return null;
  const words = `Lesson ${of.number}${titled ? `, ${of.title}` : ""}`;
  const says = `${of.title}: tapetum lesson ${of.number}`;
  if (!of.address) {
    return (
      <span class="note" title={says}>
        {words}
      </span>
    );
  }
  return (
    <a class="note" href={of.address} title={says} target="_blank" rel="noopener noreferrer">
      {words}
    </a>
  );
}
