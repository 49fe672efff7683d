// One answer: its turns with calls and outputs, its tokens, and the tree of its siblings.
const TAGS = new Set(["python", "output", ...all.flatMap((item) => item.tools)]);
const ESCAPED = [...TAGS].map((name) => name.replace(/[^\w]/g, "\\$&")).join("|");
const CALL = new RegExp("^ {0,3}```+([\\w+#.-]*)[^\\n]*\\n([^]*?)(?:^ {0,3}```+|(?![^]))"
  + "|<(tool_call|tool_response)>([^]*?)(?:</\\3>|(?![^]))"
  + `|<(${ESCAPED})>([^]*?)(?:</\\5>|(?![^]))`, "gm");

// The text of a turn as prose, programs, calls with arguments, and outputs that the model made up.
function parts(text) {
  const found = [];
  let from = 0;
  for (const hit of text.matchAll(CALL)) {
    found.push({ kind: "", text: text.slice(from, hit.index) });
    from = hit.index + hit[0].length;
    const name = (hit[1] ?? hit[3] ?? hit[5]).toLowerCase();
    const body = hit[2] ?? hit[4] ?? hit[6] ?? "";
    if (name === "output" || name === "tool_response") found.push({ kind: "output written by the model", text: body });
    else if (name === "tool_call") found.push({ kind: "call", text: body });
    else if (["python", "python3", "py"].includes(name)) found.push({ kind: "code", text: body });
    else found.push({ kind: hit[3] || TAGS.has(name) ? `call of ${name}` : name || "block", text: body });
  }
  found.push({ kind: "", text: text.slice(from) });
  return found.filter((part) => part.text.trim());
}

function drawPart(part) {
  if (!part.kind) return block("div", { class: "prose" }, part.text.trim());
  let call;
  if (part.kind === "call" || part.kind.startsWith("call of")) {
    try { call = JSON.parse(part.text); } catch { call = undefined; }
  }
  if (part.kind === "call") {
    if (typeof call?.name !== "string") {
      return block("pre", { "data-kind": "call that cannot be read", tabindex: "0" }, part.text.trim());
    }
    return drawArguments(`call of ${call.name}`, call.arguments ?? {});
  }
  if (call && typeof call === "object" && !Array.isArray(call)) return drawArguments(part.kind, call);
  return block("pre", { "data-kind": part.kind, tabindex: "0" }, part.text.replace(/^\n+/, "").trimEnd());
}

function drawArguments(kind, given) {
  const named = given && typeof given === "object" && !Array.isArray(given) ? Object.entries(given) : [["", given]];
  const text = (value) => (typeof value === "string" ? value : JSON.stringify(value, null, 1));
  return element("dl", { class: "call", "data-kind": kind },
    ...named.flatMap(([name, value]) => [
      element("dt", {}, ...visible(name)),
      element("dd", {}, block("pre", { tabindex: "0" }, text(value)))]));
}

function drawTurn(turn, index, name = `Turn ${index + 1}`) {
  const failed = turn.status && turn.status !== "ok";
  const what = turn.tool && turn.tool !== "python" ? turn.tool : turn.kind === "malformed" ? "call" : "program";
  const label = turn.status
    ? `${what}: ${turn.status}` + (turn.error ? ` (${turn.error})` : "")
    : turn.kind === "over_budget" ? "call over the budget, not run" : "text";
  const node = element("div", { class: failed ? "turn failed" : "turn" },
    element("small", {}, `${name} · ${label} · reward ${turn.reward}`));
  node.append(...parts(turn.text).map(drawPart));
  if (turn.output.trim()) {
    const text = turn.output.trim().replace(/^(```output|<(output|tool_response)>)\n?/, "")
      .replace(/\n?(```|<\/(output|tool_response)>)$/, "");
    node.append(block("pre", { "data-kind": "output", tabindex: "0" }, text));
  }
  for (const [place, image] of turn.figures.entries()) {
    if (!/^[A-Za-z0-9+/]+=*$/.test(image)) continue;
    node.append(element("img", { src: `data:image/png;base64,${image}`, loading: "lazy",
      alt: `Figure ${place + 1} that turn ${index + 1} drew` }));
  }
  if (turn.dropped) {
    node.append(element("p", { class: "note" }, `${turn.dropped} more of its figures are not kept on this page.`));
  }
  return node;
}

// What else was written from where a turn begins: the turn anew, or the rest of another answer.
function drawBranches(item, whole, others, index) {
  const anew = whole.branches.filter((branch) => branch.at === index);
  const same = others.filter(([, other]) => sameUntil(whole, other, index));
  const ran = anew.filter((branch) => branch.status === "ok").length;
  const right = same.filter(([other]) => other.verdict === "correct").length;
  const said = [];
  if (anew.length) said.push(`written anew ${anew.length} times, ${ran} ran`);
  if (same.length) said.push(`${same.length} other answer${same.length > 1 ? "s" : ""}, ${right} correct`);
  if (!said.length) return "";
  return element("details", { class: "branches" },
    element("summary", {}, `Branches of turn ${index + 1}: ${said.join("; ")}`),
    ...anew.map((branch, i) => drawTurn(branch, index, `Turn ${index + 1} anew, ${i + 1}`)),
    ...same.map(([other]) => button(`${mark(other)} #${other.sample} · ${other.statuses.join(", ") || "no program"}`,
      () => openItem(other))));
}

const sameTurn = (a, b) => a.text === b.text && a.output === b.output;
function sameUntil(a, b, index) {
  return b.turns.length > index && a.turns.slice(0, index).every((turn, i) => sameTurn(turn, b.turns[i]));
}

// The tree of all answers to one problem at one place: a node is a turn that its answers share.
function drawTree(item, whole, others) {
  const group = [[item, whole], ...others].sort((a, b) => a[0].sample - b[0].sample);
  const top = { children: [] };
  for (const [one, its] of group) {
    let node = top;
    for (const [depth, turn] of its.turns.entries()) {
      const anew = its.branches.filter((branch) => branch.at === depth);
      let next = node.children.find((child) => sameTurn(child.turn, turn));
      if (!next) node.children.push(next = { turn, children: [], items: [], anew: [] });
      next.items.push(one);
      next.anew.push(...anew);
      node = next;
    }
  }
  return element("div", { class: "tree" },
    element("p", { class: "note" }, `${group.length} answers to this problem at ${item.place}; `
      + "a line is a turn, indented where answers part. The chosen answer is marked."),
    element("ul", {}, ...top.children.map((child) => drawNode(child, item, 1))));
}

function drawNode(node, item, depth) {
  const own = element("li", {});
  // Turns without a fork stand below each other: depth on the page is the number of forks.
  for (let one = node, at = depth; one; at += 1) {
    own.append(drawLine(one, item, at));
    for (const [i, branch] of one.anew.entries()) {
      own.append(element("details", { class: "anew" },
        element("summary", {}, `${i + 1}. written anew: ${branch.status || "text"}`
          + (branch.error ? ` (${branch.error})` : "") + `, reward ${branch.reward}`),
        drawTurn(branch, at - 1, `Turn ${at} anew, ${i + 1}`)));
    }
    const ended = one.items.filter((other) => !one.children.some((child) => child.items.includes(other)));
    own.append(...ended.map((other) => button(`${mark(other)} #${other.sample}`
      + (other.parent >= 0 ? ` · from #${other.parent} after ${other.shared} tokens` : ""),
    () => openItem(other), { class: "leaf", "aria-current": other === item ? "true" : undefined })));
    if (one.children.length > 1 || (ended.length && one.children.length)) {
      own.append(element("ul", {}, ...one.children.map((child) => drawNode(child, item, at + 1))));
      break;
    }
    [one] = one.children;
  }
  return own;
}

function drawLine(node, item, depth) {
  const right = node.items.filter((one) => one.verdict === "correct").length;
  const label = node.turn.status ? `${node.turn.tool || "program"} ${node.turn.error || node.turn.status}` : "text";
  const text = node.turn.text.trim().replace(/\s+/g, " ");
  return element("div", { class: "line" + (node.items.includes(item) ? " chosen" : "") },
    element("span", { class: node.turn.status && node.turn.status !== "ok" ? "bad" : "" }, `${depth}. ${label}`),
    ` ${right}/${node.items.length} right `,
    element("small", {}, ...visible(text.length > 90 ? `${text.slice(0, 45)} … ${text.slice(-45)}` : text)));
}

// Tokens: what was sampled and what the environment added, or how likely each sampled one was.
const FIRST = 3000;
async function drawTokens(item) {
  if (!item.ids) {
    return element("p", { class: "note" }, "The ids of this answer are not on this page: torl report --tokens puts more on it.");
  }
  const given = (await chunk("tokens", item.ids[0]))[item.ids[1]];
  const names = (await chunk("pieces", 0))[item.run];
  const known = Object.keys(names).length > 0;
  const rows = [
    ...given.prompt.map((id) => ({ id, kind: "prompt" })),
    ...given.ids.map((id, i) => ({ id, kind: given.mask[i] ? "sampled" : "added", p: given.logprobs[i], e: given.entropies[i], i })),
  ];
  const sampled = rows.filter((row) => row.kind === "sampled" && row.p !== null);
  const mean = sampled.reduce((sum, row) => sum + row.p, 0) / 100 / (sampled.length || 1);
  const mode = element("select", { "aria-label": "Colour of tokens", oninput: () => { box.dataset.mode = mode.value; } },
    element("option", { value: "mask" }, "loss mask"), element("option", { value: "logprob" }, "log-probability"),
    ...(given.entropies.length === given.ids.length ? [element("option", { value: "entropy" }, "entropy")] : []));
  const box = element("div", { class: "tokens", "data-mode": "mask", tabindex: "0" });
  const more = button("", () => draw(rows.length));
  function draw(until) {
    box.append(...rows.slice(box.childElementCount, until).map((row) => drawToken(row, names)));
    more.hidden = until >= rows.length;
    more.textContent = `Show all ${rows.length} tokens (${box.childElementCount} shown)`;
  }
  draw(FIRST);
  const least = [...sampled].sort((a, b) => a.p - b.p).slice(0, 5);
  const jump = (row) => {
    if (rows.indexOf(row) >= box.childElementCount) draw(rows.length);
    const node = box.children[rows.indexOf(row)];
    node.scrollIntoView({ block: "center" });
    node.focus();
  };
  return element("div", {},
    element("p", { class: "note" }, `${given.prompt.length} of the prompt, ${item.sampled} sampled (loss mask 1), `
      + `${given.ids.length - item.sampled} added by the environment (loss mask 0)`
      + (sampled.length ? `; mean log p ${mean.toFixed(2)}` : "; log-probabilities are unknown")
      + (known ? "" : "; the run has no tokenizer at hand, so ids stand for texts") + "."),
    element("div", { class: "actions" }, element("label", {}, "Colour ", mode),
      element("span", { class: "legend" }, element("span", { class: "token prompt" }, "prompt"), " ",
        element("span", { class: "token sampled" }, "sampled"), " ", element("span", { class: "token added" }, "added")),
      ...(least.length ? [element("span", {}, "least likely: "),
        ...least.map((row) => button(`${(row.p / 100).toFixed(1)}`, () => jump(row)))] : [])),
    box, more);
}

function drawToken(row, names) {
  const text = names[row.id] ?? `[${row.id}]`;
  const chance = row.p === null || row.p === undefined ? "" : `, log p ${(row.p / 100).toFixed(2)}`;
  const spread = row.e === undefined ? "" : `, entropy ${(row.e / 100).toFixed(2)}`;
  const where = row.i === undefined ? "prompt" : `${row.kind} ${row.i}`;
  const node = element("span", { class: `token ${row.kind}`, tabindex: "-1",
    title: `${where}, id ${row.id}${row.kind === "sampled" ? chance + spread : ""}` }, ...visible(text.replaceAll("\n", "↵\n")));
  if (row.kind === "sampled" && chance) node.style.setProperty("--doubt", Math.min(1, -row.p / 500).toFixed(2));
  if (row.kind === "sampled" && spread) node.style.setProperty("--open", Math.min(1, row.e / 300).toFixed(2));
  return node;
}
