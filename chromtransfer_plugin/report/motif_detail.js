// All about the chosen motif.
function showMotif(motif, jump) {
  table.chosen = motif;
  const at = listedMotifs().indexOf(motif);
  if (at >= 0) table.page = Math.floor(at / table.size);
  drawTable();
  drawScatter();
  drawDetail(motif);
  if (jump) {
    byId("motif-detail").focus({ preventScroll: true }); // the link that was followed is drawn anew
    byId("motif-detail").scrollIntoView({ block: "nearest" });
  }
}

function drawDetail(motif) {
  if (!motif) {
    byId("motif-detail").replaceChildren(el("p", { class: "note" }, "Choose a motif in the table or in the plot to see its sites."));
    return;
  }
  const listed = listedMotifs();
  const at = listed.indexOf(motif);
  const step = (text, other) => (at >= 0 && listed[other] ? el("a", { class: "button", href: motifLink(listed[other].name) }, text) : null);
  const rows = NAMES.map((name, i) =>
    el("tr", null, el("th", { scope: "row" }, i < 2 && TWO ? `${"AB"[i]}: ${name}` : name),
      el("td", { class: "number", "data-key": `D${i}` }, fixed(motif.D[i])),
      el("td", { class: "number" }, probability(motif.p[i])),
      el("td", { class: "number" }, probability(motif.fdr[i])),
      el("td", { class: "number" }, motif.rank[i] === null ? "–" : `${motif.rank[i]} of ${DATA.motifs.filter((m) => m.rank[i] !== null).length}`)));
  byId("motif-detail").replaceChildren(
    el("div", { class: "controls" }, el("h2", null, motif.name), step("Previous motif", at - 1), step("Next motif", at + 1)),
    el("p", null, `${whole(motif.n)} sites, against ${whole(motif.background)} sites of other motifs that overlap none of them. `,
      motif.sig ? "Significant." : "Not significant.", motif.focus ? ` Chosen for figures: ${motif.focus}.` : ""),
    el("div", { class: "detail-top" },
      el("div", { class: "big-logo" }, matrixLogo(motif) || el("p", { class: "note" }, "No matrix: the sites come from a track.")),
      el("div", { class: "scroll" }, el("table", null,
        el("thead", null, el("tr", null, ...["", "D", "P", "FDR", "rank"].map((text) => el(text ? "th" : "td", text ? { scope: "col", class: "number" } : null, text)))),
        el("tbody", null, ...rows)))),
    el("div", { class: "panels" }, ...NAMES.map((name, i) => cumulative(motif, i))),
    el("p", { class: "note" }, "Share of sites with a score up to the one on the axis. Full line: this motif's sites; dashed: sites of other motifs. D is the largest gap between the two."),
    el("div", { class: "panels" },
      siteTable(motif, motif.highest, TWO ? "Sites with the largest A − B" : "Sites with the highest score"),
      siteTable(motif, motif.lowest, TWO ? "Sites with the smallest A − B" : "Sites with the lowest score")),
  );
}

// Share of sites with at most a given score: the motif's as a coloured line, the background's dashed and grey.
function cumulative(motif, at) {
  const [own, background] = motif.quantiles[at];
  const title = at === 2 ? `A − B, D = ${fixed(motif.D[at])}` : `${TWO ? `${"AB"[at]}: ` : ""}${NAMES[at]}, D = ${fixed(motif.D[at])}`;
  if (!own || !background) return el("figure", null, el("figcaption", null, `${title}: nothing to compare`));
  const [width, height, left, bottom, top] = [380, 220, 38, 36, 8];
  const last = own.length - 1;
  let [x0, x1] = [Math.min(own[1], background[1]), Math.max(own[last - 1], background[last - 1])];
  if (x0 === x1) [x0, x1] = [x0 - 0.5, x1 + 0.5];
  const X = (x) => left + ((x - x0) / (x1 - x0)) * (width - left - 8);
  const Y = (share) => height - bottom - share * (height - bottom - top);
  const inside = (x) => x >= x0 && x <= x1;
  const line = (values) => values.map((value, i) => (inside(value) ? `${X(value).toFixed(1)},${Y(i / last).toFixed(1)}` : "")).join(" ").trim();
  const colour = at === 2 ? "#000000" : DATA.colours.models[at];
  const image = svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `Cumulative distribution of site scores, ${title}` });
  for (const t of ticks(x0, x1)) image.append(svg("line", { x1: X(t), x2: X(t), y1: top, y2: height - bottom, class: "grid" }), svg("text", { x: X(t), y: height - bottom + 14, "text-anchor": "middle" }, minus(String(t))));
  for (const t of [0, 0.5, 1]) image.append(svg("line", { x1: left, x2: width - 8, y1: Y(t), y2: Y(t), class: "grid" }), svg("text", { x: left - 5, y: Y(t) + 4, "text-anchor": "end" }, String(t)));
  image.append(
    svg("polyline", { points: line(background), class: "background-line" }),
    svg("polyline", { points: line(own), class: "own-line", stroke: colour }),
    svg("text", { x: (left + width) / 2, y: height - 6, "text-anchor": "middle" }, at === 2 ? "difference of site scores" : "score of a site"));
  return el("figure", null, el("figcaption", null, title), image);
}

function siteTable(motif, sites, title) {
  const head = ["Place", "strand", ...MODELS, ...(TWO ? ["A − B"] : [])];
  const rows = sites.map(([chrom, start, end, strand, window, ...scores]) => {
    const text = placeText(chrom, start, end);
    const region = window === null ? null : DATA.regions[window];
    const place = region ? el("a", { href: regionLink(region, ...around(region, start, end), motif.name) }, text) : text;
    return el("tr", null, el("td", { class: "place" }, place, region ? "" : " ", region ? "" : browserLink(chrom, start, end) || ""),
      el("td", null, minus(strand)), ...scores.map((score) => el("td", { class: "number" }, significant(score))));
  });
  return el("div", { class: "scroll" }, el("table", { class: "sites" }, el("caption", null, title),
    el("thead", null, el("tr", null, ...head.map((name, i) => el("th", { scope: "col", class: i > 1 ? "number" : null }, name)))), el("tbody", null, ...rows)));
}
// 30 bases to both sides of a site, within its window
function around(region, start, end) {
  return [Math.max(region.start, start - 30), Math.min(region.end, end + 30)];
}
