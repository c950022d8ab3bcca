// All tables: sorted by a click on a column's name, filtered by text or per column, a page at a time.

const SIZES = [25, 50, 100, 500], PRINTED = 500; // rows on paper
const sheet = { table: null, usual: null, order: [], sort: null, down: false, text: "", filters: {}, page: 0, size: 25, all: false };

function shownCell(column, value) {
  if (value === null || value === undefined) return "";
  if (column.type === "time") return seconds(value);
  if (column.type === "list") return value.join(", ");
  if (column.type === "number") return Number.isInteger(value) ? (/(_id|_port|port|txid|isn|stream|frame)$/.test(column.name) ? String(value) : number(value)) : String(+value.toPrecision(6));
  return String(value);
}

/** What the filter of all columns looks at: as it is shown, but numbers plain. */
const searched = (column, value) => (value === null ? "" : column.type === "time" ? seconds(value) : column.type === "list" ? value.join(", ") : String(value)).toLowerCase();

const rawCell = (column, value) => (value === null ? null : column.type === "time" ? value / 1e9 : column.type === "list" ? value.join(", ") : value);

/** A column's filter: `>5`, `<=2`, `=x`, `!=x`, `1..9`, or text that the value contains. */
function test(column, wanted) {
  const said = wanted.trim(), numeric = column.type === "number" || column.type === "time";
  const range = numeric && /^(-?[\d.]+)\.\.(-?[\d.]+)$/.exec(said);
  if (range) return (value) => value !== null && value >= Number(range[1]) && value <= Number(range[2]);
  const found = /^(>=|<=|!=|>|<|=)\s*(.*)$/.exec(said);
  if (!found) {
    const lower = said.toLowerCase();
    return (value) => String(value ?? "").toLowerCase().includes(lower);
  }
  const [, sign, text] = found, limit = numeric && text !== "" ? Number(text.replaceAll(",", "")) : text.toLowerCase();
  const compare = { ">": (a) => a > limit, "<": (a) => a < limit, ">=": (a) => a >= limit, "<=": (a) => a <= limit, "=": (a) => a === limit, "!=": (a) => a !== limit }[sign];
  return (value) => (value === null ? sign === "!=" : compare(numeric ? value : String(value).toLowerCase()));
}

function arrange() {
  const { table } = sheet, n = table.columns[0].values.length;
  let rows = Array.from({ length: n }, (_, k) => k);
  const text = sheet.text.trim().toLowerCase();
  const looked = table.columns.filter((c) => sheet.all || c.first);
  if (text) rows = rows.filter((k) => looked.some((c) => searched(c, c.values[k]).includes(text)));
  for (const [name, wanted] of Object.entries(sheet.filters)) {
    if (!wanted.trim()) continue;
    const column = table.columns.find((c) => c.name === name), passes = test(column, wanted);
    rows = rows.filter((k) => passes(rawCell(column, column.values[k])));
  }
  if (sheet.sort) {
    const column = table.columns.find((c) => c.name === sheet.sort), sign = sheet.down ? -1 : 1;
    const keys = column.values.map((value) => rawCell(column, value));
    rows.sort((a, b) => {
      const x = keys[a], y = keys[b];
      if (x === null || y === null) return x === y ? a - b : x === null ? 1 : -1;
      return x < y ? -sign : x > y ? sign : a - b;
    });
  }
  sheet.order = rows;
  sheet.page = Math.min(sheet.page, Math.max(0, Math.ceil(rows.length / sheet.size) - 1));
}

function utc(ns) {
  const whole = BigInt(model.core.t0_ns) + BigInt(Math.round(ns)), millis = Number(whole / 1000000n), rest = String(whole % 1000000000n).padStart(9, "0");
  const date = new Date(millis);
  return Number.isNaN(date.getTime()) ? `${whole} ns since 1970` : `${date.toISOString().slice(0, 19).replace("T", " ")}.${rest} UTC`;
}

function openTable(table) {
  Object.assign(sheet, { table, sort: null, down: false, text: "", filters: {}, page: 0 });
  tableOf(table.kind, table.capture);
  for (const tab of $$("#table-tabs button")) {
    const mine = tab.dataset.table === table.id;
    tab.setAttribute("aria-selected", String(mine));
    tab.tabIndex = mine ? 0 : -1;
  }
  $("#table-panel").setAttribute("aria-labelledby", `tab-${table.id}`);
  frameTable();
}

/** The tools and the head, which stay while one types; the rows are filled by fillTable. */
function frameTable() {
  const { table } = sheet, panel = $("#table-panel");
  const columns = table.columns.filter((c) => sheet.all || c.first);
  const again = () => { sheet.page = 0; arrange(); fillTable(columns); tell("table"); }, typed = soon(again);
  const head = el("tr", {}, columns.map((c) => el("th", { scope: "col", class: c.type === "number" || c.type === "time" ? "number" : null, title: `${c.meaning}${c.unit ? ` [${c.unit}]` : ""}`, "data-column": c.name },
    el("button", { type: "button", class: "sort", onclick: () => {
      sheet.down = sheet.sort === c.name ? !sheet.down : false;
      sheet.sort = c.name;
      for (const th of $$("th", head)) th.removeAttribute("aria-sort");
      $(`th[data-column="${CSS.escape(c.name)}"]`, head).setAttribute("aria-sort", sheet.down ? "descending" : "ascending");
      again();
    } }, c.name), c.unit && c.unit !== "ns since 1970 UTC" ? el("span", { class: "unit" }, ` ${c.unit}`) : null)));
  const filters = el("tr", {}, columns.map((c) => el("td", {}, el("input", { type: "text", value: sheet.filters[c.name] ?? "", spellcheck: false,
    placeholder: c.type === "number" || c.type === "time" ? ">, <, a..b" : "contains", "aria-label": `Filter ${c.name}`,
    oninput: (event) => { sheet.filters[c.name] = event.target.value; typed(); } }))));
  const search = el("input", { type: "search", placeholder: "Filter all columns", value: sheet.text, "aria-label": `Filter ${table.title}`, oninput: (event) => { sheet.text = event.target.value; typed(); } });
  const wider = el("label", {}, el("input", { type: "checkbox", checked: sheet.all, onchange: (event) => { sheet.all = event.target.checked; frameTable(); } }), ` all ${table.columns.length} columns`);
  const size = el("select", { "aria-label": "Rows a page", onchange: (event) => { sheet.size = Number(event.target.value); again(); } },
    SIZES.map((n) => el("option", { value: n, selected: n === sheet.size }, `${n} rows`)));
  const turn = (step, word) => el("button", { type: "button", "data-turn": step, "aria-label": `${word} page`, onclick: () => { sheet.page += step; fillTable(columns); } }, step < 0 ? "‹" : "›");
  const held = table.columns[0].values.length;
  const all = model.core.captures[table.capture ?? 0].paths.map(quoted).join(" ");
  const names = { lookups: "dns", sessions: "sessions", connections: "connections", exchanges: "exchanges" };
  panel.replaceChildren(
    el("div", { class: "table-tools" }, search, table.columns.some((c) => !c.first) ? wider : null, turn(-1, "Previous"), el("span", { id: "table-status", role: "status" }), turn(1, "Next"), size,
      el("button", { type: "button", id: "csv", title: "All columns of the rows that pass the filters; times in ns since 1970, on the host's clock", onclick: () => download(`${table.id}.csv`, csvOf(sheet)) }, "Download CSV")),
    el("p", { id: "table-printed", class: "print-only" }),
    held < table.rows ? el("p", { class: "caution" }, `The first ${number(held)} of ${number(table.rows)} rows are in this page.`) : "",
    el("div", { class: "scroll tall", tabIndex: 0, role: "region", "aria-label": table.title }, el("table", { class: "data" }, el("caption", { class: "sr" }, table.title), el("thead", {}, head, filters), el("tbody"))),
    names[table.kind] ? copyable(`netlens ${names[table.kind]} ${all} --format csv`, "Command that gives this table") : "",
  );
  if (sheet.sort) $(`th[data-column="${CSS.escape(sheet.sort)}"]`, head)?.setAttribute("aria-sort", sheet.down ? "descending" : "ascending");
  arrange();
  fillTable(columns);
  tell("table");
}

function fillTable(columns) {
  const { table, order, page } = sheet, size = model.printing ? PRINTED : sheet.size, from = page * size, rows = order.slice(from, from + size);
  const outcome = table.columns.find((c) => c.name === "outcome" || c.name === "rejected");
  const body = $("#table-panel tbody");
  body.replaceChildren(...rows.map((k) => {
    const refused = outcome && (outcome.values[k] === "refused" || outcome.values[k] === true);
    return el("tr", { class: `${refused ? "refused" : ""} ${rowIsPicked(table, k) ? "picked" : ""}`.trim(), "data-row": k, tabIndex: 0,
      onclick: () => pickRow(table, k), onkeydown: (event) => event.key === "Enter" && pickRow(table, k) },
    columns.map((c) => {
      const value = c.values[k], text = shownCell(c, value);
      return el("td", { class: c.type === "number" || c.type === "time" ? "number" : "", title: c.type === "time" && value !== null ? utc(value) : text.length > 40 ? text : null }, text);
    }));
  }));
  if (!rows.length) body.append(el("tr", {}, el("td", { colspan: columns.length }, "No row.")));
  const status = order.length ? `${number(from + 1)} to ${number(from + rows.length)} of ${number(order.length)}` : "0 rows";
  $("#table-printed").textContent = `${table.title}: ${status === "0 rows" ? status : `rows ${status}`}${order.length === table.columns[0].values.length ? "" : `, filtered from ${number(table.columns[0].values.length)}`}${sheet.all ? "" : ", most used columns"}`;
  $("#table-status").textContent = order.length === table.columns[0].values.length ? status : `${status} (of ${number(table.columns[0].values.length)} in total)`;
  for (const button of $$("[data-turn]")) button.disabled = button.dataset.turn === "-1" ? page === 0 : from + size >= order.length;
}

/** The bar of a row; -1 without. */
function barOfRow(table, k) {
  const get = (name) => table.columns.find((c) => c.name === name)?.values[k];
  switch (table.kind) {
    case "connections": return barsOf(table.capture) + k;
    case "sessions": case "exchanges": case "hellos": case "tunnels": return barOfSession(table.capture, get("session_id"));
    case "lookups": { const id = get("connection_ids")?.[0]; return id === undefined ? -1 : barsOf(table.capture) + id; }
    case "requests": { const c = get("connection"); return c === null ? -1 : barsOf(model.core.captures.length - 1) + c; }
    default: return -1;
  }
}

function rowIsPicked(table, k) {
  if (!model.picked || model.picked.bar < 0) return false;
  if (table.kind === "requests") return model.picked.call >= 0 ? model.calls.request[model.picked.call] === k : isPicked(barOfRow(table, k));
  return ["connections", "sessions", "exchanges", "hellos"].includes(table.kind) && isPicked(barOfRow(table, k));
}

function pickRow(table, k) {
  const bar = barOfRow(table, k);
  if (table.kind === "lookups") return pick({ lookup: { capture: table.capture, row: k } }, { reveal: true });
  if (bar < 0) return;
  let call = -1;
  for (let c = model.callsFrom[bar]; c < model.callsFrom[bar + 1]; c++)
    if (table.kind === "requests" ? model.calls.request[c] === k : table.kind === "exchanges" && model.calls.exchange[c] === k) call = c;
  pick({ bar, call }, { reveal: true });
}

/** Typing must not wait for each letter where there is much to look through: the last one counts. */
function soon(act, long = () => sheet.table.rows >= 5000) {
  let waiting = 0;
  return () => {
    clearTimeout(waiting);
    if (!long()) act();
    else waiting = setTimeout(act, 250);
  };
}

/** The rows that are chosen, with all columns, as `netlens ... --format csv` writes them; times are exact, and on the host's clock. */
function csvOf({ table, order }) {
  const text = (value) => (/^[=+@-]/.test(value) ? `'${value}` : value), quote = (value) => (/[",\n\r]/.test(value) ? `"${value.replaceAll('"', '""')}"` : value);
  const one = (c, value) => {
    if (value === null || value === undefined) return "";
    if (c.type === "time") return String(BigInt(model.core.t0_ns) + BigInt(Math.round(value)));
    if (c.type === "list") return value.length ? quote(text(value.join(";"))) : "";
    return c.type === "text" ? quote(text(value)) : String(value);
  };
  return [table.columns.map((c) => quote(c.name)).join(","), ...order.map((k) => table.columns.map((c) => one(c, c.values[k])).join(","))].join("\n") + "\n";
}

function download(name, text) {
  const url = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
  el("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

function makeTables() {
  const tabs = $("#table-tabs"), filled = model.tables.filter((t) => t.rows);
  tabs.replaceChildren(...filled.map((t) => el("button", { type: "button", role: "tab", id: `tab-${t.id}`, "data-table": t.id, "aria-controls": "table-panel", onclick: () => openTable(t) },
    t.title, " ", el("span", { class: "rows" }, number(t.rows)))));
  tabs.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    const all = $$("button", tabs), next = all[(all.indexOf(document.activeElement) + step + all.length) % all.length];
    next.focus();
    next.click();
  });
  sheet.usual = filled[0] ?? null;
  if (sheet.usual) openTable(sheet.usual);
  on("picked", () => sheet.table && fillTable(sheet.table.columns.filter((c) => sheet.all || c.first)));
}
