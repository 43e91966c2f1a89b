// Any other picture, where `tapetum atlas serve` answers: which units fire on it?

import { useRef, useState } from "preact/hooks";
import { percent } from "../shared/words";
import type { Answer } from "./format";
import { Fires } from "./fires";

type State = { kind: "empty" } | { kind: "asking" } | { kind: "refused"; why: string } | { kind: "answered"; name: string; answer: Answer };

/** The words of a refusal: {"error": "..."}, or the text as it is. */
async function why(reply: Response): Promise<string> {
  const text = await reply.text();
  try {
    return (JSON.parse(text) as { error: string }).error;
  } catch {
    return text.slice(0, 300) || `The server answered ${reply.status}.`;
  }
}

/** Sends the picture's bytes; a refusal comes back in words. */
async function ask(file: File): Promise<State> {
  try {
    const reply = await fetch("api/fires", { method: "POST", body: file });
    if (!reply.ok) return { kind: "refused", why: await why(reply) };
    return { kind: "answered", name: file.name, answer: (await reply.json()) as Answer };
  } catch {
    return { kind: "refused", why: "The server does not answer; is tapetum atlas serve still running?" };
  }
}

export function Yours() {
  const [state, set] = useState<State>({ kind: "empty" });
  const [over, hover] = useState(false);
  const input = useRef<HTMLInputElement>(null);
  const take = async (file: File | undefined) => {
    if (!file) return;
    set({ kind: "asking" });
    set(await ask(file));
  };
  const drop = (event: DragEvent) => {
    event.preventDefault();
    hover(false);
    void take(event.dataTransfer?.files[0]);
  };
  const drag = (event: DragEvent) => (event.preventDefault(), hover(true));
  return (
    <section class={`yours ${over ? "over" : ""}`} aria-label="Your picture" onDragOver={drag} onDragLeave={() => hover(false)} onDrop={drop}>
      <p>
        <button type="button" onClick={() => input.current?.click()}>Your picture …</button>{" "}
        <span class="muted">or drop one here: the units that fire on it. It stays on this machine.</span>
        <input ref={input} type="file" accept="image/*" hidden aria-label="Your picture" onChange={(event) => void take(event.currentTarget.files?.[0])} />
      </p>
      <div aria-live="polite">
        {state.kind === "asking" && <p class="wait">Looking …</p>}
        {state.kind === "refused" && <p class="caution">{state.why}</p>}
      </div>
      {state.kind === "answered" && <Seen name={state.name} answer={state.answer} />}
    </section>
  );
}

function Seen({ name, answer }: { name: string; answer: Answer }) {
  return (
    <>
      <div class="seen">
        <img src={answer.seen} alt={`${name}, as the network saw it`} />
        <ol class="predictions" aria-label="Predictions">
          {answer.predictions.slice(0, 5).map(([label, probability]) => (
            <li key={label}>
              <span>{label}</span> <span class="value">{percent(probability)}</span>
              <span class="bar" style={{ "--share": `${100 * probability}%` }} />
            </li>
          ))}
        </ol>
      </div>
      <Fires fires={answer.fires} />
    </>
  );
}
