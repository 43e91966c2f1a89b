// The picture changed by hand, and what that does to the answer: a counterfactual.

import { useRef } from "preact/hooks";
import { picturesOf } from "./asks";
import { Editor } from "./canvas/editor";
import { runOf } from "./jobs";
import { keepFile } from "./kept";
import { Bars, usePredictions } from "./predictions";
import { change, state } from "./state";
import { store } from "./store";
import { send } from "./api";
import { idOf, pictureOf, say, useWhole } from "./world";

const open = store(false);

export function useEditing() {
  const on = open.use() || state.use().edited !== "";
  const toggle = () => {
    open.set(!on);
    if (on) change({ edited: "" });
  };
  return { on, toggle };
}

/** A picture of the editor goes to the server, and stays in the browser for a reload. */
async function sent(png: Blob, name: string): Promise<string> {
  const { id, width, height } = await send(png, `${name}.png`);
  await keepFile(id, { file: png, name: `${name}.png`, thumbnail: "", width, height });
  return id;
}

const stale = store(false);

export function Edit() {
  const now = state.use();
  const id = idOf(now.pictures[0] ?? "");
  const name = pictureOf(id)?.name ?? "picture";
  const picture = useWhole(id, 1024);
  const before = useRef("");
  const latest = useRef(0);
  const take = async (png: Blob, edited: boolean) => {
    const turn = ++latest.current;
    try {
      const made = await sent(png, edited ? `${name}, changed` : name);
      if (turn !== latest.current) return;
      if (!edited) before.current = made;
      stale.set(false);
      const { targets } = state.get();
      const answer = runOf("predict").result?.value;
      const top = answer?.type === "predictions" ? answer.rows[0]?.[0] : undefined; // the maps go on to explain the answer as it was
      change({
        edited: edited && before.current ? `${before.current}~${made}` : "",
        targets: targets.length || !edited || !top ? targets : [String(top.index)],
      });
    } catch (error) {
      say((error as Error).message, true);
    }
  };
  return (
    <section class="edit" aria-label="Edit the picture">
      <div class="edit-picture">
        {picture ? (
          <Editor
            key={id}
            picture={picture}
            label={name}
            onEdited={(png, edited) => void take(png, edited)}
            onStroke={() => stale.set(true)}
          />
        ) : (
          <p class="wait">Reading the picture …</p>
        )}
      </div>
      <Answers />
    </section>
  );
}

/** The probabilities before and after. */
function Answers() {
  const now = state.use();
  const old = stale.use();
  const [before = "", after = ""] = now.edited ? now.edited.split("~") : [];
  const pictures = now.edited ? [before, after] : picturesOf(now).slice(0, 1);
  const { rows, run } = usePredictions("predict/edited", now.model, pictures, 10);
  const first = rows[0] ?? [];
  const second = rows[1];
  const told = second ?? first;
  const top = first[0];
  const same = top && second?.find((one) => one.index === top.index);
  return (
    <div class="answers" aria-live="polite">
      <h3>{second ? "Before and after" : "The answer as it is"}</h3>
      <p class="note">
        {!second
          ? "Erase, blur, paint or paste in the picture: the answer and the maps follow."
          : top && same?.probability !== undefined && top.probability !== undefined
            ? `${top.label}: ${(100 * top.probability).toFixed(1)} % before, ${(100 * same.probability).toFixed(1)} % now.`
            : top && `${top.label} is no longer among the ten most probable answers.`}
      </p>
      <Bars rows={told.slice(0, 6)} before={second ? first : undefined} stale={old || (run.phase !== "done" && run.phase !== "none")} />
    </div>
  );
}
