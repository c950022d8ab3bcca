// What is shown, in the fragment of the page's address, so that a bookmark or a link opens the same; the theme is remembered by the browser.

const REMEMBERED = "netlens-theme";
const state = { section: "", usual: {}, ready: false, waiting: 0 };

/** The theme that was chosen before: "dark", "light", or null. A browser may forbid to keep it. */
function rememberedTheme() {
  try { return localStorage.getItem(REMEMBERED); } catch { return null; }
}

function rememberTheme(name) {
  try { localStorage.setItem(REMEMBERED, name); } catch { /* then it holds for this visit, and in the address */ }
}

/** Section and values of an address. */
function readAddress() {
  const [section, ...rest] = location.hash.slice(1).split("&"), named = section.includes("=");
  return { section: named ? "" : section, values: new URLSearchParams((named ? [section, ...rest] : rest).join("&")) };
}

function writeAddress() {
  const { view, whole, picked: now, area } = model, values = new URLSearchParams();
  if (view.from !== whole.from || view.to !== whole.to) values.set("view", `${Math.round(view.from)}..${Math.round(view.to)}`);
  if (area) values.set("area", `${Math.round(area.from)}..${Math.round(area.to)}`);
  for (const name of ["unit", "scope"]) if (model[name] !== state.usual[name]) values.set(name, model[name]);
  if (now?.bar >= 0) values.set("connection", [model.bars.capture[now.bar], model.bars.row[now.bar], ...(now.call < 0 ? [] : [now.call - model.callsFrom[now.bar]])].join("."));
  else if (now?.lookup) values.set("lookup", `${now.lookup.capture}.${now.lookup.row}`);
  if (model.hidden.size) values.set("hide", [...model.hidden].join("."));
  if (model.search?.trim()) values.set("search", model.search);
  if (water.order !== "sent") values.set("order", water.order);
  if (water.aligned) values.set("aligned", "yes");
  if (sheet.table && sheet.table !== sheet.usual) values.set("table", sheet.table.id);
  if (sheet.sort) values.set("sort", (sheet.down ? "-" : "") + sheet.sort);
  if (sheet.text.trim()) values.set("text", sheet.text);
  for (const [name, wanted] of Object.entries(sheet.filters)) if (wanted.trim()) values.set(`is.${name}`, wanted);
  if (model.theme) values.set("theme", model.theme);
  const text = [state.section, values.toString()].filter(Boolean).join("&");
  if (text !== location.hash.slice(1)) history.replaceState(null, "", text ? `#${text}` : location.pathname + location.search);
}

/** Browsers allow some hundred changes of the address a minute: the last of several counts. */
function noteState() {
  if (!state.ready) return;
  clearTimeout(state.waiting);
  state.waiting = setTimeout(writeAddress, 200);
}

const stretch = (text) => { const ends = /^(-?\d+)\.\.(-?\d+)$/.exec(text ?? ""); return ends && Number(ends[1]) < Number(ends[2]) ? { from: Number(ends[1]), to: Number(ends[2]) } : null; };

/** Show what the address says; what it does not know or cannot be is left as it is. */
function readState() {
  const { section, values } = readAddress(), { core, bars } = model;
  for (const [name, known] of [["unit", ["requests", "connections"]], ["scope", ["egress", "side"]]]) if (known.includes(values.get(name)) && (name !== "unit" || core.countable)) model[name] = values.get(name);
  model.hidden = new Set((values.get("hide") ?? "").split(".").filter(Boolean));
  if (values.get("order") === "slowest") water.order = "slowest";
  water.aligned = values.get("aligned") === "yes";
  if (core.time.begin.length) orderWaterfall();
  const table = model.tables.find((t) => t.id === values.get("table") && t.rows) ?? sheet.usual;
  if (table) {
    openTable(table);
    const sort = values.get("sort") ?? "", named = (name) => table.columns.some((c) => c.name === name);
    sheet.down = sort.startsWith("-");
    sheet.sort = named(sort.replace(/^-/, "")) ? sort.replace(/^-/, "") : null;
    sheet.text = values.get("text") ?? "";
    for (const [name, wanted] of values) if (name.startsWith("is.") && named(name.slice(3))) sheet.filters[name.slice(3)] = wanted;
    frameTable();
  }
  find.value = values.get("search") ?? "";
  search(find.value);
  found.hidden = true;
  const [capture, row, at] = (values.get("connection") ?? "").split(".").map(Number), [where, which] = (values.get("lookup") ?? "").split(".").map(Number);
  const bar = core.captures[capture] && Number.isInteger(row) ? barsOf(capture) + row : -1;
  if (bar >= 0 && bars.capture[bar] === capture && bars.row[bar] === row) pick({ bar, call: at >= 0 && model.callsFrom[bar] + at < model.callsFrom[bar + 1] ? model.callsFrom[bar] + at : -1 });
  else if (tableOf("lookups", where)?.by.query_ns.values[which] !== undefined && values.has("lookup")) pick({ lookup: { capture: where, row: which } });
  const view = stretch(values.get("view"));
  if (view) show(view.from, view.to);
  setArea(stretch(values.get("area")));
  drawLegend();
  if (section) leadTo(section);
  redraw();
}

/** Go to a section, unfolded. */
function leadTo(id) {
  const there = document.getElementById(id);
  if (!there) return;
  for (let node = there; node; node = node.parentElement) if (node.tagName === "DETAILS") node.open = true;
  const fold = $(":scope > details.fold", there);
  if (fold) fold.open = true;
  there.scrollIntoView();
  if (there.tabIndex < 0 && !there.hasAttribute("tabindex")) there.tabIndex = -1;
  there.focus({ preventScroll: true });
  state.section = id;
  noteState();
}

function makeState() {
  state.usual = { unit: model.unit, scope: model.scope };
  readState();
  state.ready = true;
  for (const name of ["view", "picked", "area", "found", "table", "shown"]) on(name, noteState);
  addEventListener("hashchange", readState);
  for (const link of $$('a[href^="#"]:not(.skip)')) link.addEventListener("click", (event) => {
    event.preventDefault();
    leadTo(link.getAttribute("href").slice(1));
  });
}
