// Puts the page together: data, theme, print, buttons.

function setTheme(dark) {
  document.documentElement.classList.toggle("dark", dark);
  $("#theme").textContent = dark ? "Light" : "Dark";
  theme.read();
  if (model.core) { drawLegend(); drawNow(); }
}

const prefersDark = matchMedia("(prefers-color-scheme: dark)");
setTheme(prefersDark.matches);
prefersDark.addEventListener("change", (event) => setTheme(event.matches));
$("#theme").addEventListener("click", () => setTheme(!document.documentElement.classList.contains("dark")));
$("#print").addEventListener("click", () => print());
for (const button of $$(".copy[data-copy]")) button.addEventListener("click", () => copyText(button.previousElementSibling.textContent, button));
for (const chip of $$(".chip")) chip.addEventListener("click", () => {
  if (!model.tables) return;
  pickFrame(chip.dataset.side, Number(chip.dataset.frame), Number(chip.dataset.session ?? -1));
  $("#timeline").scrollIntoView();
});
for (const button of $$("[data-unit]")) button.addEventListener("click", () => { model.unit = button.dataset.unit; redraw(); });
for (const button of $$("[data-scope]")) button.addEventListener("click", () => { model.scope = button.dataset.scope; redraw(); });
for (const [id, act] of Object.entries({ "zoom-in": () => zoom(0.6), "zoom-out": () => zoom(1 / 0.6), "zoom-all": () => show(model.whole.from, model.whole.to), "next-refusal": () => nextRefusal(1), "previous-refusal": () => nextRefusal(-1) }))
  $("#" + id).addEventListener("click", act);
document.addEventListener("keydown", (event) => {
  if (event.key === "t" && !event.ctrlKey && !event.metaKey && !event.altKey && !/INPUT|SELECT|TEXTAREA/.test(event.target.tagName)) $("#theme").click();
});

// Paper is white, and has more dots than a screen.
let before = false;
addEventListener("beforeprint", () => {
  before = document.documentElement.classList.contains("dark");
  model.printing = true;
  for (const details of $$("details:not(.help)")) details.open = true;
  setTheme(false);
});
addEventListener("afterprint", () => { model.printing = false; setTheme(before); });

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
  makeWaterfall();
  new ResizeObserver(redraw).observe(stage);
  model.tables = await unpack("tables");
  for (const column of model.tables.flatMap((t) => t.columns)) if (column.deltas) {
    let sum = 0;
    column.values = column.deltas.map((d) => (sum += d));
  }
  makeTables();
  document.documentElement.dataset.ready = "true";
}
start();
