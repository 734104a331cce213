// Forms: sent once, searched as one types, days echoed, drafts kept.
(() => {
  "use strict";
  const { say, seconds, post, alive } = window.lightbox;

  // ---- a form goes out once ----
  const LOCK = 600;
  const release = (form) => { delete form.dataset.sent; form.classList.remove("is-sent"); };
  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (form.dataset.sent) { event.preventDefault(); event.stopImmediatePropagation(); return; }
    if (form.matches("[data-unlock], [role=search]")) return;
    form.dataset.sent = performance.now();
    form.classList.add("is-sent");
    clearTimeout(form.saving);
    // An htmx form comes free with its answer; a page that goes away needs no release.
    if (form.matches("[hx-post], [hx-get], [data-undo]")) setTimeout(() => { if (!form.matches(".htmx-request")) release(form); }, LOCK);
  }, true);
  document.body.addEventListener("htmx:afterRequest", ({ detail: { elt } }) => { if (elt.dataset?.sent) setTimeout(() => release(elt), Math.max(0, LOCK - (performance.now() - elt.dataset.sent))); });
  addEventListener("pageshow", () => document.querySelectorAll("form[data-sent]").forEach(release));

  // ---- a list under a field: combobox and palette (ARIA APG) ----
  const options = (list) => [...list.querySelectorAll("[role=option]")];
  const chosen = (list) => list.querySelector("[role=option][aria-selected=true]");
  function point(input, list, option) {
    options(list).forEach((other) => other.setAttribute("aria-selected", other === option));
    if (!option) { input.removeAttribute("aria-activedescendant"); return; }
    option.id ||= `${list.id}-${options(list).indexOf(option)}`;
    input.setAttribute("aria-activedescendant", option.id);
    option.scrollIntoView({ block: "nearest" });
  }
  function search(input, list, pick, close) {
    let fresh = true, eager = false;
    input.addEventListener("input", () => { fresh = false; eager = false; });
    list.addEventListener("htmx:afterSwap", ({ detail }) => {
      // An answer to what the field said before must not be taken for this one's.
      fresh = (detail.requestConfig?.parameters.q ?? input.value) === input.value;
      input.setAttribute("aria-expanded", list.childElementCount > 0);
      point(input, list, options(list)[0]);
      if (fresh && eager && chosen(list)) { eager = false; pick(chosen(list)); }
    });
    input.addEventListener("keydown", (event) => {
      const all = options(list), at = all.indexOf(chosen(list));
      if (event.key === "ArrowDown" || event.key === "ArrowUp") {
        if (!all.length) return;
        event.preventDefault();
        point(input, list, all[(at + (event.key === "ArrowDown" ? 1 : -1) + all.length) % all.length]);
      } else if (event.key === "Enter" && !event.ctrlKey) {
        if (!fresh && input.value.trim()) { event.preventDefault(); eager = true; }
        else if (chosen(list) && list.childElementCount) { event.preventDefault(); pick(chosen(list)); }
      } else if (event.key === "Escape" && list.childElementCount && close) {
        event.preventDefault();
        close();
      } else if (event.key === "Tab" && list.childElementCount && chosen(list) && close && input.value.trim()) pick(chosen(list));
    });
    list.addEventListener("mousedown", (event) => { if (close) event.preventDefault(); });
    list.addEventListener("click", ({ target }) => { const option = target.closest("[role=option]"); if (option && close) pick(option); });
  }
  function combos(root) {
    root.querySelectorAll?.("[data-combo]:not([data-ready])").forEach((combo) => {
      combo.dataset.ready = "";
      const [input, value] = combo.querySelectorAll("input"), list = combo.querySelector("[role=listbox]");
      const close = () => { list.replaceChildren(); input.setAttribute("aria-expanded", "false"); input.removeAttribute("aria-activedescendant"); };
      input.addEventListener("input", () => { value.value = ""; if (!input.value.trim()) { close(); value.dispatchEvent(new Event("change", { bubbles: true })); } });
      search(input, list, (option) => {
        input.value = option.dataset.text || option.textContent.trim();
        value.value = option.dataset.value;
        close();
        value.dispatchEvent(new Event("change", { bubbles: true }));
      }, close);
      input.addEventListener("blur", () => setTimeout(close, 150));
    });
  }
  // Two of them in one form: each asks with its own text only.
  document.body.addEventListener("htmx:configRequest", ({ detail }) => { if (detail.elt.matches("[data-combo] > input")) detail.parameters.q = detail.elt.value; });
  const palette = document.getElementById("palette"), query = document.getElementById("palette-q");
  if (palette) {
    search(query, document.getElementById("palette-results"), (option) => (option.matches("a, button") ? option : option.querySelector("a, button"))?.click());
    document.body.addEventListener("opened", ({ detail }) => { if (detail.dialog === palette) { query.select(); htmx.trigger(query, "ask"); } });
    palette.addEventListener("click", (event) => { if (event.target === palette) palette.close(); });
  }

  // ---- days: t, +3d, +2w, -1m, 19 11, 19-Nov (the server reads the same, ris.core.formats.parse_day) ----
  const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"], DAYS = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
  function readDay(text) {
    const t = text.trim().toLowerCase(), now = new Date();
    const today = new Date(now.getFullYear(), now.getMonth(), now.getDate(), 12);
    if (t === "t" || t === "today") return today;
    let found = t.match(/^([+-])(\d{1,3})([dwmy]?)$/);
    if (found) {
      const n = Number(found[2]) * (found[1] === "+" ? 1 : -1), day = new Date(today);
      if (!found[3] || found[3] === "d" || found[3] === "w") { day.setDate(day.getDate() + n * (found[3] === "w" ? 7 : 1)); return day; }
      const months = day.getFullYear() * 12 + day.getMonth() + n * (found[3] === "y" ? 12 : 1);
      const last = new Date(Math.floor(months / 12), (months % 12) + 1, 0, 12);
      last.setDate(Math.min(today.getDate(), last.getDate()));
      return last;
    }
    let parts = t.split(/[\s./-]+/).filter((part) => part && !DAYS.some((d) => d.toLowerCase() === part));
    if (parts.length === 3 && parts[0].length === 4) parts = parts.reverse();
    if (parts.length !== 2 && parts.length !== 3) return null;
    const named = MONTHS.findIndex((m) => parts[1].startsWith(m.toLowerCase()));
    const month = named >= 0 ? named : Number(parts[1]) - 1, d = Number(parts[0]);
    const y = parts[2] === undefined ? today.getFullYear() : parts[2].length === 2 ? 2000 + Number(parts[2]) : Number(parts[2]);
    const day = new Date(y, month, d, 12);
    if (Number.isNaN(day.getTime()) || day.getMonth() !== month || day.getDate() !== d) return null;
    if (parts[2] === undefined && day < today - 31 * 864e5) day.setFullYear(y + 1);
    return day;
  }
  const writeDay = (d) => `${DAYS[d.getDay()]} ${String(d.getDate()).padStart(2, "0")}-${MONTHS[d.getMonth()]}-${d.getFullYear()}`;
  function echo(input) {
    let out = input.parentElement.querySelector(":scope > .echo");
    if (!out) { out = document.createElement("output"); out.className = "echo"; out.setAttribute("for", input.id); input.after(out); }
    const day = readDay(input.value);
    out.textContent = !input.value.trim() ? "" : day ? writeDay(day) : "Type a day like 19 11, t or +3d";
    out.classList.toggle("is-wrong", Boolean(input.value.trim()) && !day);
    return day;
  }
  document.addEventListener("input", ({ target }) => { if (target.matches("[data-date]")) echo(target); });
  document.addEventListener("focusout", ({ target }) => {
    if (!target.matches?.("[data-date]")) return;
    const day = echo(target);
    if (day) target.value = writeDay(day).slice(4);
  });

  // ---- drafts: kept 3 s after the last key, on leaving the field, on leaving the page ----
  const AUTOSAVE = 3000;
  async function save(form) {
    clearTimeout(form.saving);
    if (!form.unsaved || form.dataset.sent) return;
    form.unsaved = false;
    const word = document.querySelector("[data-saved]");
    const answer = await post(form.dataset.autosave, new FormData(form), { "HX-Request": "true" }).catch(() => null);
    alive();
    if (answer?.ok) {
      const version = answer.headers.get("X-Version");
      if (version && form.elements.version) form.elements.version.value = version;
      if (word) word.textContent = `saved ${seconds.format(new Date())}`;
      return;
    }
    form.unsaved = true;
    if (word) word.textContent = "not saved";
    if (answer?.headers.get("X-Locked")) { window.lightbox.lock(); form.saving = setTimeout(() => save(form), AUTOSAVE); return; }
    const said = JSON.parse(answer?.headers.get("HX-Trigger") || "{}").notice;
    say("notice", said || { text: "The text is not saved yet: no answer from the server. It stays here and is tried again." });
    // Refused means somebody else changed it: trying again would only repeat the refusal.
    if (!said) form.saving = setTimeout(() => save(form), AUTOSAVE);
  }
  document.addEventListener("input", ({ target }) => {
    const form = target.form;
    if (!form?.dataset.autosave) return;
    target.classList.add("is-edited");
    form.unsaved = true;
    clearTimeout(form.saving);
    form.saving = setTimeout(() => save(form), AUTOSAVE);
  });
  document.addEventListener("focusout", ({ target }) => { if (target.form?.dataset?.autosave) save(target.form); });
  document.addEventListener("visibilitychange", () => { if (document.hidden) document.querySelectorAll("form[data-autosave]").forEach(save); });
  addEventListener("beforeunload", (event) => { if ([...document.querySelectorAll("form[data-autosave]")].some((form) => form.unsaved && !form.dataset.sent)) event.preventDefault(); });

  // Browsers without field-sizing grow the field by hand.
  const grow = (area) => { if (!CSS.supports("field-sizing", "content")) { area.style.height = "auto"; area.style.height = `${area.scrollHeight}px`; } };
  document.addEventListener("input", ({ target }) => { if (target.matches("textarea[data-autogrow]")) grow(target); });

  function ready(root) {
    combos(root);
    root.querySelectorAll?.("textarea[data-autogrow]").forEach(grow);
    root.querySelectorAll?.("[data-date]").forEach((input) => { if (input.value) echo(input); });
  }
  document.body.addEventListener("htmx:load", ({ detail }) => ready(detail.elt));
  ready(document);
})();
