// The data, and what all views share. Text from the data reaches the page as text nodes only, never as markup.
const DATA = JSON.parse(document.getElementById("data").textContent);
const NAMES = DATA.names.map((name) => (name === "diff" ? "A − B" : name));
const MODELS = DATA.names.slice(0, DATA.names.length === 3 ? 2 : 1);
const LAST = DATA.names.length - 1; // the difference, or the only model
const TWO = LAST === 2;
const MUTATED = DATA.how === "min"; // in-silico mutagenesis: what a model reads has low scores
const READ_MORE = MUTATED ? ["B", "A"] : ["A", "B"]; // which model reads a motif more if D of A − B is above 0, and below 0
const MOTIF_NUMBER = new Map(DATA.motifs.map((motif, number) => [motif.name, number]));
const BASES = "ACGT";
// Letters in a box of 100 x 100, so that they can be stretched to any height.
const GLYPHS = {
  A: "M0 100L38 0H62L100 100H78L70 76H30L22 100ZM36 58H64L50 18Z",
  C: "M100 32C95 11 77 0 53 0C20 0 0 20 0 50C0 80 20 100 53 100C77 100 95 89 100 67L78 62C75 76 66 83 53 83C34 83 22 71 22 50C22 29 34 17 53 17C66 17 75 24 78 37Z",
  G: "M100 31C95 10 76 0 53 0C20 0 0 20 0 50C0 80 20 100 53 100C75 100 92 92 100 78V46H54V62H79V72C74 79 65 83 53 83C34 83 22 71 22 50C22 29 34 17 53 17C66 17 74 22 78 36Z",
  T: "M0 0H100V18H61V100H39V18H0Z",
};

function build(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value === true) node.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}
const el = (tag, attributes, ...children) => build(document.createElement(tag), attributes, children);
const svg = (tag, attributes, ...children) =>
  build(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
const byId = (id) => document.getElementById(id);

const minus = (text) => text.replace("-", "−");
const whole = (value) => value.toLocaleString("en-US");
function fixed(value, digits = 3) {
  return value === null ? "–" : minus(value.toFixed(digits));
}
function significant(value) {
  if (value === null || Number.isNaN(value)) return "–";
  return minus(Math.abs(value) >= 1e-3 || value === 0 ? String(Number(value.toPrecision(3))) : value.toExponential(1));
}
function probability(value) {
  return value === 0 ? "<1e−300" : significant(value);
}
const placeText = (chrom, start, end) => `${chrom}:${start}-${end}`;
const motifLink = (name) => `#motif=${encodeURIComponent(name)}`;
function regionLink(region, start, end, site) {
  let link = `#region=${encodeURIComponent(placeText(region.chrom, region.start, region.end))}`;
  if (start !== undefined) link += `&view=${start}-${end}`;
  return site === undefined ? link : `${link}&site=${encodeURIComponent(site)}`;
}
function browserLink(chrom, start, end) {
  if (DATA.assembly === null) return null;
  const place = encodeURIComponent(`${chrom}:${start + 1}-${end}`); // UCSC counts from 1
  const href = `https://genome.ucsc.edu/cgi-bin/hgTracks?db=${DATA.assembly}&position=${place}`;
  return el("a", { href, target: "_blank", rel: "noopener noreferrer" }, `UCSC ${DATA.assembly}`);
}

// Blue: A scores higher; vermilion: B does. Both ends and the middle differ in lightness too.
function mix(from, to, share) {
  const part = (colour, at) => parseInt(colour.slice(at, at + 2), 16);
  return `rgb(${[1, 3, 5].map((at) => Math.round(part(from, at) + (part(to, at) - part(from, at)) * share)).join(",")})`;
}
const DIFF_LIMIT = Math.max(0.05, ...DATA.motifs.map((motif) => Math.abs(motif.D[LAST] || 0)));
function diffColour(value) {
  if (value === null) return "#ffffff";
  return mix("#dddddd", DATA.colours.models[value > 0 ? 0 : 1], Math.min(1, Math.abs(value) / DIFF_LIMIT));
}

function ticks(low, high, wanted = 5) {
  const raw = (high - low) / wanted || 1;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= raw * 0.999);
  const found = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + step * 1e-9; i++) found.push(Number((i * step).toPrecision(12)));
  return found;
}

function tooltip(event, lines) {
  const box = byId("tooltip");
  if (!lines) {
    box.hidden = true;
    return;
  }
  box.replaceChildren(...lines.map((line) => el("div", null, line)));
  box.hidden = false;
  const { width, height } = box.getBoundingClientRect();
  const left = event.clientX + 14 + width > window.innerWidth ? event.clientX - width - 14 : event.clientX + 14;
  const top = event.clientY + 14 + height > window.innerHeight ? event.clientY - height - 10 : event.clientY + 14;
  box.style.left = `${Math.max(2, left)}px`;
  box.style.top = `${Math.max(2, top)}px`;
}
function say(text) {
  byId("status").textContent = text;
}

// A motif's logo: letters as tall as their share of the position's information, up to 2 bits.
function matrixLogo(motif, label = true) {
  if (!motif.matrix) return null;
  const length = motif.matrix.length / 4;
  const image = svg("svg", {
    viewBox: `0 0 ${length * 10} 40`,
    class: "logo",
    role: "img",
    "aria-label": label ? `Logo of ${motif.name}` : null,
    "aria-hidden": label ? null : "true",
  });
  for (let i = 0; i < length; i++) {
    const shares = motif.matrix.slice(4 * i, 4 * i + 4);
    const bits = 2 + shares.reduce((sum, p) => sum + (p > 0 ? p * Math.log2(p) : 0), 0);
    const letters = [...BASES].map((base, j) => [base, 20 * bits * shares[j]]).sort((x, y) => x[1] - y[1]);
    let y = 40;
    for (const [base, height] of letters) {
      y -= height;
      if (height > 0.2) image.append(letter(base, i * 10 + 0.4, y, 9.2, height));
    }
  }
  return image;
}
function letter(base, x, y, width, height) {
  const transform = `translate(${x.toFixed(2)} ${y.toFixed(2)}) scale(${(width / 100).toFixed(4)} ${(height / 100).toFixed(4)})`;
  return svg("path", { d: GLYPHS[base], transform, fill: DATA.colours.bases[base], "fill-rule": "evenodd" });
}
