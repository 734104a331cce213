// The report's text: open fields by Tab and F2, checks as one types, edited lines, sections by key.
(() => {
  "use strict";
  const form = document.getElementById("report");
  if (!form) return;
  const areas = [...form.querySelectorAll("textarea")];
  const code = (area) => area.closest("[data-section]").dataset.section;
  const checks = [...document.querySelectorAll("#checks [data-check]")].filter((item) => item.dataset.pattern);
  const applies = (item, area) => !item.dataset.where || item.dataset.where.split(" ").includes(code(area));
  const pattern = (item) => new RegExp(item.dataset.pattern, "gi");
  const fields = checks.find((item) => item.dataset.check === "Fields");

  // A textarea cannot colour its words: the same words stand behind it, with the marks.
  const unders = new Map(areas.map((area) => {
    const box = document.createElement("div"), under = document.createElement("div");
    box.className = "marked";
    under.className = "prose under";
    under.setAttribute("aria-hidden", "true");
    area.replaceWith(box);
    box.append(under, area);
    return [area, under];
  }));
  function paint(area) {
    area.classList.toggle("is-edited", area.value !== area.dataset.usual);
    const marks = [];
    for (const item of checks) {
      if (item.dataset.wanted === undefined && applies(item, area)) for (const hit of area.value.matchAll(pattern(item))) marks.push([hit.index, hit.index + hit[0].length]);
    }
    const under = unders.get(area);
    under.replaceChildren();
    let at = 0;
    for (const [from, to] of marks.sort((a, b) => a[0] - b[0])) {
      if (from < at) continue;
      const mark = document.createElement("mark");
      mark.textContent = area.value.slice(from, to);
      under.append(area.value.slice(at, from), mark);
      at = to;
    }
    under.append(area.value.slice(at), "\u200b");
  }
  function look() {
    for (const item of checks) {
      const found = areas.filter((area) => applies(item, area)).flatMap((area) => area.value.match(pattern(item)) || []);
      const good = found.length > 0 === (item.dataset.wanted !== undefined);
      const words = good ? item.dataset.good : item.dataset.bad.replace("{word}", (found[0] || "").toLowerCase()).replace("{n}", found.length).replace("{s}", found.length === 1 ? "" : "s");
      if (item === fields && good) document.querySelector("[data-jump]")?.closest(".nudge").remove();
      if (item.lastElementChild.textContent === words) continue;
      item.className = good ? "ok" : item.dataset.tone;
      item.lastElementChild.textContent = words;
      const use = item.querySelector("use");
      use.setAttribute("href", use.getAttribute("href").replace(/#.*/, good ? "#check" : "#warn"));
    }
  }

  // ---- open fields ----
  function jump(step, wrap) {
    const all = areas.flatMap((area) => [...area.value.matchAll(pattern(fields))].map((hit) => ({ area, from: hit.index, to: hit.index + hit[0].length })));
    const here = areas.indexOf(document.activeElement), area = areas[here];
    const after = ({ area: other, from }) => areas.indexOf(other) > here || (other === area && from >= area.selectionEnd);
    const before = ({ area: other, to }) => areas.indexOf(other) < here || (other === area && to <= area.selectionStart);
    const next = here < 0 ? all[0] : step > 0 ? all.find(after) || (wrap && all[0]) : all.findLast(before) || (wrap && all.at(-1));
    if (!next) return false;
    next.area.focus();
    next.area.setSelectionRange(next.from, next.to);
    next.area.scrollIntoView({ block: "nearest" });
    return true;
  }
  function step(by) {
    const next = areas[areas.indexOf(document.activeElement) + by];
    next?.focus();
    next?.setSelectionRange(next.value.length, next.value.length);
  }
  document.addEventListener("keydown", (event) => {
    if (event.isComposing || document.querySelector("dialog[open]")) return;
    const writing = areas.includes(event.target), plain = !event.ctrlKey && !event.altKey && !event.metaKey;
    if (event.key === "F2" && plain) {
      event.preventDefault();
      if (!jump(event.shiftKey ? -1 : 1, true) && !writing) areas[0]?.focus();
    } else if (event.key === "Tab" && writing && plain && !event.shiftKey && jump(1, false)) event.preventDefault();
    else if (event.ctrlKey && writing && (event.key === "ArrowDown" || event.key === "ArrowUp")) {
      event.preventDefault();
      step(event.key === "ArrowDown" ? 1 : -1);
    }
  });
  document.addEventListener("click", ({ target }) => { if (target.closest("[data-jump]")) jump(1, true); });

  document.addEventListener("input", ({ target }) => { if (unders.has(target)) { paint(target); look(); } });
  areas.forEach(paint);
  look();
})();
