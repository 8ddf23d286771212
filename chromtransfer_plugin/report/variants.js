// Sorting and filtering of a table that is complete without them.
// What the first, second ... click on a heading does, by its data-sort; "size" is the distance from 0, largest first.
const ORDERS = { text: ["up", "down"], up: ["up", "down"], down: ["down", "up"], size: ["size", "down", "up"] };
const ARROWS = { up: " ▲", down: " ▼", size: " |▼|" };
const table = document.getElementById("variants");
if (table) {
  const body = table.tBodies[0];
  const rows = [...body.rows];
  const heads = [...table.tHead.rows[0].cells];
  const value = (row, column) => row.cells[column].dataset.value ?? row.cells[column].textContent.trim();
  let sorted = 0;
  let clicks = 0;
  const direction = () => ORDERS[heads[sorted].dataset.sort][clicks];

  function sort(column) {
    const kind = heads[column].dataset.sort;
    clicks = column === sorted ? (clicks + 1) % ORDERS[kind].length : 0;
    sorted = column;
    const sign = direction() === "up" ? 1 : -1;
    const number = direction() === "size" ? Math.abs : Number;
    const order = rows.map((row) => [value(row, column), row]);
    order.sort(([a], [b]) => {
      if (a === "" || b === "") return (a === "") - (b === ""); // what is not known comes last
      return sign * (kind === "text" ? a.localeCompare(b, "en", { numeric: true }) : number(a) - number(b));
    });
    body.append(...order.map(([, row]) => row));
    mark();
  }
  function mark() {
    heads.forEach((head, column) => {
      if (column === sorted) head.setAttribute("aria-sort", direction() === "up" ? "ascending" : "descending");
      else head.removeAttribute("aria-sort");
      head.querySelector(".arrow").textContent = column === sorted ? ARROWS[direction()] : "";
    });
  }
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    const arrow = document.createElement("span");
    arrow.className = "arrow";
    arrow.setAttribute("aria-hidden", "true");
    button.append(...head.childNodes, arrow);
    button.addEventListener("click", () => sort(column));
    head.append(button);
  });
  mark();

  const box = document.getElementById("filter-box");
  const input = box.querySelector("input");
  const count = box.querySelector("output");
  const texts = new Map(rows.map((row) => [row, row.textContent.toLowerCase()]));
  function filter() {
    const words = input.value.toLowerCase().split(/\s+/);
    let n = 0;
    for (const row of rows) {
      const found = words.every((word) => texts.get(row).includes(word));
      row.hidden = !found;
      document.getElementById(`variant-${row.dataset.rank}`).hidden = !found;
      n += found;
    }
    count.textContent = n === rows.length ? "" : `${n} of ${rows.length} variants`;
  }
  input.addEventListener("input", filter);
  box.hidden = false;
}
// On a narrow screen a figure is wider than the screen; its variant is in the middle.
for (const picture of document.querySelectorAll(".picture")) {
  picture.scrollLeft = (picture.scrollWidth - picture.clientWidth) / 2;
}
