// Show me the code: the Python and the command line that give the same numbers.

import { useState } from "preact/hooks";
import { Choice } from "../shared/parts";
import { say } from "./world";

export function Code({ code }: { code: { python: string; command: string | null } }) {
  const [kind, set] = useState<"python" | "command">("python");
  const text = kind === "command" && code.command ? code.command : code.python;
  const copy = () =>
    navigator.clipboard.writeText(text).then(
      () => say("Copied."),
      () => say("The browser does not allow copying; select the text.", true),
    );
  return (
    <div class="code">
      <div class="row-of">
        {code.command ? (
          <Choice label="Language" value={kind} of={{ python: "Python", command: "Command" }} set={set} />
        ) : (
          <span class="note">Python</span>
        )}
        <button type="button" onClick={copy}>
          Copy
        </button>
      </div>
      <pre tabIndex={0} aria-label="Code that gives the same numbers">
        <code>{text}</code>
      </pre>
    </div>
  );
}
