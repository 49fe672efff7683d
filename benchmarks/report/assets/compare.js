// Two places side by side on the same problems: two runs, two evaluations or two steps of one.
const SHOWN = {
  "all problems": () => true,
  "that differ": (line) => line.a.right * line.b.answers.length !== line.b.right * line.a.answers.length,
  "better in B": (line) => line.gap > 0,
  "worse in B": (line) => line.gap < 0,
  "never right": (line) => line.a.right + line.b.right === 0,
};
let compared = [];

// A problem is the same where id and question are: two suites may both have a p1.
function sides() {
  const places = new Map();
  for (const item of all) {
    const name = JSON.stringify([runs[item.run], item.place]);
    if (!places.has(name)) places.set(name, new Map());
    const problems = places.get(name);
    const key = JSON.stringify([item.id, item.question]);
    if (!problems.has(key)) problems.set(key, []);
    problems.get(key).push(item);
  }
  return places;
}

function setUpComparison() {
  const form = byId("sides");
  const places = sides();
  const share = (a, b) => a !== b && [...places.get(a).keys()].some((key) => places.get(b).has(key));
  const names = [...places.keys()].filter((a) => [...places.keys()].some((b) => share(a, b)));
  if (!names.length) { byId("comparison").remove(); dropLink("comparison"); return; }
  for (const select of [form.elements.a, form.elements.b]) {
    select.append(...names.map((name) => element("option", { value: name },
      JSON.parse(name).slice(runs.length > 1 ? 0 : 1).join(": "))));
  }
  form.elements.which.append(...Object.keys(SHOWN).map((name) => element("option", { value: name }, name)));
  // Two runs: the same evaluation of both, the last that both have; one run: its first and last.
  const pairs = names.flatMap((a) => names.filter((b) => share(a, b)).map((b) => [a, b].map((one) => [one, ...JSON.parse(one)])));
  const evaluation = (place) => !place.startsWith("step ");
  const value = ([[a, runA, placeA], [b, runB, placeB]]) => (runs.length > 1
    ? (runA === runs[0] && runB !== runA) * 8 + (placeA === placeB) * 4 : (names.indexOf(a) < names.indexOf(b)) * 8)
    + evaluation(placeA) + evaluation(placeB) * 2 + (evaluation(placeB) ? 0.01 : 0.001) * names.indexOf(b) / names.length;
  const best = pairs.reduce((x, y) => (value(y) > value(x) ? y : x));
  form.elements.a.value = best[0][0];
  form.elements.b.value = best[1][0];
  form.addEventListener("input", () => drawComparison(places));
  form.addEventListener("submit", (event) => event.preventDefault());
  byId("export-comparison").addEventListener("click", exportComparison);
  byId("more-compared").addEventListener("click", () => drawLines(byId("compared").childElementCount + PAGE));
  drawComparison(places);
}
const dropLink = (id) => document.querySelector(`nav a[href="#${id}"]`)?.remove();

function drawComparison(places) {
  const form = byId("sides");
  const [a, b] = [places.get(form.elements.a.value), places.get(form.elements.b.value)];
  const side = (items) => {
    const answers = items.filter((item) => !item.lost);
    return { items, answers, right: answers.filter((item) => item.verdict === "correct").length };
  };
  const lines = [...a.keys()].filter((key) => b.has(key)).map((key) => {
    const line = { id: JSON.parse(key)[0], a: side(a.get(key)), b: side(b.get(key)) };
    const known = line.a.answers.length && line.b.answers.length;
    line.gap = known ? line.b.right / line.b.answers.length - line.a.right / line.a.answers.length : 0;
    line.known = known > 0;
    return line;
  });
  const known = lines.filter((line) => line.known);
  const mean = (name) => known.reduce((sum, line) => sum + line[name].right / line[name].answers.length, 0) / known.length;
  const better = known.filter((line) => line.gap > 0).length;
  const worse = known.filter((line) => line.gap < 0).length;
  byId("difference").textContent = known.length
    ? `${known.length} problems with answers on both sides: A ${(100 * mean("a")).toFixed(1)} %, B ${(100 * mean("b")).toFixed(1)} %, `
      + `difference ${(100 * (mean("b") - mean("a"))).toFixed(1)} points; ${better} better in B, ${worse} worse. `
      + "torl compare says whether that is more than chance."
    : "No problem has answers on both sides.";
  compared = lines.filter(SHOWN[form.elements.which.value] ?? SHOWN["all problems"])
    .sort((x, y) => Math.abs(y.gap) - Math.abs(x.gap) || natural(x.id, y.id));
  byId("compared").replaceChildren();
  byId("pair").replaceChildren();
  drawLines(PAGE);
}

function drawLines(until) {
  const body = byId("compared");
  const from = body.childElementCount;
  const score = ({ right, answers }) => `${right}/${answers.length}`;
  body.append(...compared.slice(from, until).map((line) => element("tr", {},
    element("td", {}, button(line.id, () => drawPair(line, 0, 0, true))),
    element("td", {}, score(line.a)), element("td", {}, score(line.b)),
    element("td", { class: line.gap > 0 ? "good" : line.gap < 0 ? "bad" : "" },
      line.known ? `${line.gap > 0 ? "+" : ""}${(100 * line.gap).toFixed(0)}` : "-"),
    element("td", { class: "head" }, ...visible(line.a.items[0].head)))));
  const more = byId("more-compared");
  more.hidden = compared.length <= body.childElementCount;
  more.textContent = `Show more (${body.childElementCount} of ${compared.length})`;
}

async function drawPair(line, i, j, move) {
  // A link may name an answer that this page does not have.
  if (!line.a.items[i]) i = 0;
  if (!line.b.items[j]) j = 0;
  const [a, b] = [line.a.items[i], line.b.items[j]];
  const [first, second] = [await load(a), await load(b)];
  const place = "#" + new URLSearchParams({ compare: line.id, a: byId("sides").elements.a.value, b: byId("sides").elements.b.value, i, j });
  history.replaceState(null, "", place);
  const column = (name, item, whole, items, at, go) => element("article", { "aria-label": `Side ${name}` },
    element("h3", {}, `${name} · `, verdict(item), ` ${where(item)} #${item.sample}`),
    element("div", { class: "actions" },
      button("‹", () => go(at - 1), { "aria-label": `Answer before in ${name}`, disabled: at === 0 }),
      element("span", {}, `${at + 1} of ${items.length}`),
      button("›", () => go(at + 1), { "aria-label": `Next answer in ${name}`, disabled: at === items.length - 1 }),
      button("Open", () => openItem(item))),
    element("p", {}, "Answer ", ...visible(whole.answer || "none"), ` · reward ${item.reward} · ${item.sampled} tokens · ${item.calls} call${item.calls === 1 ? "" : "s"}`),
    ...whole.turns.map((turn, index) => drawTurn(turn, index)));
  byId("pair").replaceChildren(
    block("p", { class: "prose" }, first.question),
    element("p", {}, "Reference ", ...visible(first.reference), " ",
      button("Copy link", () => copy(new URL(place, location.href).href, "The link is copied."))),
    element("div", { class: "pair" },
      column("A", a, first, line.a.items, i, (to) => drawPair(line, to, j)),
      column("B", b, second, line.b.items, j, (to) => drawPair(line, i, to))));
  if (move) byId("pair").scrollIntoView();
}

function openComparison(wanted) {
  const form = byId("sides");
  const has = (select, value) => [...select.options].some((option) => option.value === value);
  if (!form || !has(form.elements.a, wanted.get("a")) || !has(form.elements.b, wanted.get("b"))) {
    say("What the link compares is not on this page.");
    return;
  }
  form.elements.a.value = wanted.get("a");
  form.elements.b.value = wanted.get("b");
  form.elements.which.value = "all problems";
  drawComparison(sides());
  const line = compared.find((one) => one.id === wanted.get("compare"));
  if (line) drawPair(line, Number(wanted.get("i")) || 0, Number(wanted.get("j")) || 0, true);
  else say("What the link compares is not on this page.");
}

function exportComparison() {
  const columns = ["problem", "A right", "A answers", "B right", "B answers", "difference", "question"];
  download("comparison", [columns, ...compared.map((line) => [line.id, line.a.right, line.a.answers.length,
    line.b.right, line.b.answers.length, line.known ? line.gap : "", line.a.items[0].head])]);
}

setUpTheme();
setUpRefresh();
setUpNavigation();
setUpTables();
setUpViewer();
