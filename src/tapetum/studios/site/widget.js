// studio/exchanges.ts
var e = 1e6, t = () => Array.from(crypto.getRandomValues(/* @__PURE__ */ new Uint32Array(3)), (e) => e.toString(36)).join(""), n = class {
	model;
	view;
	open = /* @__PURE__ */ new Map();
	name = t();
	count = 0;
	constructor(e, t) {
		this.model = e, this.view = t, e.on("msg:custom", this.hear);
	}
	hear = (e, t) => this.open.get(e.id)?.(e, t[0]);
	fetch = async (e, { method: t = "GET", headers: n = {}, body: r = null, signal: i } = {}) => {
		let a = new Uint8Array(await new this.view.Response(r).arrayBuffer()), o = `${this.name}-${this.count++}`;
		return new Promise((r, s) => {
			let c, l = () => this.open.delete(o) && this.model.send({
				id: o,
				do: "gone"
			}), u = () => {
				l();
				let e = new this.view.DOMException("stopped", "AbortError");
				c?.error(e), s(e);
			};
			if (i?.aborted) return u();
			i?.addEventListener("abort", () => this.open.has(o) && u()), this.open.set(o, (e, t) => {
				if (e.status !== void 0) {
					let t = new this.view.ReadableStream({
						start: (e) => void (c = e),
						cancel: () => void l()
					}), n = e.status === 204 || e.status === 304;
					r(new this.view.Response(n ? null : t, {
						status: e.status,
						headers: e.headers ?? {}
					}));
				}
				if (t?.byteLength && c?.enqueue(new this.view.Uint8Array(t.buffer, t.byteOffset, t.byteLength).slice()), e.more) return this.model.send({
					id: o,
					do: "got"
				});
				this.open.delete(o), c?.close();
			}), this.ask(o, {
				method: t,
				path: e,
				headers: {
					...n,
					"Content-Length": String(a.length)
				}
			}, a);
		});
	};
	ask(t, n, r) {
		for (let i = 0; i === 0 || i < r.length; i += e) {
			let a = i + e < r.length;
			this.model.send({
				id: t,
				more: a,
				...i ? { do: "body" } : {
					do: "ask",
					...n
				}
			}, void 0, [r.slice(i, i + e).buffer]);
		}
	}
	leave = () => {
		for (let e of [...this.open.keys()]) this.model.send({
			id: e,
			do: "gone"
		});
		this.open.clear(), this.model.off("msg:custom", this.hear);
	};
}, r = 8e3, i = "Python does not answer yet. If it is busy, the studio opens afterwards; if it was restarted, run the cell again.", a = (e) => `default-src 'none'; script-src 'nonce-${e}'; style-src 'nonce-${e}'; img-src blob: data:; base-uri 'none'; form-action 'none'`, o = (e) => `<!doctype html><html lang="en"><head><meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="${a(e)}"><meta name="color-scheme" content="light dark"><title>tapetum studio</title></head><body><div id="studio"></div></body></html>`;
function s(e) {
	for (let t = e; t; t = t.parentElement ?? t.getRootNode().host ?? null) {
		let [e = 0, n = 0, r = 0, i = 1] = (getComputedStyle(t).backgroundColor.match(/[\d.]+/g) ?? []).map(Number);
		if (i > .5) return .299 * e + .587 * n + .114 * r < 128;
	}
	return matchMedia("(prefers-color-scheme: dark)").matches;
}
function c(e, t) {
	e.documentElement.style.colorScheme = t ? "dark" : "light";
	for (let { cssRules: n } of e.styleSheets) for (let e of n) {
		let n = e.media?.mediaText ?? "";
		/prefers-color-scheme|^(not )?all$/.test(n) && (e.media.mediaText = t ? "all" : "not all");
	}
}
async function l(e, t, a) {
	let o = e.contentWindow, { document: l } = o, u = l.getElementById("studio"), d = new n(t, o);
	o.addEventListener("pagehide", d.leave);
	let f = setTimeout(() => u.textContent = i, r), [p, m] = await Promise.all(["studio.css", "studio.js"].map((e) => d.fetch(e).then((e) => e.text())));
	clearTimeout(f), u.textContent = "";
	let h;
	o.tapetumHost = {
		fetch: d.fetch,
		address: String(t.get("address") ?? ""),
		keep(e) {
			t.set("address", e), clearTimeout(h), h = setTimeout(() => t.save_changes(), 500);
		}
	};
	for (let [t, n] of [["style", p], ["script", m]]) {
		let r = l.createElement(t);
		r.nonce = a, r.textContent = n, (t === "style" ? l.head : l.body).append(r), t === "style" && c(l, s(e.parentElement));
	}
}
function u({ model: e, el: n }) {
	let r = document.createElement("iframe"), i = t();
	r.title = "tapetum studio", r.allow = "camera; clipboard-write; fullscreen", r.style.cssText = `display: block; width: 100%; height: ${Number(e.get("height_px"))}px; min-height: 20rem; border: 0; resize: vertical; overflow: hidden`, r.srcdoc = o(i), r.addEventListener("load", () => void l(r, e, i)), n.append(r);
	let a = new MutationObserver(() => r.contentDocument && c(r.contentDocument, s(n)));
	for (let e of [document.documentElement, document.body]) a.observe(e, { attributes: !0 });
	return () => (a.disconnect(), r.remove());
}
var d = { render: u };
export { d as default };
