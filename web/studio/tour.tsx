// The tour: eight steps through the four questions, each a state of the page.

import { useState } from "preact/hooks";
import { kept } from "./api";
import { address, change, go, START, state, type State } from "./state";
import { about } from "./world";

interface Step {
  title: string;
  text: string;
  to: Partial<State>;
}

const coffee = { pictures: ["coffee"] };
const STEPS: Step[] = [
  {
    title: "A photograph, and an answer",
    text: "The model has looked at this cup and says espresso; the bars say how sure it is of each answer.",
    to: { ...coffee, tab: "mattered", methods: [] },
  },
  {
    title: "Which part made it an espresso?",
    text: "Grad-CAM colours the places that raised the answer: move over them to read their values.",
    to: { ...coffee, tab: "mattered", methods: ["grad_cam"] },
  },
  {
    title: "Do others agree?",
    text: "Three methods that work differently, side by side; under each stands whether it beats maps that know nothing of the model.",
    to: { ...coffee, tab: "mattered", methods: ["grad_cam", "layer_cam", "integrated_gradients"] },
  },
  {
    title: "Why this rather than that?",
    text: "Red speaks for espresso, blue for cup: what tells the two apart is another question than what makes either.",
    to: { ...coffee, tab: "mattered", methods: ["lrp"], targets: ["967"], against: "968" },
  },
  {
    title: "What did it find on the way?",
    text: "Each layer has channels that find something; click one to ask what it looks for.",
    to: { ...coffee, tab: "found" },
  },
  {
    title: "What does a class look like to it?",
    text: "An optimiser draws the picture that says espresso most; it improves while you watch, and you may stop it.",
    to: { tab: "looks_for", unit: { ...START.unit, label: "967" } },
  },
  {
    title: "Do the explanations hold?",
    text: "Dots are maps drawn at random, the line is the map: it holds if it lies clear of them, of the edges and of a blob.",
    to: { ...coffee, tab: "trust", methods: ["grad_cam", "integrated_gradients", "edge_attribution"] },
  },
  {
    title: "Your own picture",
    text: "Drop, paste or choose one of yours, or erase the cup here and see whether the answer changes.",
    to: { ...coffee, tab: "mattered", methods: ["grad_cam"] },
  },
];

let before = ""; // the person's model, which comes back when the tour ends

/** Goes to a step; pins stay. The tour tells what the built-in model answers, so it shows that one. */
function show(step: number): void {
  const { model, pins, tour } = state.get();
  if (!tour) before = model;
  const { to } = STEPS[step - 1]!;
  go(address({ ...START, model: about.get()?.models["built in"]?.[0] ?? model, pins, ...to, tour: step }));
  kept("localStorage", "tapetum-toured", "1");
}

export const beginTour = () => show(1);

export function Tour() {
  const { tour } = state.use();
  const [offered, offer] = useState(kept("localStorage", "tapetum-toured") === null);
  const away = () => {
    kept("localStorage", "tapetum-toured", "1");
    offer(false);
    const { model, pins, pictures } = state.get();
    change(before && before !== model ? { ...START, model: before, pins, pictures } : { tour: 0 });
    before = "";
  };
  const step = STEPS[tour - 1];
  if (!step && !offered) return null;
  if (!step) {
    return (
      <section class="tour" aria-label="Tour">
        <div>
          <p>
            <strong>New here?</strong> Eight steps, two minutes, on this photograph.
          </p>
        </div>
        <div class="row-of">
          <button type="button" class="strong" onClick={() => show(1)}>
            Show me
          </button>
          <button type="button" onClick={away}>
            Not now
          </button>
        </div>
      </section>
    );
  }
  return (
    <section class="tour" aria-label="Tour" onKeyDown={(event) => event.key === "Escape" && away()}>
      <div aria-live="polite">
        <h2>
          {step.title}{" "}
          <span class="note">
            {tour} of {STEPS.length}
          </span>
        </h2>
        <p>{step.text}</p>
      </div>
      <div class="row-of">
        {tour > 1 && (
          <button type="button" onClick={() => show(tour - 1)}>
            Back
          </button>
        )}
        {tour < STEPS.length ? (
          <button type="button" class="strong" onClick={() => show(tour + 1)}>
            Next
          </button>
        ) : (
          <button type="button" class="strong" onClick={away}>
            Look around
          </button>
        )}
        {tour < STEPS.length && (
          <button type="button" class="quiet-button" onClick={away}>
            End the tour
          </button>
        )}
      </div>
    </section>
  );
}
