// Trust: do the maps hold, and what else can be measured, attacked, checked?

import { capital } from "../shared/words";
import { picturesOf } from "./asks";
import { classTitle, modelTitle } from "./choices";
import { busy } from "./jobs";
import { More } from "./more";
import { nameOfRow, useMaps } from "./maps";
import { change, state } from "./state";
import { HOLDS, Badge, plainly, Strip } from "./verdict";
import { about, modelNow, titleOf } from "./world";

function Table() {
  const now = state.use();
  const { columns, runs, judged, judging, trouble } = useMaps();
  const pictures = picturesOf(now);
  const several = pictures.length > 1;
  const rows = pictures.flatMap((id, row) =>
    columns.map((column, i) => ({ id, row, column, run: runs[i]!, verdict: judged(column, row) })),
  );
  if (!rows.length)
    return (
      <p class="note">
        No map is chosen.{" "}
        <button type="button" onClick={() => change({ tab: "mattered", methods: ["grad_cam"] }, true)}>
          Choose maps
        </button>
      </p>
    );
  return (
    <>
      <ul class="verdicts">
        {rows.map(({ id, row, column, run, verdict }) => (
          <li key={`${row}/${column.slot}`}>
            <h3>
              {titleOf(column.ask.method)}{" "}
              <span class="note">
                for {verdict ? classTitle(verdict.target, modelNow(column.model)) : "the answer"}
                {several && `, ${nameOfRow(id, row, now)}`}
                {now.other && `, ${modelTitle(column.model)}`}
              </span>
            </h3>
            {verdict ? (
              <div>
                <Badge verdict={verdict} /> <span class="note">{plainly(verdict)}</span>
              </div>
            ) : (
              <p class="note">
                {run.phase === "refused"
                  ? run.message
                  : busy(run)
                    ? "The map is being made …"
                    : judging
                      ? "Comparing with random maps …"
                      : trouble || "No verdict yet."}
              </p>
            )}
            {verdict && <Strip verdict={verdict} />}
          </li>
        ))}
      </ul>
      <p class="note">
        {HOLDS}; the p-values are corrected for all maps that are shown.{" "}
        <button type="button" onClick={() => change({ tab: "mattered" }, true)}>
          Choose other maps
        </button>
      </p>
    </>
  );
}

export function Trust() {
  const now = state.use();
  const { atlas = null, reports = [] } = about.use() ?? {};
  return (
    <>
      <h2 class="question">Do the explanations hold?</h2>
      <Table />
      <section>
        <h3>A model that knows nothing</h3>
        <p class="note">
          The same network with random weights answers by chance. A map that looks the same for it shows the picture, not what was learned.
        </p>
        <button
          type="button"
          aria-pressed={now.other === `${now.model}~random`}
          onClick={() => change({ other: now.other === `${now.model}~random` ? "" : `${now.model}~random` })}
        >
          {capital("compare with random weights")}
        </button>
      </section>
      <More question="trust" />
      {(atlas !== null || reports.length > 0) && (
        <section>
          <h3>Reports and the atlas</h3>
          <ul class="inline">
            {atlas !== null && (
              <li>
                <a href={atlas}>The atlas of all units</a>
              </li>
            )}
            {reports.map((one) => (
              <li key={one.address}>
                <a href={one.address}>{one.title}</a>
              </li>
            ))}
          </ul>
        </section>
      )}
    </>
  );
}
