// One search over everything: what it finds stays bright in the lanes, Enter goes from one to the next, and each table is one click away.

const find = $("#find"), found = $("#found");
const SEARCHED = ["requests", "connections", "sessions", "lookups", "hellos"];

/** Text of each row of a table as the search sees it, made once: names, addresses, ports and numbers of rows and frames; no times and sizes. */
function textsOf(table) {
  const looked = table.columns.filter((c) => c.type === "text" || c.type === "list" || /(_id|port|frame|request)$/.test(c.name));
  return (table.texts ??= Array.from({ length: table.columns[0].values.length }, (_, k) => looked.map((c) => searched(c, c.values[k])).join("\n")));
}

function search(text) {
  const wanted = text.trim().toLowerCase();
  model.search = text;
  if (!wanted) {
    model.hits = null;
    found.replaceChildren();
    found.hidden = true;
    tell("found");
    return;
  }
  const frame = /^frame\s+([\d,]+)$/.exec(wanted), number_ = frame ? Number(frame[1].replaceAll(",", "")) : -1;
  const hits = { bars: new Set(), lookups: model.core.captures.map(() => new Set()), order: [] }, lines = [];
  for (const table of model.tables) {
    if (!SEARCHED.includes(table.kind) || !table.rows) continue;
    tableOf(table.kind, table.capture);
    const of = (name) => table.by[name]?.values, first = of("first_frame") ?? of("start_frame") ?? of("query_frame"), last = of("last_frame") ?? of("answer_frame") ?? first;
    const held = table.columns[0].values.length, rows = [];
    if (frame) { if (first && table.kind !== "requests") for (let k = 0; k < held; k++) if (first[k] <= number_ && (last[k] ?? first[k]) >= number_) rows.push(k); }
    else textsOf(table).forEach((each, k) => each.includes(wanted) && rows.push(k));
    if (!rows.length) continue;
    lines.push([table, rows.length]);
    for (const k of rows) {
      if (table.kind === "lookups") hits.lookups[table.capture].add(k);
      const bar = table.kind === "lookups" ? -1 : barOfRow(table, k);
      if (bar >= 0) hits.bars.add(bar);
    }
  }
  hits.order = [...hits.bars].sort((a, b) => model.bars.start[a] - model.bars.start[b]);
  model.hits = hits;
  found.hidden = false;
  found.replaceChildren(
    el("p", { role: "status" }, lines.length ? `${plural(hits.order.length, "connection")} in the timeline${hits.order.length ? "; Enter: next" : ""}` : "Nothing found."),
    ...lines.map(([table, n]) => el("button", { type: "button", onclick: () => {
      openTable(table);
      if (!frame) { sheet.text = text; frameTable(); }
      leadTo("tables");
    } }, `${table.title}: ${number(n)}`)));
  tell("found");
}

/** Pick the next of what was found. */
function nextFound(step) {
  const order = model.hits?.order ?? [];
  if (!order.length) return;
  const at = model.picked ? order.indexOf(model.picked.bar) : -1;
  pick({ bar: order[(at + step + order.length + (at < 0 && step < 0 ? 1 : 0)) % order.length] }, { reveal: true });
}

function makeSearch() {
  const now = soon(() => search(find.value), () => model.bars.n > 5000);
  find.disabled = false;
  find.addEventListener("input", now);
  find.addEventListener("keydown", (event) => {
    if (event.key === "Enter") { if (model.search !== find.value) search(find.value); nextFound(event.shiftKey ? -1 : 1); }
    else if (event.key === "Escape" && find.value) { find.value = ""; search(""); }
    else return;
    event.preventDefault();
  });
  find.addEventListener("focus", () => { found.hidden = !model.hits; });
  document.addEventListener("pointerdown", (event) => { if (!found.contains(event.target) && event.target !== find) found.hidden = true; });
  on("found", redraw);
}
