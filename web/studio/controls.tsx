// A form for a method's parameters, made from what the registry says of them.

import { useState } from "preact/hooks";
import { LayerPick } from "./choices";
import { changeParameters, state } from "./state";
import { Typed } from "./typed";
import type { Method, Model, Parameter, Value } from "./types";
import { nameOf, shelf } from "./world";

/** Words of a parameter's name: "n_steps" as "steps", "radius_px" as "radius (px)". */
export function nameOfParameter(name: string): string {
  const unit = /_(px|deg|s)$/.exec(name);
  const words = name
    .replace(/^n_/, "")
    .replace(/_(px|deg|s)$/, "")
    .replaceAll("_", " ");
  return unit ? `${words} (${unit[1]})` : words;
}

interface FieldProps {
  of: Parameter;
  value: Value;
  model: Model | null;
  set: (value: Value) => void;
}

function NumberField({ of, value, set }: FieldProps) {
  const [wrong, refuse] = useState("");
  const text = value === null ? "" : String(value);
  const take = (given: string) => {
    const number = Number(given);
    if (given === "") return (refuse(""), set(of.default));
    const whole = of.type === "int" && !Number.isInteger(number);
    const out = (of.low !== null && number < of.low) || (of.high !== null && number > of.high);
    if (!Number.isFinite(number) || whole || out)
      return (refuse(whole ? "a whole number" : out ? `${of.low ?? "…"} to ${of.high ?? "…"}` : "a number"), false);
    refuse("");
    set(number);
  };
  return (
    <>
      <Typed
        inputMode={of.type === "int" ? "numeric" : "decimal"}
        value={text}
        take={take}
        placeholder={of.default === null ? "auto" : String(of.default)}
        size={8}
        wrong={wrong !== ""}
      />
      {wrong && <span class="caution">{wrong}</span>}
    </>
  );
}

function Field(props: FieldProps) {
  const { of, value, model, set } = props;
  const text = value === null ? "" : String(value);
  if (of.layer)
    return <LayerPick model={model} value={text} empty="chosen by the method" channels={false} set={(name) => set(name || null)} />;
  if (of.type === "bool") return <input type="checkbox" checked={value === true} onChange={(event) => set(event.currentTarget.checked)} />;
  if (of.type === "int" || of.type === "float") return <NumberField {...props} />;
  if (of.type === "picture") {
    const chosen = typeof value === "object" && value ? value.picture : "";
    return (
      <select value={chosen} onChange={(event) => set({ picture: event.currentTarget.value })}>
        <option value="">choose a picture</option>
        {shelf.get().map((one) => (
          <option key={one.id} value={one.id}>
            {one.own ? one.name : nameOf(one)}
          </option>
        ))}
      </select>
    );
  }
  if (of.type === "choice") {
    return (
      <select value={text} onChange={(event) => set(event.currentTarget.value || null)}>
        {of.default === null && <option value="">auto</option>}
        {of.choices.map((one) => (
          <option key={one} value={one}>
            {one}
          </option>
        ))}
      </select>
    );
  }
  return (
    <Typed value={text} take={(given) => set(given || null)} size={14} placeholder={of.default === null ? "auto" : String(of.default)} />
  );
}

const same = (a: Value, b: Value) => JSON.stringify(a) === JSON.stringify(b);

interface ControlsProps {
  method: Method;
  model: Model | null;
  /** Only these; else all. */
  only?: string[];
  without?: string[];
}

/** The form; what differs from the defaults is in the page's address. */
export function Controls({ method, model, only, without = [] }: ControlsProps) {
  const given = state.use().parameters[method.name] ?? {};
  const shown = method.parameters.filter(
    (one) => (!only || only.includes(one.name)) && !without.includes(one.name) && (!one.layer || model?.layers.length),
  );
  const set = (of: Parameter, value: Value) => {
    const { [of.name]: _, ...others } = given;
    changeParameters(method.name, same(value, of.default) ? others : { ...others, [of.name]: value });
  };
  if (shown.length === 0) return <p class="note">{method.title} has nothing to set.</p>;
  return (
    <div class="controls">
      {shown.map((one) => (
        <label key={one.name} title={one.help}>
          <span>{nameOfParameter(one.name)}</span>
          <Field of={one} model={model} value={given[one.name] ?? one.default} set={(value) => set(one, value)} />
          {one.help && <span class="note">{one.help}</span>}
        </label>
      ))}
      {Object.keys(given).length > 0 && (
        <button type="button" onClick={() => changeParameters(method.name, {})}>
          Back to the defaults
        </button>
      )}
    </div>
  );
}

/** Parameters of a method as they are set in the address. */
export const parametersOf = (method: string): Record<string, Value> => state.get().parameters[method] ?? {};
