onload = () => {
  const frame = document.querySelector("iframe");
  const page = frame.contentDocument;
  const root = page.documentElement;
  const widths = `content=${root.scrollWidth} window=${root.clientWidth}`;
  const rows = [...page.querySelectorAll("#matrix tbody tr")];
  const field = page.querySelector("form.filter input[name=text]");
  field.value = "rtc/";
  field.dispatchEvent(new Event("input", { bubbles: true }));
  const shown = rows.filter((row) => !row.hidden).length;
  const wanted = rows.filter((row) => row.dataset.case.includes("rtc/")).length;
  field.value = "";
  field.dispatchEvent(new Event("input", { bubbles: true }));
  const first = page.querySelector("details.case");
  frame.contentWindow.location.hash = first.id;
  frame.contentWindow.onhashchange = () => {
    document.getElementById("seen").textContent =
      `${widths} rows=${rows.length} shown=${shown} wanted=${wanted} opened=${Number(first.open)}`;
  };
};
