// The atlas: reads the index, then shows the page that the address names.

import { render, type ComponentChildren } from "preact";
import { useEffect, useRef } from "preact/hooks";
import "../shared/theme.css";
import "./style.css";
import type { Route } from "../shared/address";
import { index, load, peek, readable } from "./data";
import { SCHEMA, type Index, type Layer } from "./format";
import { LayerPage } from "./layer";
import { MapPage } from "./map";
import { Overview } from "./overview";
import { Refusal } from "./parts";
import { PicturePage } from "./picture";
import { PicturesPage } from "./pictures";
import { understand } from "./query";
import { href, useRoute } from "./routes";
import { SearchPage } from "./search";
import { UnitPage } from "./unit";

function SearchBox({ query }: { query: string }) {
  const box = useRef<HTMLInputElement>(null);
  useEffect(() => {
    const press = (event: KeyboardEvent) => {
      if (event.key !== "/" || (event.target as HTMLElement).closest("input, select, textarea")) return;
      event.preventDefault();
      box.current?.select();
    };
    addEventListener("keydown", press);
    return () => removeEventListener("keydown", press);
  }, []);
  const sent = useRef("");
  useEffect(() => {
    const typing = document.activeElement === box.current && box.current!.value !== sent.current;
    if (!typing) box.current!.value = sent.current = query; // the address changes a moment after Enter: what is typed by then stays
  }, [query]);
  const go = (event: Event) => {
    event.preventDefault();
    const text = (sent.current = box.current!.value).trim();
    const asked = understand(text, index().layers);
    if (asked.kind === "unit") location.hash = href.unit(asked.layer, asked.channel);
    else location.hash = href.search(text);
  };
  return (
    <form role="search" class="search" onSubmit={go}>
      <input
        ref={box}
        type="search"
        aria-label="Search units, layers, names, labels, statistics"
        title="Press / to come here"
        placeholder={`${index().layers[0]?.name ?? "layer"}:0, dog, sd > 2`}
        list="layers"
        autocomplete="off"
        spellcheck={false}
      />
      <datalist id="layers">{index().layers.map((layer) => <option key={layer.name} value={layer.name} />)}</datalist>
      <button type="submit">Search</button>
    </form>
  );
}

function Frame({ route, children }: { route: Route; children: ComponentChildren }) {
  const skip = (event: Event) => {
    event.preventDefault(); // the address is the page's: a hash of its own would leave it
    document.querySelector<HTMLElement>("main h1")?.focus();
  };
  return (
    <>
      <a class="skip" href="#main" onClick={skip}>Skip to the content</a>
      <header class="top">
        <a class="mark" href={href.home()}>tapetum</a>
        <nav aria-label="Atlas">
          <a href={href.home()} aria-current={route.page === "" ? "page" : undefined}>Layers</a>
          <a href={href.pictures()} aria-current={route.page === "pictures" ? "page" : undefined}>Pictures</a>
        </nav>
        <SearchBox query={route.page === "search" ? route.rest : ""} />
      </header>
      <div id="main">{children}</div>
    </>
  );
}

function NoLayer({ name }: { name: string }) {
  const { layers } = index();
  const start = name.slice(0, 3).toLowerCase();
  const close = layers.filter((layer) => layer.name.toLowerCase().startsWith(start)).slice(0, 6);
  return (
    <Refusal title={`No layer “${name}”`}>
      <p>This atlas holds {layers.length} layers{close.length ? "; close names:" : "."}</p>
      <ul class="inline">{close.map((layer) => <li key={layer.name}><a href={href.layer(layer.name)}>{layer.name}</a></li>)}</ul>
    </Refusal>
  );
}

function Unit({ text }: { text: string }) {
  const cut = text.lastIndexOf(":");
  const name = text.slice(0, Math.max(0, cut));
  const channel = Number(text.slice(cut + 1));
  return <OfLayer name={cut < 0 ? text : name} show={(layer) => <UnitPage layer={layer} channel={cut < 0 ? NaN : channel} />} />;
}

function OfLayer({ name, show }: { name: string; show: (layer: Layer) => ComponentChildren }) {
  const layer = index().layers.find((one) => one.name === name);
  return layer ? <>{show(layer)}</> : <NoLayer name={name} />;
}

function Page({ route }: { route: Route }) {
  const { page, rest, params } = route;
  if (page === "") return <Overview />;
  if (page === "layer") return <OfLayer name={rest} show={(layer) => <LayerPage layer={layer} params={params} />} />;
  if (page === "unit") return <Unit text={rest} />;
  if (page === "map") return <OfLayer name={rest} show={(layer) => <MapPage layer={layer} params={params} />} />;
  if (page === "pictures") return <PicturesPage params={params} />;
  if (page === "picture") return <PicturePage id={rest} />;
  if (page === "search") return <SearchPage text={rest} params={params} />;
  return <Refusal title="No such page"><p>The address names “{page}”, which this atlas does not have.</p></Refusal>;
}

function App() {
  const route = useRoute();
  return (
    <Frame route={route}>
      <Page key={`${route.page}/${route.rest}?${route.params}`} route={route} />
    </Frame>
  );
}

function start() {
  const root = document.getElementById("atlas")!;
  const found = peek<Index>("index");
  if (!found) {
    const missing = <main class="refusal"><h1>No atlas here</h1><p role="alert">The file <code>data/index.js</code> could not be loaded. Open the <code>index.html</code> of a folder that <code>tapetum atlas build</code> or <code>tapetum atlas export</code> wrote, with the folder <code>data</code> beside it.</p></main>;
    return render(missing, root);
  }
  if (!readable(found)) {
    const other = <main class="refusal"><h1>Another format</h1><p role="alert">This atlas is of schema version {found.schema}; these pages read version {SCHEMA}. Write the site again with the version of tapetum at hand: <code>tapetum atlas export</code>.</p></main>;
    return render(other, root);
  }
  return render(<App />, root);
}

load<Index>("index").then(start, start);
