// All pictures of the data set; where the pages are served, also one's own.

import { useLayoutEffect, useMemo, useState } from "preact/hooks";
import { remember } from "../shared/address";
import { Wait } from "../shared/parts";
import { count, holds, plural } from "../shared/words";
import { index, served, useNames } from "./data";
import { Grid } from "./grid";
import { Heading, Missing } from "./parts";
import { PictureTile } from "./tiles";
import { Yours } from "./yours";

export function PicturesPage({ params }: { params: URLSearchParams }) {
  const { data } = index();
  const { value: names, error } = useNames();
  const [filter, set] = useState(params.get("filter") ?? "");
  useLayoutEffect(() => remember({ filter }), [filter]);
  const seen = useMemo(
    () => [...(names?.ids ?? []).keys()].filter((i) => filter.trim() === "" || holds(`${names!.ids[i]} ${names!.labels?.[i] ?? ""}`, filter.trim())),
    [names, filter],
  );
  return (
    <main>
      <Heading text="Pictures" />
      <p class="lead">
        {plural(data.pictures, "picture")} of {data.name}, as the network saw them{data.skipped_count ? `; ${count(data.skipped_count)} skipped` : ""}.
      </p>
      {served() && <Yours />}
      <div class="tools sticky">
        <label>
          {names?.labels ? "Name or label" : "Name"}{" "}
          <input type="search" value={filter} onInput={(event) => set(event.currentTarget.value)} />
        </label>
        <span class="state" aria-live="polite">
          {names && (seen.length === names.ids.length ? plural(seen.length, "picture") : `${count(seen.length)} of ${plural(names.ids.length, "picture")}`)}
        </span>
      </div>
      {error ? <Missing error={error} /> : !names && <Wait what="the names" />}
      <Grid count={seen.length} label="Pictures" id={(i) => seen[i]!} tile={(i) => <PictureTile picture={seen[i]!} />} />
    </main>
  );
}
