// The list of answers: filters, order, search, links, keys.
const PAGE = 200;
const FIELDS = ["run", "place", "verdict", "status", "tool", "level", "subject", "case"];
const all = JSON.parse(byId("data").textContent).transcripts;
const runs = JSON.parse(byId("data").textContent).runs;
const load = async (item) => (await chunk("chunk", item.chunk[0]))[item.chunk[1]];

const values = {
  run: (item) => [String(item.run)],
  place: (item) => [item.place],
  verdict: (item) => [item.lost ? "lost" : item.verdict],
  status: (item) => (item.statuses.length ? item.statuses : ["no program"]),
  tool: (item) => item.tools,
  level: (item) => [item.level],
  subject: (item) => [item.subject],
  case: (item) => item.cases,
};
const ORDERS = {
  time: (a, b) => a.order - b.order,
  problem: (a, b) => natural(a.id, b.id) || a.order - b.order,
  "reward, low first": (a, b) => a.reward - b.reward,
  "reward, high first": (a, b) => b.reward - a.reward,
  "tokens, most first": (a, b) => b.sampled - a.sampled,
  "calls, most first": (a, b) => b.calls - a.calls,
  "figures, most first": (a, b) => b.figures - a.figures,
};
const natural = new Intl.Collator("en", { numeric: true }).compare;
let found = [];
let chosen = -1;
let shown = PAGE;
let view = "text";

function fillFilters(form) {
  for (const name of FIELDS) {
    const options = new Set(all.flatMap(values[name]).filter(Boolean));
    const sorted = name === "place" ? [...options] : [...options].sort(natural);
    form.elements[name].append(element("option", { value: "" }, "all"));
    for (const value of sorted) {
      const text = name === "run" ? runs[value] : value.replaceAll("_", " ");
      form.elements[name].append(element("option", { value }, text));
    }
    form.elements[name].parentElement.hidden = options.size < 2;
  }
  const problems = [...new Set(all.map((item) => item.id))].sort(natural);
  byId("problems").append(...problems.map((value) => element("option", { value })));
  form.elements.problem.parentElement.hidden = problems.length < 2;
  form.elements.order.append(...Object.keys(ORDERS).map((value) => element("option", { value }, value)));
}

// Text of all answers in lower case; made when somebody first searches.
let texts;
async function searchable() {
  if (texts) return texts;
  texts = new Map();
  for (const [number, item] of all.entries()) {
    if (number % 500 === 0) byId("found").textContent = `Reading ${number} of ${all.length} answers`;
    const whole = await load(item);
    const parts = [item.id, whole.question, whole.answer, ...whole.turns.flatMap((turn) => [turn.text, turn.output])];
    texts.set(item, parts.join("\n"));
  }
  return texts;
}

function pattern(text) {
  if (!text) return undefined;
  const given = /^\/(.+)\/$/.exec(text);
  const source = given ? given[1] : text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
  return new RegExp(source, "im");
}

let refreshing = 0;
async function refresh() {
  const form = byId("filters");
  const turn = ++refreshing;
  const wanted = FIELDS.map((name) => [name, form.elements[name].value]).filter(([, value]) => value);
  const problem = form.elements.problem.value.trim();
  let text;
  try { text = pattern(form.elements.text.value.trim()); } catch (error) {
    byId("found").textContent = `Not a pattern: ${error.message}`;
    return;
  }
  const read = text && await searchable();
  if (turn !== refreshing) return;
  found = all.filter((item) => wanted.every(([name, value]) => values[name](item).includes(value))
    && (!problem || item.id === problem) && (!text || text.test(read.get(item))));
  found.sort(ORDERS[form.elements.order.value] || ORDERS.time);
  chosen = -1;
  shown = PAGE;
  const right = found.filter((item) => item.verdict === "correct" && !item.lost).length;
  const lost = found.filter((item) => item.lost).length;
  const share = found.length > lost ? ` (${((100 * right) / (found.length - lost)).toFixed(1)} %)` : "";
  byId("found").textContent = `${found.length} answers, ${right} correct${share}` + (lost ? `, ${lost} lost` : "");
  byId("list").replaceChildren();
  drawList(0);
}

function drawList(from) {
  byId("list").append(...found.slice(from, shown).map((item, offset) => row(item, from + offset)));
  byId("more").hidden = shown >= found.length;
  byId("more").textContent = `Show more (${Math.min(shown, found.length)} of ${found.length})`;
}

function row(item, index) {
  const marks = item.statuses.join(", ") || "no program";
  const figures = item.figures ? ` · ${item.figures} figure${item.figures > 1 ? "s" : ""}` : "";
  return element("li", {}, element("button", { type: "button", onclick: () => choose(index, true) },
    element("span", {}, verdict(item), ` ${where(item)} · ${marks}${figures}`),
    element("small", {}, ...visible(`${item.id} #${item.sample}  ${item.head}`))));
}
const where = (item) => (runs.length > 1 ? `${runs[item.run]} ${item.place}` : item.place);

function mark(item) {
  const good = item.verdict === "correct" && !item.lost;
  const text = item.lost ? "lost" : item.verdict.replaceAll("_", " ") || "no verdict";
  return (good ? "✓ " : "✗ ") + text;
}
function verdict(item) {
  return element("span", { class: mark(item).startsWith("✓") ? "good" : "bad" }, mark(item));
}

function choose(index, move) {
  if (index < 0 || index >= found.length) return;
  if (index >= shown) { const from = shown; shown = index + PAGE; drawList(from); }
  const buttons = byId("list").querySelectorAll("button");
  buttons[chosen]?.removeAttribute("aria-current");
  chosen = index;
  buttons[index].setAttribute("aria-current", "true");
  drawDetail(found[index]);
  const narrow = matchMedia("(max-width: 46rem)").matches;
  if ((move && narrow) || byId("detail").getBoundingClientRect().top < 0) byId("detail").scrollIntoView();
  if (!(move && narrow)) buttons[index].focus({ preventScroll: narrow });
}

function nextWrong(step) {
  const wrong = (item) => item.verdict !== "correct" && !item.lost;
  for (let index = chosen + step; index >= 0 && index < found.length; index += step) {
    if (wrong(found[index])) { choose(index, false); return; }
  }
  say(step > 0 ? "No wrong answer below." : "No wrong answer above.");
}

// Siblings: the other answers to the same problem in the same place.
const families = new Map();
const family = (item) => JSON.stringify([item.run, item.place, item.id]);
function siblings(item) {
  if (!families.size) {
    for (const one of all) {
      if (!families.has(family(one))) families.set(family(one), []);
      families.get(family(one)).push(one);
    }
  }
  return families.get(family(item)).filter((other) => other !== item);
}

let open;
async function drawDetail(item) {
  open = item;
  history.replaceState(null, "", link(item));
  let whole, others, body;
  try {
    whole = await load(item);
    others = await Promise.all(siblings(item).map(async (other) => [other, await load(other)]));
    if (view === "tokens") body = [await drawTokens(item)];
  } catch (error) {
    byId("detail").replaceChildren(element("p", { class: "bad" }, error.message));
    return;
  }
  // Somebody who holds a key down is at another answer by now.
  if (open !== item) return;
  if (view === "tree") body = [drawTree(item, whole, others)];
  body ??= whole.turns.flatMap((turn, index) => [drawTurn(turn, index), drawBranches(item, whole, others, index)]);
  const terms = Object.entries(whole.terms).map(([name, value]) => `${name} ${value}`).join(", ");
  const facts = [`reward ${item.reward}` + (terms ? ` (${terms})` : ""), `${item.sampled} tokens`,
    `ended by ${whole.stop.replaceAll("_", " ") || "nothing"}`];
  if (item.level) facts.push(`level ${item.level}`);
  if (item.subject) facts.push(item.subject);
  if (item.lost) facts.push(`lost: ${item.lost}`);
  if (item.parent >= 0) facts.push(`branched off #${item.parent} after ${item.shared} tokens`);
  byId("detail").replaceChildren(
    element("h3", {}, verdict(item), ` ${where(item)} · ${item.id} #${item.sample}`),
    block("p", { class: "prose" }, whole.question),
    element("p", {}, "Answer ", ...visible(whole.answer || "none"), ", reference ", ...visible(whole.reference)),
    element("p", {}, ...[...facts, ...item.cases.map((name) => name.replaceAll("_", " "))]
      .map((fact) => element("span", { class: "tag" }, ...visible(fact)))),
    actions(item),
    ...body);
}

function openItem(item) {
  const index = found.indexOf(item);
  if (index >= 0) choose(index, true);
  else drawDetail(item);
  byId("detail").scrollIntoView();
  byId("detail").focus();
}

function showView(name) {
  view = name;
  if (open) drawDetail(open);
}

async function filterBy(fields, item) {
  const form = byId("filters");
  form.reset();
  for (const [name, value] of Object.entries(fields)) form.elements[name].value = value;
  await refresh();
  choose(Math.max(0, found.indexOf(item)), false);
}

function actions(item) {
  const one = { problem: item.id, run: String(item.run) };
  return element("div", { class: "actions" },
    element("span", { role: "group", "aria-label": "View", class: "views" },
      ...["text", "tokens", "tree"].map((name) =>
        button(name[0].toUpperCase() + name.slice(1), () => showView(name), { "aria-pressed": String(view === name) }))),
    button("Copy link", () => copy(new URL(link(item), location.href).href, "The link is copied."), { id: "copy" }),
    button("Follow this problem", () => filterBy(one, item)),
    button("Its other answers here", () => filterBy({ ...one, place: item.place }, item)),
    button("To the list", () => byId("list").scrollIntoView()));
}

// A link names what it shows by run, place, problem and sample, so that it also finds the answer on
// a page that was made anew.
function link(item) {
  return "#" + new URLSearchParams({ run: runs[item.run], place: item.place, problem: item.id, sample: item.sample });
}

async function followLink() {
  const wanted = new URLSearchParams(location.hash.slice(1));
  if (wanted.has("compare")) { openComparison(wanted); return; }
  if (!wanted.has("sample")) return;
  const item = all.find((one) => runs[one.run] === wanted.get("run") && one.place === wanted.get("place")
    && one.id === wanted.get("problem") && String(one.sample) === wanted.get("sample"));
  if (!item) {
    const said = `The answer that the link names is not on this page: ${[...wanted.values()].join(", ")}.`;
    byId("detail").replaceChildren(element("p", { class: "bad" }, said));
    byId("detail").scrollIntoView();
    return;
  }
  if (item === open) return;
  await refresh();
  openItem(item);
}

function exportList() {
  const columns = ["run", "place", "id", "sample", "verdict", "lost", "reward", "sampled", "calls", "figures", "level", "subject"];
  const rows = found.map((item) => [
    ...columns.map((name) => (name === "run" ? runs[item.run] : item[name])),
    item.statuses.join(" "), item.tools.join(" "), item.cases.join(" "), item.head]);
  download("answers", [[...columns, "statuses", "tools", "behaviour", "question"], ...rows]);
}

const VIEWS = ["text", "tokens", "tree"];
const KEYS = {
  "?": () => byId("help").showModal(),
  "/": () => byId("filters").elements.text.focus(),
  j: () => choose(Math.max(0, chosen + 1), false),
  k: () => choose(Math.max(0, chosen - 1), false),
  n: () => nextWrong(1),
  N: () => nextWrong(-1),
  c: () => byId("copy")?.click(),
  v: () => open && showView(VIEWS[(VIEWS.indexOf(view) + 1) % VIEWS.length]),
  t: () => byId("theme").click(),
};
function onKey(event) {
  const typing = ["INPUT", "SELECT", "TEXTAREA"].includes(event.target.tagName);
  if (event.key === "Escape" && typing) event.target.blur();
  if (typing || event.ctrlKey || event.metaKey || event.altKey || byId("help").open) return;
  const inList = byId("list").contains(document.activeElement);
  const arrow = inList ? { ArrowDown: "j", ArrowUp: "k" }[event.key] : undefined;
  const act = KEYS[arrow ?? event.key];
  if (!act) return;
  act();
  event.preventDefault();
}

// The first cell of each behaviour becomes a button that leaves its cases in the list.
function setUpCases() {
  for (const part of document.querySelectorAll(".cases")) {
    for (const cell of part.querySelectorAll("tbody td:first-child")) {
      const name = cell.textContent.replaceAll(" ", "_");
      const { run, place } = part.dataset;
      const is = (item) => String(item.run) === run && item.place === place && item.cases.includes(name);
      if (!all.some(is)) continue;
      cell.replaceChildren(button(cell.textContent, async () => {
        await filterBy({ run, place, case: name });
        byId("transcripts").scrollIntoView();
      }));
    }
  }
}

async function setUpViewer() {
  const form = byId("filters");
  if (!form) return;
  fillFilters(form);
  let waiting;
  form.addEventListener("input", () => { clearTimeout(waiting); waiting = setTimeout(refresh, 120); });
  form.addEventListener("submit", (event) => { event.preventDefault(); refresh(); });
  byId("clear").addEventListener("click", () => { form.reset(); refresh(); });
  byId("more").addEventListener("click", () => { const from = shown; shown += PAGE; drawList(from); });
  byId("export").addEventListener("click", exportList);
  byId("keys").addEventListener("click", KEYS["?"]);
  byId("keys").hidden = false;
  document.addEventListener("keydown", onKey);
  window.addEventListener("hashchange", followLink);
  setUpCases();
  setUpComparison();
  await refresh();
  followLink();
}

// A running training grows: its page loads itself again when the server has another, unless somebody
// reads an answer or types, who is told.
function setUpRefresh() {
  const seconds = Number(root.dataset.refresh);
  if (!seconds) return;
  let seen;
  setInterval(async () => {
    let tag;
    try {
      tag = (await fetch(location.pathname, { method: "HEAD", cache: "no-store" })).headers.get("ETag");
    } catch { return; }
    seen ??= tag;
    if (tag === seen) return;
    if (open || document.activeElement?.closest("form")) say("The run has gone on: reload the page to see it.");
    else location.reload();
  }, 1000 * seconds);
}
