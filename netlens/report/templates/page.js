// Puts the page together: data, theme, print, buttons.

function setTheme(dark) {
  document.documentElement.classList.toggle("dark", dark);
  $("#theme").textContent = dark ? "Light" : "Dark";
  theme.read();
  if (model.core) { drawLegend(); drawNow(); }
}

const prefersDark = matchMedia("(prefers-color-scheme: dark)"), narrow = matchMedia("(max-width: 640px)");
model.theme = ["dark", "light"].includes(readAddress().values.get("theme")) ? readAddress().values.get("theme") : rememberedTheme();
setTheme(model.theme ? model.theme === "dark" : prefersDark.matches);
prefersDark.addEventListener("change", (event) => model.theme || setTheme(event.matches));
$("#theme").addEventListener("click", () => {
  const dark = !document.documentElement.classList.contains("dark");
  model.theme = dark ? "dark" : "light";
  rememberTheme(model.theme);
  setTheme(dark);
  tell("shown");
});
$("#print").addEventListener("click", () => print());
for (const button of $$(".copy[data-copy]")) button.addEventListener("click", () => copyText(button.previousElementSibling.textContent, button));
for (const chip of $$(".chip")) chip.addEventListener("click", () => {
  if (!model.tables) return;
  pickFrame(chip.dataset.side, Number(chip.dataset.frame), Number(chip.dataset.session ?? -1));
  $("#timeline").scrollIntoView();
});
for (const button of $$("[data-unit]")) button.addEventListener("click", () => { model.unit = button.dataset.unit; tell("view"); });
for (const button of $$("[data-scope]")) button.addEventListener("click", () => { model.scope = button.dataset.scope; tell("view"); });
for (const [id, act] of Object.entries({ "zoom-in": () => zoom(0.6), "zoom-out": () => zoom(1 / 0.6), "zoom-all": () => show(model.whole.from, model.whole.to), "next-refusal": () => nextRefusal(1), "previous-refusal": () => nextRefusal(-1) }))
  $("#" + id).addEventListener("click", act);
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || /INPUT|SELECT|TEXTAREA/.test(event.target.tagName)) return;
  if (event.key === "t") $("#theme").click();
  else if (event.key === "/") { event.preventDefault(); find.focus(); }
});

// A phone shows the answer and the timeline; the rest unfolds. What is above stays under the bar of sections.
if (narrow.matches) for (const fold of $$("details.fold")) fold.open = false;
new ResizeObserver(() => {
  const bar = $(".bar");
  document.documentElement.style.scrollPaddingTop = `${getComputedStyle(bar).position === "sticky" ? bar.offsetHeight + 8 : 8}px`;
}).observe($(".bar"));

// Paper is white, has more dots than a screen, and cannot be unfolded or turned.
let before = { dark: false, shut: [] };
function redrawAll() {
  if (sheet.table) fillTable(sheet.table.columns.filter((c) => sheet.all || c.first));
  if (water.rows.length) drawWaterfall();
}
addEventListener("beforeprint", () => {
  before = { dark: document.documentElement.classList.contains("dark"), shut: $$("details:not(.help)").filter((details) => !details.open) };
  model.printing = true;
  for (const details of before.shut) details.open = true;
  setTheme(false);
  redrawAll();
});
addEventListener("afterprint", () => {
  model.printing = false;
  for (const details of before.shut) details.open = false;
  setTheme(before.dark);
  redrawAll();
});

async function start() {
  try {
    prepare(await unpack("core"));
  } catch (error) {
    const failed = $("#failed");
    failed.textContent = `The timeline and the tables could not be read (${error.message}). They need a browser of 2023 or later; the pictures beside this file show the same.`;
    failed.hidden = false;
    return;
  }
  if (!model.core.countable) $('[data-unit="requests"]').disabled = true;
  makeGroups($("#lanes"));
  drawLegend();
  drawNow();
  document.documentElement.dataset.drawn = "true";
  await painted();
  makeWaterfall();
  new ResizeObserver(redraw).observe(stage);
  if (document.readyState === "loading") await new Promise((done) => addEventListener("DOMContentLoaded", done));
  model.tables = await unpack("tables");
  for (const column of model.tables.flatMap((t) => t.columns)) if (column.deltas) {
    let sum = 0;
    column.values = column.deltas.map((d) => (sum += d));
  }
  makeTables();
  makeLookups($("#lanes"));
  makeSearch();
  makeState();
  document.documentElement.dataset.ready = "true";
}
start();
