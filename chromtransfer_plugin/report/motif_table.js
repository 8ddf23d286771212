// The table of motifs and the scatter of D beside it.
const HAS_SIGNIFICANT = DATA.motifs.some((motif) => motif.sig);
const table = { key: `D${LAST}`, down: !MUTATED, query: "", significant: HAS_SIGNIFICANT, page: 0, size: 12, chosen: null };

const COLUMNS = [];
NAMES.forEach((name, at) => {
  COLUMNS.push({ key: `D${at}`, group: at, head: "D", value: (m) => m.D[at], text: (m) => fixed(m.D[at]) });
  COLUMNS.push({ key: `fdr${at}`, group: at, head: "FDR", value: (m) => m.fdr[at], text: (m) => probability(m.fdr[at]) });
  COLUMNS.push({ key: `rank${at}`, group: at, head: "rank", value: (m) => m.rank[at], text: (m) => (m.rank[at] === null ? "–" : String(m.rank[at])) });
});
COLUMNS.push({ key: "n", head: "sites", value: (m) => m.n, text: (m) => whole(m.n) });
const NAME_COLUMN = { key: "name", head: "Motif", value: (m) => m.name, text: (m) => m.name };

function matching(motif) {
  return motif.name.toLowerCase().includes(table.query.trim().toLowerCase());
}
function listedMotifs() {
  const { value } = [NAME_COLUMN, ...COLUMNS].find((column) => column.key === table.key);
  const sign = table.down ? -1 : 1;
  return DATA.motifs
    .filter((motif) => (!table.significant || motif.sig) && matching(motif))
    .sort((x, y) => {
      const [a, b] = [value(x), value(y)];
      if (a === null || b === null) return (a === null) - (b === null); // missing values last, either way
      return sign * (typeof a === "string" ? a.localeCompare(b, "en") : a - b);
    });
}

function sortHead(column, attributes) {
  const active = table.key === column.key;
  const arrow = active ? (table.down ? " ▼" : " ▲") : "";
  const sort = () => {
    table.down = active ? !table.down : column.key !== "name";
    table.key = column.key;
    table.page = 0;
    drawTable();
    const again = document.querySelector(`#motif-list button[data-key="${column.key}"]`);
    if (again) again.focus();
  };
  const button = el("button", { type: "button", "data-key": column.key, onclick: sort }, column.head + arrow);
  return el("th", { scope: "col", "aria-sort": active ? (table.down ? "descending" : "ascending") : "none", ...attributes }, button);
}

function buildTable() {
  const search = el("input", {
    type: "search", id: "motif-search", placeholder: "e.g. GATA", autocomplete: "off",
    oninput: (event) => { table.query = event.target.value; table.page = 0; drawTable(); drawScatter(); },
  });
  const box = el("input", {
    type: "checkbox", id: "only-significant", disabled: !HAS_SIGNIFICANT,
    onchange: (event) => { table.significant = event.target.checked; table.page = 0; drawTable(); },
  });
  box.checked = table.significant;
  byId("motif-list").append(
    el("div", { class: "controls" },
      el("label", null, "Search motifs ", search),
      el("label", null, box, " significant only"),
      HAS_SIGNIFICANT ? null : el("span", { class: "note" }, "No motif is significant: all are listed."),
    ),
    el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Table of motifs" }, el("table", { id: "motif-table" })),
    el("div", { class: "controls", id: "motif-pages" }),
    el("p", { class: "note" },
      "D, from −1 to 1: how much higher a motif's sites score than the sites of other motifs. ",
      TWO ? `A − B above 0: ${READ_MORE[0]} reads the motif more than ${READ_MORE[1]} does; below 0: less. ` : "",
      "FDR: small if D is hardly chance. Rank: place of D among the significant motifs, the largest is the highest D. ",
      el("a", { href: "#about" }, "More on how to read it")),
  );
}

function drawTable() {
  const listed = listedMotifs();
  const pages = Math.max(1, Math.ceil(listed.length / table.size));
  table.page = Math.min(table.page, pages - 1);
  const first = table.page * table.size;
  const groups = NAMES.map((name, at) =>
    el("th", { colspan: 3, scope: "colgroup", class: "group", title: name }, at === 2 ? name : TWO ? `${"AB"[at]}: ${name}` : name));
  const head = el("thead", null,
    el("tr", null, el("td"), el("td"), ...groups, el("td")),
    el("tr", null, sortHead(NAME_COLUMN, { class: "name" }), el("th", { scope: "col" }, "Logo"),
      ...COLUMNS.map((column) => sortHead(column, { class: column.head === "D" ? "number first" : "number" }))));
  const rows = listed.slice(first, first + table.size).map((motif) =>
    el("tr", { class: motif === table.chosen ? "chosen" : null },
      el("th", { scope: "row", class: "name" }, el("a", { href: motifLink(motif.name), title: motif.name }, motif.name)),
      el("td", { class: "logo-cell" }, matrixLogo(motif, false)),
      ...COLUMNS.map((column) => el("td", {
        class: column.head === "D" ? "number first" : "number",
        "data-key": column.key,
      }, column.text(motif)))));
  byId("motif-table").replaceChildren(head, el("tbody", null, ...rows));
  const turn = (text, by, possible) => {
    const act = () => {
      table.page += by;
      drawTable();
      document.querySelector(`#motif-pages button[data-by="${by}"]`).focus();
    };
    return el("button", { type: "button", "data-by": by, disabled: !possible, onclick: act }, text);
  };
  byId("motif-pages").replaceChildren(
    turn("Previous", -1, table.page > 0),
    el("span", null, listed.length ? `${first + 1}–${Math.min(first + table.size, listed.length)} of ${listed.length} motifs` : "No motif matches."),
    turn("Next", 1, table.page < pages - 1),
  );
}

// Two models: D of A against D of B. One model: D against its order, as the paper's rank plots.
const plot = { width: 400, height: 380, left: 44, right: 10, top: 10, bottom: 40, points: [] };
function scatterPoints() {
  if (TWO) return DATA.motifs.filter((m) => m.D[0] !== null && m.D[1] !== null).map((motif) => ({ motif, x: motif.D[0], y: motif.D[1] }));
  return DATA.motifs.filter((m) => m.D[0] !== null).sort((a, b) => a.D[0] - b.D[0]).map((motif, at) => ({ motif, x: at + 1, y: motif.D[0] }));
}
function limits(values, pad) {
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const margin = (high - low || 1) * pad;
  return [low - margin, high + margin];
}

function buildScatter() {
  const label = TWO
    ? `Scatter of D of ${MODELS[0]} and D of ${MODELS[1]}. The table holds the same numbers.`
    : `D of ${MODELS[0]} in ascending order. The table holds the same numbers.`;
  const image = svg("svg", { id: "scatter", viewBox: `0 0 ${plot.width} ${plot.height}`, role: "img", "aria-label": label });
  const nearest = (event) => {
    const matrix = image.getScreenCTM();
    const [x, y] = [(event.clientX - matrix.e) / matrix.a, (event.clientY - matrix.f) / matrix.d];
    const near = plot.points.map((point) => [Math.hypot(point.px - x, point.py - y), point]).sort((a, b) => a[0] - b[0])[0];
    return near && near[0] < 14 ? near[1].motif : null;
  };
  image.addEventListener("mousemove", (event) => {
    const motif = nearest(event);
    image.classList.toggle("pointing", motif !== null);
    tooltip(event, motif && [motif.name, ...NAMES.map((name, at) => `D ${name}: ${fixed(motif.D[at])}`), `${whole(motif.n)} sites${motif.sig ? "" : ", not significant"}`]);
  });
  image.addEventListener("mouseleave", (event) => tooltip(event, null));
  image.addEventListener("click", (event) => {
    const motif = nearest(event);
    if (motif) location.hash = motifLink(motif.name);
  });
  const explained = TWO
    ? [swatch(diffColour(DIFF_LIMIT)), ` higher in A (${MODELS[0]}) `, swatch(diffColour(-DIFF_LIMIT)), ` higher in B (${MODELS[1]}) `, swatch("#ffffff"), " not significant. Click a point to see the motif."]
    : [swatch(DATA.colours.models[0]), " significant ", swatch("#ffffff"), " not significant. Click a point to see the motif."];
  byId("motif-scatter").append(image, el("p", { class: "note" }, ...explained));
}
function swatch(colour) {
  return svg("svg", { class: "swatch", viewBox: "0 0 12 12", "aria-hidden": "true" }, svg("circle", { cx: 6, cy: 6, r: 5, fill: colour, stroke: "#555" }));
}

function drawScatter() {
  const points = scatterPoints();
  const { width, height, left, right, top, bottom } = plot;
  const [x0, x1] = limits([...points.map((p) => p.x), ...(TWO ? [0] : [])], 0.06);
  const [y0, y1] = limits([...points.map((p) => p.y), 0], 0.06);
  const X = (x) => left + ((x - x0) / (x1 - x0)) * (width - left - right);
  const Y = (y) => height - bottom - ((y - y0) / (y1 - y0)) * (height - top - bottom);
  const parts = [];
  for (const t of ticks(x0, x1)) parts.push(svg("line", { x1: X(t), x2: X(t), y1: top, y2: height - bottom, class: TWO && t === 0 ? "zero" : "grid" }), svg("text", { x: X(t), y: height - bottom + 14, "text-anchor": "middle" }, minus(String(t))));
  for (const t of ticks(y0, y1)) parts.push(svg("line", { x1: left, x2: width - right, y1: Y(t), y2: Y(t), class: t === 0 ? "zero" : "grid" }), svg("text", { x: left - 5, y: Y(t) + 4, "text-anchor": "end" }, minus(String(t))));
  const middle = (top + height - bottom) / 2;
  parts.push(
    svg("text", { x: (left + width - right) / 2, y: height - 6, "text-anchor": "middle" }, TWO ? `D of A: ${MODELS[0]}` : "motifs in ascending order of D"),
    svg("text", { x: 12, y: middle, "text-anchor": "middle", transform: `rotate(-90 12 ${middle})` }, TWO ? `D of B: ${MODELS[1]}` : `D of ${MODELS[0]}`));
  plot.points = points.map((p) => ({ ...p, px: X(p.x), py: Y(p.y) }));
  const searching = table.query.trim() !== "";
  const found = (p) => p.motif === table.chosen || (searching && matching(p.motif));
  for (const p of [...plot.points].sort((a, b) => found(a) - found(b))) {
    const fill = !p.motif.sig ? "#ffffff" : TWO ? diffColour(p.motif.D[2]) : DATA.colours.models[0];
    parts.push(svg("circle", {
      cx: p.px, cy: p.py, r: found(p) ? 6 : 4, fill,
      class: found(p) ? "found" : searching ? "faded" : null, "data-motif": p.motif.name,
    }));
  }
  byId("scatter").replaceChildren(...parts, ...scatterLabels(found, searching));
}

// Names beside points, the most important first, none over another.
function scatterLabels(found, searching) {
  const weight = (p) => (p.motif === table.chosen ? 10 : 0) + Math.abs(p.motif.D[LAST] || 0);
  const wanted = plot.points.filter((p) => found(p) || (!searching && p.motif.focus)).sort((a, b) => weight(b) - weight(a));
  const boxes = [];
  const labels = [];
  for (const p of wanted) {
    const text = shortName(p.motif.name);
    const size = text.length * 7;
    const x = p.px + 8 + size < plot.width ? p.px + 8 : p.px - 8 - size;
    const box = [x - 3, p.py - 7, x + size + 3, p.py + 7];
    if (labels.length === 16 || boxes.some((o) => o[0] < box[2] && box[0] < o[2] && o[1] < box[3] && box[1] < o[3])) continue;
    boxes.push(box);
    labels.push(svg("text", { x, y: p.py + 4, class: "point-label" }, text));
  }
  return labels;
}
// "MA0114.4 HNF4A" is HNF4A; very long names are cut
function shortName(name) {
  const short = name.replace(/^[A-Z]{2}\d+\.\d+ /, "");
  return short.length > 24 ? `${short.slice(0, 23)}…` : short;
}
