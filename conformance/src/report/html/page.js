"use strict";
(() => {
  // A link to a case opens it.
  const open = () => {
    const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (target instanceof HTMLDetailsElement) {
      target.open = true;
      target.scrollIntoView();
    }
  };
  addEventListener("hashchange", open);
  open();

  const form = document.querySelector("form.filter");
  const rows = [...document.querySelectorAll("#matrix tbody tr")];
  const cases = new Map([...document.querySelectorAll("details.case")].map((item) => [item.dataset.case, item]));
  const filter = () => {
    const { text, area, verdict, odd } = form.elements;
    let shown = 0;
    for (const row of rows) {
      const { case: id, area: own, verdicts } = row.dataset;
      const fits = id.includes(text.value.trim())
        && (!area.value || own === area.value)
        && (!verdict.value || verdicts.split(" ").includes(verdict.value))
        && (!odd.checked || "odd" in row.dataset);
      row.hidden = !fits;
      const item = cases.get(id);
      if (item) {
        item.hidden = !fits;
      }
      shown += fits;
    }
    form.querySelector("output").textContent = `${shown} of ${rows.length}`;
  };
  form.hidden = false;
  form.addEventListener("input", filter);
  form.addEventListener("submit", (event) => event.preventDefault());
  filter();
})();
