// What was compared and how to read it; then the address decides what is shown.
function buildAbout() {
  const significantIn = TWO ? " in A or in B" : "";
  const important = MUTATED
    ? "Attribution is from in-silico mutagenesis: a base that matters lowers the output when it is mutated, so important sites have low, negative scores and an important motif has a D below 0."
    : "A base with a positive score raises the model's output, so an important motif has a D above 0.";
  const help = [
    ["Score of a site", `The ${MUTATED ? "smallest" : "largest"} attribution of the bases of a motif's site. ${important}`],
    ["D", "How far the scores of a motif's sites lie from those of all sites of other motifs that overlap none of its own: the largest gap between the two cumulative curves (Kolmogorov–Smirnov), from 0 (the same) to 1 (apart). Above 0: the motif's sites score higher than the others; below 0: lower."],
    ...(TWO ? [["D of A − B", `The same for the difference of the two models' scores at each site. Above 0 (blue): model ${READ_MORE[0]} reads the motif more than ${READ_MORE[1]} does, compared with other motifs; below 0 (vermilion): ${READ_MORE[1]} does.`]] : []),
    ["FDR", `The share of false findings expected among all motifs with an FDR as small as this (Benjamini–Hochberg). A motif is significant if its FDR is below ${DATA.limit === null ? "the limit of the analysis" : DATA.limit}${significantIn}. Sites of one window are not independent, so take FDR as a score, and D as the size of the effect.`],
    ["Rank", "Place of D among the significant motifs, from 1 for the lowest. The largest rank is the motif that the model scores highest."],
    ["Similar motifs", "Factors of one family have nearly the same matrix and share sites: read a group of them as one finding. A motif does not tell which factor of the family is bound."],
    ["Windows", `The list holds the ${whole(DATA.top)} windows with the largest ${CRITERION} over their bases, and those with extreme sites of the motifs. All numbers are rounded for display; the tables beside this page hold them in full.`],
  ];
  byId("tab-about").append(
    el("h2", null, "What was compared"), el("dl", null, ...DATA.facts.flatMap(([label, text]) => [el("dt", null, label), el("dd", null, text)])),
    el("h2", null, "How to read it"), el("dl", null, ...help.flatMap(([label, text]) => [el("dt", null, label), el("dd", null, text)])),
    el("h2", null, "Links into this page"),
    el("p", null, "Add #motif=NAME or #region=chrom:start-end to the address of this page. The address in the browser always leads back to what you see."));
}

function showTab(name) {
  for (const section of document.querySelectorAll("main > section")) section.hidden = section.id !== `tab-${name}`;
  for (const link of document.querySelectorAll("nav a")) {
    if (link.dataset.tab === name) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  tooltip(null, null);
}

function follow(first) {
  const wanted = new URLSearchParams(location.hash.slice(1).replace(/\+/g, "%2B"));
  say("");
  if (wanted.has("motif")) {
    const motif = DATA.motifs[MOTIF_NUMBER.get(wanted.get("motif"))];
    showTab("motifs");
    if (!motif) say(`This page has no tested motif “${wanted.get("motif")}”.`);
    else showMotif(motif, !first);
  } else if (wanted.has("region")) {
    showTab("regions");
    const place = parsePlace(wanted.get("region"));
    const part = /^(\d+)-(\d+)$/.exec(wanted.get("view") || "");
    const region = place && windowAt(...place);
    if (region) showRegion(region, ...(part ? [Number(part[1]), Number(part[2])] : [undefined, undefined]), wanted.get("site"), !first);
    else {
      say(`No window on this page holds a base of “${wanted.get("region")}”. The page shows ${whole(DATA.regions.length)} of the ${whole(DATA.of)} windows.`);
      drawRegion();
    }
  } else if (wanted.has("regions")) {
    showTab("regions");
    if (!view.region && DATA.regions.length) showRegion(listedRegions()[0]);
    else drawRegion();
  } else showTab(wanted.has("about") ? "about" : "motifs");
}

document.body.classList.toggle("one-model", !TWO);
byId("summary").textContent = `${DATA.facts.slice(0, 3).map(([, text]) => text).join(" · ")}.`;
buildTable();
buildScatter();
buildRegionList();
buildAbout();
drawTable();
drawScatter();
drawDetail(null);
drawRegionList();
window.addEventListener("hashchange", () => follow(false));
window.addEventListener("resize", () => requestAnimationFrame(drawTracks));
follow(true);
