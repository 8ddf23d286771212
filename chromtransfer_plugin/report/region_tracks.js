// One window: attribution of the models as letters or bars, and the sites of motifs.
const LETTER_WIDTH = 7; // pixels; narrower letters are not legible and become bars
const MOST_LANES = 8;
const tracks = { left: 46, right: 8, height: 130, gap: 18, lane: 15, drag: null };

function scoresOf(region) {
  if (!region.decoded) {
    region.decoded = region.scores.map((text, model) => {
      const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
      const numbers = new DataView(bytes.buffer);
      return Array.from({ length: bytes.length / 2 }, (_, i) => {
        const level = numbers.getInt16(2 * i, true);
        return level === -32768 ? NaN : level * region.steps[model];
      });
    });
  }
  return region.decoded;
}
const motifName = (number) => (number < DATA.motifs.length ? DATA.motifs[number].name : DATA.untested[number - DATA.motifs.length]);
function sitesOf(region) {
  const found = [];
  for (let i = 0; i < region.sites.length; i += 4) {
    const [number, start, end, strand] = region.sites.slice(i, i + 4);
    found.push({ name: motifName(number), motif: DATA.motifs[number] || null, start, end, strand });
  }
  return found;
}
function shownSites(region) {
  const kind = { focus: (s) => s.motif && s.motif.focus, significant: (s) => s.motif && s.motif.sig, all: () => true }[view.shown];
  const weight = (s) => (s.name === view.site ? 100 : 0) + (s.motif ? (s.motif.focus ? 4 : 0) + (s.motif.sig ? 2 : 0) + Math.abs(s.motif.D[LAST] || 0) : 0);
  return sitesOf(region).filter((site) => kind(site) || site.name === view.site).sort((a, b) => weight(b) - weight(a));
}

function drawRegion() {
  const { region } = view;
  if (!region) {
    byId("region-view").replaceChildren(el("p", { class: "note" }, "No window to show."));
    return;
  }
  const text = placeText(region.chrom, region.start, region.end);
  const button = (name, label, act) => el("button", { type: "button", onclick: act, "aria-label": label, title: label }, name);
  const step = (name, by) => (neighbour(by) ? el("a", { class: "button", href: regionLink(neighbour(by)) }, name) : null);
  const go = el("input", { id: "go-to", placeholder: "chr1:100-700", autocomplete: "off", size: 24, "aria-label": "Go to chrom:start-end" });
  const shown = el("select", { id: "shown-sites", onchange: (event) => { view.shown = event.target.value; drawTracks(); } },
    ...[["focus", "motifs in focus"], ["significant", "significant motifs"], ["all", "all motifs"]].map(([value, name]) => el("option", { value }, name)));
  shown.value = view.shown;
  const copy = () => {
    const done = () => say(`Copied ${text}`);
    const failed = () => say(`Not copied by the browser; the place is ${text}`);
    if (navigator.clipboard) navigator.clipboard.writeText(text).then(done, failed);
    else failed();
  };
  byId("region-view").replaceChildren(
    el("div", { class: "controls" }, el("h2", { id: "region-place" }, text), button("Copy", `Copy ${text}`, copy),
      browserLink(region.chrom, region.start, region.end), step("Previous", -1), step("Next", 1)),
    el("p", { class: "note" }, `Set ${region.set}. Number ${whole(region.place)} of ${whole(DATA.of)} windows by ${CRITERION}, ${significant(region.totals[LAST])}.`),
    el("div", { class: "controls" },
      button("−", "Zoom out", () => zoom(2)), button("+", "Zoom in", () => zoom(0.5)),
      button("◀", "Move left", () => pan(-0.5)), button("▶", "Move right", () => pan(0.5)),
      button("Whole window", "Show the whole window", () => setView(region.start, region.end)),
      el("label", null, "Sites of: ", shown),
      el("form", { onsubmit: (event) => { event.preventDefault(); goTo(go.value); } }, go, el("button", { type: "submit" }, "Go"))),
    el("p", { class: "note", id: "shown-part" }),
    svg("svg", { id: "tracks", tabindex: "0", role: "group", "aria-describedby": "tracks-help" }),
    el("p", { class: "note", id: "tracks-help" },
      "Wheel or +/−: zoom. Drag or arrow keys: move. 0: whole window. n, p: next, previous window. Letters appear when a base is wide enough. ",
      `Letters below the line lower the model's output${MUTATED ? " when mutated: these are the important bases" : ""}. `,
      "Positions are 0-based. Boxes are motif sites; ", el("b", null, "❯"), " or ", el("b", null, "❮"), " is their strand.",
      TWO ? ` Blue: ${READ_MORE[0]} reads the motif more than ${READ_MORE[1]}; vermilion: ${READ_MORE[1]} does; white: not significant, or too few sites to be tested.` : " White: not significant, or too few sites to be tested."));
  const image = byId("tracks");
  image.addEventListener("wheel", wheel, { passive: false });
  image.addEventListener("pointerdown", (event) => { tracks.drag = { x: event.clientX, start: view.start, end: view.end }; });
  image.addEventListener("pointermove", pointer);
  image.addEventListener("pointerleave", (event) => { tooltip(event, null); tracks.drag = null; });
  image.addEventListener("pointerup", () => { tracks.drag = null; });
  image.addEventListener("keydown", keys);
  drawTracks();
}

const trackWidth = () => Math.max(300, byId("region-view").clientWidth);
const baseWidth = () => (trackWidth() - tracks.left - tracks.right) / (view.end - view.start);
function basePosition(event) {
  const x = event.clientX - byId("tracks").getBoundingClientRect().left - tracks.left;
  return view.start + x / baseWidth();
}
function wheel(event) {
  const out = event.deltaY > 0;
  if (out && view.end - view.start === view.region.end - view.region.start) return; // nothing to zoom: scroll the page
  event.preventDefault();
  zoom(out ? 1.25 : 0.8, basePosition(event));
}
function keys(event) {
  const follow = (by) => { if (neighbour(by)) location.hash = regionLink(neighbour(by)); };
  const act = { ArrowLeft: () => pan(-0.2), ArrowRight: () => pan(0.2), "+": () => zoom(0.5), "=": () => zoom(0.5), "-": () => zoom(2), 0: () => setView(view.region.start, view.region.end), n: () => follow(1), p: () => follow(-1) }[event.key];
  if (!act || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  act();
}
function pointer(event) {
  const { region } = view;
  if (tracks.drag && event.buttons) {
    const by = (tracks.drag.x - event.clientX) / baseWidth();
    tooltip(event, null);
    return setView(tracks.drag.start + by, tracks.drag.end + by);
  }
  tracks.drag = null;
  const position = Math.floor(basePosition(event));
  if (position < view.start || position >= view.end) return tooltip(event, null);
  const i = position - region.start;
  const scores = scoresOf(region).map((values, model) => `${MODELS[model]}: ${significant(values[i])}`);
  const names = shownSites(region).filter((site) => site.start <= i && i < site.end).map((site) => site.name);
  return tooltip(event, [`${region.chrom}:${whole(position)}  ${region.sequence[i]}`, ...scores, ...names.slice(0, 8), ...(names.length > 8 ? [`and ${names.length - 8} more motifs`] : [])]);
}

function drawTracks() {
  const { region } = view;
  const image = byId("tracks");
  if (!image || !region) return;
  const width = trackWidth();
  const scores = scoresOf(region);
  const known = scores.flat().filter((score) => !Number.isNaN(score));
  const [low, high] = [Math.min(0, ...known), Math.max(0, ...known)];
  const pad = (high - low || 1) * 0.04;
  const parts = [];
  scores.forEach((values, model) => {
    const top = 20 + model * (tracks.height + tracks.gap);
    const Y = (score) => top + ((high + pad - score) / (high - low + 2 * pad || 1)) * tracks.height;
    parts.push(track(values, model, Y, [low, high], width));
  });
  const below = 20 + scores.length * (tracks.height + tracks.gap);
  parts.push(...axis(below, width));
  const [boxes, lanes, hidden] = siteBoxes(below + 26, width);
  parts.push(...boxes);
  const height = below + 34 + Math.max(1, lanes) * tracks.lane + 14;
  const remark = hidden ? `${hidden} more sites here: zoom in, or show fewer motifs` : lanes ? "" : "no sites of these motifs here";
  parts.push(svg("text", { x: tracks.left, y: height - 4, id: "hidden-sites" }, remark));
  const shown = placeText(region.chrom, view.start, view.end);
  byId("shown-part").textContent = `Shown: ${shown}, ${view.end - view.start} bases`;
  image.setAttribute("width", width);
  image.setAttribute("height", height);
  image.setAttribute("aria-label", `Attribution of ${MODELS.join(" and ")} in ${shown}`);
  image.replaceChildren(...parts);
}

// All models share one scale, that of the whole window, so that letters keep their height while zooming.
function track(values, model, Y, [low, high], width) {
  const { region } = view;
  const step = baseWidth();
  const group = svg("g", { class: "track", "data-model": MODELS[model] },
    svg("text", { x: tracks.left, y: Y(high) - 5, class: "track-name" }, TWO ? `${"AB"[model]}: ${MODELS[model]}` : MODELS[model]));
  for (const t of ticks(low, high)) group.append(svg("line", { x1: tracks.left, x2: width - tracks.right, y1: Y(t), y2: Y(t), class: t === 0 ? "zero" : "grid" }), svg("text", { x: tracks.left - 5, y: Y(t) + 4, "text-anchor": "end" }, minus(String(t))));
  for (let position = view.start; position < view.end; position++) {
    const i = position - region.start;
    const [base, score] = [region.sequence[i], values[i]];
    if (!score) continue; // 0 or missing
    const x = tracks.left + (position - view.start) * step;
    const [y, height] = [Math.min(Y(score), Y(0)), Math.abs(Y(score) - Y(0))];
    let mark;
    if (base === "N") mark = svg("rect", { x, y, width: step, height, fill: "#888888" });
    else if (step >= LETTER_WIDTH) mark = letter(base, x + step * 0.03, y, step * 0.94, height);
    else mark = svg("rect", { x, y, width: Math.max(0.6, step * 0.92), height, fill: DATA.colours.bases[base] });
    build(mark, { "data-base": base, "data-position": position, class: score < 0 ? "negative" : null }, []);
    group.append(mark);
  }
  return group;
}

function axis(y, width) {
  const { region } = view;
  const step = baseWidth();
  const parts = [svg("line", { x1: tracks.left, x2: width - tracks.right, y1: y, y2: y, class: "zero" })];
  const marks = ticks(view.start, view.end - 1, Math.max(2, Math.floor(width / 150))).filter(Number.isInteger);
  for (const t of marks) {
    const x = tracks.left + (t - view.start + 0.5) * step;
    parts.push(svg("line", { x1: x, x2: x, y1: y, y2: y + 4, class: "zero" }));
    if (x > 40 && x < width - 40) parts.push(svg("text", { x, y: y + 16, "text-anchor": "middle" }, whole(t)));
  }
  parts.push(svg("text", { x: 2, y: y + 16 }, region.chrom));
  return parts;
}

// Boxes in lanes, the most important motif first; where there is no room a box loses its name, then is only counted.
function siteBoxes(top, width) {
  const { region } = view;
  const step = baseWidth();
  const lanes = [];
  const boxes = [];
  let hidden = 0;
  for (const site of shownSites(region)) {
    const [start, end] = [region.start + site.start, region.start + site.end];
    if (end <= view.start || start >= view.end) continue;
    const left = tracks.left + (Math.max(start, view.start) - view.start) * step;
    const right = Math.max(left + 3, tracks.left + (Math.min(end, view.end) - view.start) * step);
    const name = `${shortName(site.name)} ${site.strand > 0 ? "❯" : site.strand < 0 ? "❮" : ""}`;
    const size = name.length * 6.3 + 6;
    const free = (a, b) => {
      const lane = lanes.findIndex((taken) => taken.every((o) => b <= o[0] || a >= o[1]));
      if (lane >= 0) return lane;
      return lanes.length < MOST_LANES ? lanes.push([]) - 1 : -1;
    };
    const inside = size <= right - left;
    const wide = inside ? right : Math.min(right + size, width);
    let lane = right + size > width && !inside ? -1 : free(left, wide + 3);
    const named = lane >= 0;
    if (!named) lane = free(left, right + 1);
    if (lane < 0) {
      hidden++;
      continue;
    }
    lanes[lane].push([left, named ? wide + 3 : right + 1]);
    const y = top + lane * tracks.lane;
    const fill = site.motif && site.motif.sig ? (TWO ? diffColour(site.motif.D[2]) : DATA.colours.models[0]) : "#ffffff";
    const box = svg("rect", { x: left, y, width: right - left, height: tracks.lane - 3, fill, class: site.name === view.site ? "site chosen-site" : "site" });
    const text = named ? svg("text", { x: inside ? left + 3 : right + 3, y: y + 10, class: inside && isDark(fill) ? "site-name on-dark" : "site-name" }, name) : null;
    const parts = [svg("title", null, `${site.name} ${placeText(region.chrom, start, end)}`), box, text];
    boxes.push(site.motif ? svg("a", { href: motifLink(site.name), "aria-label": site.name }, ...parts.filter(Boolean)) : svg("g", null, ...parts.filter(Boolean)));
  }
  return [boxes, lanes.length, hidden];
}
// Whether white letters contrast more with a colour than black ones (WCAG's relative luminance)
function isDark(colour) {
  const parts = colour.startsWith("#") ? [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16)) : colour.match(/\d+/g).map(Number);
  const [r, g, b] = parts.map((value) => (value / 255 <= 0.04045 ? value / 255 / 12.92 : ((value / 255 + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b < 0.179;
}
