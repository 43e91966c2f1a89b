// The studio: looks into a model with one's hands.

import { render } from "preact";
import { useEffect, useState } from "preact/hooks";
import "../shared/theme.css";
import "./canvas/canvas.css";
import "./style.css";
import { useToken } from "./api";
import { exposed } from "./canvas/exposed";
import { Found } from "./found";
import { Header, ModelRefusals } from "./header";
import { History } from "./history";
import { finished } from "./jobs";
import { LooksFor } from "./looks";
import { Mattered } from "./mattered";
import { Pins } from "./pins";
import { Shelf, useDrops } from "./shelf";
import { change, embedded, state } from "./state";
import { store } from "./store";
import { Tour } from "./tour";
import { Trust } from "./trust";
import type { Question } from "./types";
import { about, begin, said } from "./world";

interface Tab {
  id: Question;
  title: string;
  question: string;
  component: () => preact.JSX.Element;
}

const TABS: Tab[] = [
  { id: "looks_for", title: "Looks for", question: "What does a unit look for?", component: LooksFor },
  { id: "found", title: "Found", question: "What did the model find in the picture?", component: Found },
  { id: "mattered", title: "Mattered", question: "What mattered for the answer?", component: Mattered },
  { id: "trust", title: "Trust", question: "Do the explanations hold?", component: Trust },
];

function useKeys(): void {
  useEffect(() => {
    const press = (event: KeyboardEvent) => {
      if (event.altKey || event.ctrlKey || event.metaKey || event.defaultPrevented) return;
      if ((event.target as HTMLElement).closest("input, select, textarea, [role=application], canvas")) return;
      const tab = TABS[Number(event.key) - 1];
      if (tab) change({ tab: tab.id }, true);
    };
    addEventListener("keydown", press);
    return () => removeEventListener("keydown", press);
  }, []);
}

function Tabs() {
  const { tab } = state.use();
  return (
    <nav class="tabs" aria-label="Questions">
      {TABS.map((one, i) => (
        <button
          type="button"
          key={one.id}
          aria-current={one.id === tab ? "page" : undefined}
          title={`${one.question} (key ${i + 1})`}
          onClick={() => change({ tab: one.id }, true)}
        >
          {one.title}
        </button>
      ))}
    </nav>
  );
}

const announced = store("");
finished.push((title) => title !== "Predictions" && announced.set(title === "Verdicts" ? "The verdicts are there." : `${title} is there.`));

/** Results are read out when they come. */
const Announced = () => (
  <p class="unseen" role="status">
    {announced.use()}
  </p>
);

/** What was just done, or refused. */
function Said() {
  const now = said.use();
  useEffect(() => {
    if (!now || now.wrong) return;
    const timer = setTimeout(() => said.set(null), 4000);
    return () => clearTimeout(timer);
  }, [now]);
  return (
    <div class={`said-of ${now?.wrong ? "wrong" : ""} ${now ? "" : "empty"}`} role={now?.wrong ? "alert" : "status"}>
      {now && (
        <>
          <span>{now.text}</span>{" "}
          <button type="button" class="plain close" aria-label="Close" onClick={() => said.set(null)}>
            ×
          </button>
        </>
      )}
    </div>
  );
}

function App() {
  const { tab } = state.use();
  const over = useDrops();
  useKeys();
  const one = TABS.find(({ id }) => id === tab)!;
  useEffect(() => void (document.title = `${one.title} · tapetum studio`), [tab]);
  const Shown = one.component;
  return (
    <div class={`studio ${embedded ? "embedded" : ""} ${over ? "over" : ""}`}>
      {!embedded && (
        <a
          class="skip"
          href="#main"
          onClick={(event) => {
            event.preventDefault();
            document.getElementById("main")?.focus();
          }}
        >
          Skip to the result
        </a>
      )}
      {!embedded && <Header />}
      {!embedded && <Tabs />}
      <ModelRefusals />
      {!embedded && <Tour />}
      <div class="desk">
        <Shelf />
        <main id="main" tabIndex={-1} key={tab}>
          <h1 class="unseen">{one.question}</h1>
          <Shown />
        </main>
      </div>
      {!embedded && <Pins />}
      {!embedded && <History />}
      <Said />
      <Announced />
    </div>
  );
}

let tried = false; // a token was given, and the form is here again: it was wrong

/** The server wants a token, which it printed when it began. */
function Token({ opened }: { opened: () => void }) {
  const [text, set] = useState("");
  const enter = (event: Event) => {
    event.preventDefault();
    tried = true;
    useToken(text.trim());
    opened();
  };
  return (
    <main class="refusal">
      <h1>This studio asks for a token</h1>
      <p>
        It stands in the address that <code>tapetum studio</code> printed.
      </p>
      {tried && (
        <p class="caution" role="alert">
          That is not the token of this studio.
        </p>
      )}
      <form class="row-of" onSubmit={enter}>
        <input type="password" aria-label="Token" value={text} onInput={(event) => set(event.currentTarget.value)} autocomplete="off" />
        <button type="submit" class="strong">
          Open
        </button>
      </form>
    </main>
  );
}

declare global {
  interface Window {
    tapetumStudio: typeof exposed;
  }
}
window.tapetumStudio = exposed;

const root = document.getElementById("studio");

async function open(root: HTMLElement): Promise<void> {
  try {
    const asked = begin();
    await new Promise<void>((resolve, reject) => {
      const end = about.follow(() => (end(), resolve()));
      asked.catch(reject);
    });
    render(about.get()!.token ? <Token opened={() => void open(root)} /> : <App />, root);
    await asked;
  } catch (error) {
    const retry = () => void open(root);
    render(
      <main class="refusal">
        <h1>The studio cannot be opened</h1>
        <p role="alert">{(error as Error).message}</p>
        <button type="button" onClick={retry}>
          Try again
        </button>
      </main>,
      root,
    );
  }
}

if (root) void open(root); // without a place for it, only what `exposed` offers
