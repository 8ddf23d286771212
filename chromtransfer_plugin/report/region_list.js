// The list of windows, the go-to box, and which window and which part of it is shown.
const CRITERION = TWO ? "sum of |A − B|" : `sum of |${MODELS[0]}|`;
const view = { region: null, start: 0, end: 0, site: null, shown: HAS_SIGNIFICANT ? "significant" : "all", order: "place", all: false, drawing: false };
const ORDERS = {
  place: [CRITERION, (a, b) => a.place - b.place],
  ...(TWO ? {
    a: [`sum of |${MODELS[0]}|`, (a, b) => b.totals[0] - a.totals[0]],
    b: [`sum of |${MODELS[1]}|`, (a, b) => b.totals[1] - a.totals[1]],
  } : {}),
  genome: ["place in the genome", (a, b) => a.chrom.localeCompare(b.chrom, "en", { numeric: true }) || a.start - b.start],
};

function listedRegions() {
  return DATA.regions.filter((region) => view.all || region.place <= DATA.top).sort(ORDERS[view.order][1]);
}

function buildRegionList() {
  const order = el("select", { id: "region-order", onchange: (event) => { view.order = event.target.value; drawRegionList(); drawRegion(); } },
    ...Object.entries(ORDERS).map(([key, [text]]) => el("option", { value: key }, text)));
  const extra = DATA.regions.length - DATA.top;
  const which = el("select", { id: "region-which", onchange: (event) => { view.all = event.target.value === "all"; drawRegionList(); drawRegion(); } },
    el("option", { value: "top" }, `top ${whole(DATA.top)} of ${whole(DATA.of)} by ${CRITERION}`),
    extra > 0 ? el("option", { value: "all" }, `these and ${whole(extra)} with a motif's extreme sites`) : null);
  byId("region-list").append(
    el("button", { type: "button", class: "skip", onclick: () => byId("tracks").focus() }, "Skip the list of windows"),
    el("div", { class: "controls" }, el("label", null, "Windows: ", which), el("label", null, "Sort by: ", order)),
    el("div", { class: "scroll windows", tabindex: "0", role: "region", "aria-label": "List of windows" }, el("table", { id: "region-table" })));
}

function drawRegionList() {
  const heads = ["Place", "Set", ...(TWO ? ["Σ|A|", "Σ|B|", "Σ|A−B|"] : [`Σ|${MODELS[0]}|`])];
  const rows = listedRegions().map((region) =>
    el("tr", { class: region === view.region ? "chosen" : null },
      el("th", { scope: "row" }, el("a", { href: regionLink(region) }, placeText(region.chrom, region.start, region.end))),
      el("td", null, region.set), ...region.totals.map((total) => el("td", { class: "number" }, significant(total)))));
  byId("region-table").replaceChildren(
    el("thead", null, el("tr", null, ...heads.map((text, i) => el("th", { scope: "col", class: i > 1 ? "number" : null }, text)))), el("tbody", null, ...rows));
}

function showRegion(region, start, end, site, jump) {
  const changed = region !== view.region;
  Object.assign(view, { region, site: site || null });
  if (region && region.place > DATA.top && !view.all) {
    view.all = true;
    byId("region-which").value = "all";
  }
  setView(start === undefined ? region.start : start, end === undefined ? region.end : end, false);
  if (changed) {
    drawRegionList();
    const row = document.querySelector("#region-table tr.chosen");
    const box = document.querySelector(".windows");
    if (row) box.scrollTop = row.offsetTop - box.clientHeight / 2;
  }
  drawRegion();
  if (jump) byId("tracks").focus({ preventScroll: true }); // the link that was followed is drawn anew
}
function neighbour(by) {
  const listed = listedRegions();
  const at = listed.indexOf(view.region);
  return at >= 0 ? listed[at + by] : undefined;
}

// Keep the view inside the window and not narrower than 10 bases; the address then leads back to it.
function setView(start, end, redraw = true) {
  const { region } = view;
  const length = region.end - region.start;
  const width = Math.min(length, Math.max(Math.min(10, length), Math.round(end - start)));
  view.start = Math.round(Math.min(region.end - width, Math.max(region.start, start)));
  view.end = view.start + width;
  if (redraw) {
    history.replaceState(null, "", regionLink(region, view.start, view.end, view.site || undefined));
    if (!view.drawing) {
      view.drawing = true; // many events of one frame need one drawing
      requestAnimationFrame(() => { view.drawing = false; drawTracks(); });
    }
  }
}
function zoom(factor, at = (view.start + view.end) / 2) {
  const width = (view.end - view.start) * factor;
  const share = (at - view.start) / (view.end - view.start);
  setView(at - share * width, at - share * width + width);
}
function pan(share) {
  const by = (view.end - view.start) * share;
  setView(view.start + by, view.end + by);
}

function parsePlace(text) {
  const match = /^(\S+):(\d+)-(\d+)$/.exec(text.replace(/,/g, "").trim());
  return match && Number(match[2]) < Number(match[3]) ? [match[1], Number(match[2]), Number(match[3])] : null;
}
// The window that shares most bases with a place; of several the first in the page's order.
function windowAt(chrom, start, end) {
  let best = [0, null];
  for (const region of DATA.regions) {
    const shared = region.chrom === chrom ? Math.min(end, region.end) - Math.max(start, region.start) : 0;
    if (shared > best[0]) best = [shared, region];
  }
  return best[1];
}
function goTo(text) {
  const place = parsePlace(text);
  if (!place) return say(`“${text}” is no place: write it as chr1:100-700 (0-based, the end not included).`);
  const region = windowAt(...place);
  if (!region) return say(`No window on this page holds a base of ${text}. The page shows ${whole(DATA.regions.length)} of the ${whole(DATA.of)} windows.`);
  const covers = place[1] <= region.start && place[2] >= region.end;
  location.hash = covers ? regionLink(region) : regionLink(region, Math.max(place[1], region.start), Math.min(place[2], region.end));
  return undefined;
}
