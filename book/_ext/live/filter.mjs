// The claims page's filter: by verdict, by place in the paper, by words. The table stands without it.

const FACETS = { verdict: "Verdict", section: "Section", figure: "Figure, table, equation" };

// The values of a row, of one facet; the page separates them as its text does.
export function valuesOf(data, facet) {
  return data[facet].split("; ").filter(Boolean);
}

// Whether a row is asked for: by each facet that has a value, and by all words.
export function isAsked({ data, text }, { words, ...facets }) {
  const named = Object.entries(facets).every(([facet, value]) =>
    !value || valuesOf(data, facet).includes(value));
  return named && words.toLowerCase().split(/\s+/).every((word) => text.includes(word));
}

// The choices of a facet with how many rows each has, in reading order.
export function choices(rows, facet) {
  const counts = new Map();
  for (const { data } of rows)
    for (const value of valuesOf(data, facet)) counts.set(value, (counts.get(value) ?? 0) + 1);
  return [...counts].sort(([a], [b]) => a.localeCompare(b, "en", { numeric: true }));
}

const select = (facet, label, rows) => `<label>${label} <select name="${facet}">` +
  `<option value="">all</option>${choices(rows, facet).map(([value, n]) =>
    `<option value="${value}">${value} (${n})</option>`).join("")}</select></label>`;

export function mountFilter(form) {
  const rows = [...document.querySelectorAll("a[data-verdict]")].map((link) => {
    const element = link.closest("tr");
    return { element, id: link.id, data: link.dataset, text: element.textContent.toLowerCase() };
  });
  form.innerHTML = Object.entries(FACETS).map(([facet, label]) => select(facet, label, rows)).join("") +
    '<label>Words <input type="search" name="words" autocomplete="off"></label>' +
    '<button type="reset">Show all</button><output aria-live="polite"></output>';

  function update() {
    const asked = Object.fromEntries(new FormData(form));
    let shown = 0;
    for (const row of rows) {
      row.element.hidden = !isAsked(row, asked);
      shown += !row.element.hidden;
    }
    const said = Object.values(asked).filter(Boolean).map((value) => `“${value}”`).join(", ");
    form.querySelector("output").textContent =
      `${shown} of ${rows.length} claims${said && `: ${said}`}`;
  }

  // A link to a claim that is filtered out shows all again.
  function showTarget() {
    const target = rows.find(({ id }) => `#${id}` === location.hash);
    if (!target?.element.hidden) return;
    form.reset();
    update();
    target.element.scrollIntoView();
  }

  form.addEventListener("input", update);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(update)); // the fields are empty after the event
  addEventListener("hashchange", showTarget);
  update();
}
