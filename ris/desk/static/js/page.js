// The shell: words after an act, dialogs, side sheet, theme, lock, clock.
(() => {
  "use strict";
  const $ = (id) => document.getElementById(id);
  const body = document.body;
  const zone = body.dataset.zone || undefined;
  const csrf = JSON.parse(body.getAttribute("hx-headers") || "{}");
  const format = (options) => new Intl.DateTimeFormat("en-GB", { timeZone: zone, hourCycle: "h23", ...options });
  const seconds = format({ hour: "2-digit", minute: "2-digit", second: "2-digit" });
  const minutes = format({ hour: "2-digit", minute: "2-digit" });
  const dated = format({ weekday: "short", day: "2-digit", month: "short", year: "numeric" });
  const say = (name, detail) => body.dispatchEvent(new CustomEvent(name, { detail }));
  const post = (url, data, headers) => fetch(url, { method: "POST", body: data, headers: { ...csrf, ...headers } });
  window.lightbox = { seconds, minutes, say, post };

  // ---- toasts and notices ----
  const TOAST_MS = 10000;
  const fade = (node) => setTimeout(() => node.matches(":hover, :focus-within") ? fade(node) : node.remove(), TOAST_MS);
  const show = (template, text) => {
    const node = $(template).content.firstElementChild.cloneNode(true);
    node.querySelector("[data-text]").textContent = text;
    return node;
  };
  body.addEventListener("toast", ({ detail }) => {
    const node = show("toast-template", detail.text);
    const undo = node.querySelector("[data-undo]");
    if (!detail.undo) undo.remove();
    else {
      undo.action = detail.undo;
      undo.querySelector("[name=csrfmiddlewaretoken]").value = csrf["X-CSRFToken"];
    }
    $("toasts").replaceChildren(node);
    fade(node);
    say("poll");
  });
  body.addEventListener("notice", ({ detail }) => $("notices").replaceChildren(show("notice-template", detail.text)));
  $("toasts")?.querySelectorAll("[data-toast]").forEach(fade);
  // Undo stays on the page when it can.
  body.addEventListener("submit", (event) => {
    if (!event.target.matches("[data-undo]") || !window.htmx) return;
    event.preventDefault();
    event.target.closest("[data-toast]").remove();
    htmx.ajax("POST", event.target.getAttribute("action"), { source: body, target: body, swap: "none" }).then(() => say("poll"));
  });

  // ---- clicks that only concern the page ----
  let opener = null;
  const cookie = (name, value) => { document.cookie = `${name}=${value}; path=/; max-age=31536000; samesite=lax`; };
  const pressed = () => {
    const { theme, density } = document.documentElement.dataset;
    document.querySelectorAll("[data-set-theme]").forEach((b) => b.setAttribute("aria-pressed", b.dataset.setTheme === theme));
    document.querySelectorAll("[data-set-density]").forEach((b) => b.setAttribute("aria-pressed", b.dataset.setDensity === density));
    document.querySelectorAll("[data-set-keys]").forEach((b) => b.setAttribute("aria-pressed", localStorage.getItem("keys") !== "off"));
  };
  body.addEventListener("click", (event) => {
    const at = (selector) => event.target.closest(selector);
    let hit;
    if ((hit = at("[data-dismiss]"))) hit.closest(".toast, .notice").remove();
    else if ((hit = at("[data-open]"))) { event.preventDefault(); open($(hit.dataset.open)); }
    else if ((hit = at("[data-close]"))) hit.closest("dialog").close();
    else if (at("[data-close-sheet]")) closeSheet();
    else if ((hit = at("[data-set-theme]"))) { document.documentElement.dataset.theme = hit.dataset.setTheme; cookie("theme", hit.dataset.setTheme); pressed(); }
    else if ((hit = at("[data-set-density]"))) { document.documentElement.dataset.density = hit.dataset.setDensity; cookie("density", hit.dataset.setDensity); pressed(); }
    else if (at("[data-set-keys]")) { localStorage.setItem("keys", localStorage.getItem("keys") === "off" ? "on" : "off"); pressed(); }
    else if ((hit = at("[data-reveal]"))) {
      const field = $(hit.dataset.reveal), hidden = field.type === "password";
      field.type = hidden ? "text" : "password";
      hit.setAttribute("aria-pressed", hidden); hit.textContent = hidden ? "Hide" : "Show";
    }
    else if ((hit = at("[data-print]"))) window.print();
    if ((hit = at('[hx-target="#sheet"]')) && !at("#sheet")) opener = document.activeElement === body ? hit : document.activeElement;
    document.querySelectorAll("details.menu[open]").forEach((menu) => { if (!menu.contains(event.target)) menu.open = false; });
  });
  pressed();

  function open(dialog) {
    if (!dialog || dialog.open) return;
    dialog.showModal();
    say("opened", { dialog });
  }
  function closeSheet() {
    const sheet = $("sheet");
    if (!sheet || !sheet.childElementCount) return false;
    sheet.replaceChildren();
    back();
    return true;
  }
  function back() {
    if (opener && opener.isConnected) opener.focus(); else document.querySelector("[data-row][data-current]")?.focus();
    opener = null;
  }
  Object.assign(window.lightbox, { open, closeSheet });

  const focusFirst = (root) => (root.querySelector("[data-focus]") || root.querySelector("[autofocus]") || root.querySelector("input:not([type=hidden]), select, textarea, .btn.primary") || root.firstElementChild)?.focus();
  document.querySelector("[data-focus]")?.focus();
  body.addEventListener("htmx:afterSettle", ({ detail }) => {
    if (detail.target.id !== "sheet") return;
    if (!detail.target.childElementCount) back();
    else if (!detail.target.contains(document.activeElement) || detail.target.querySelector("[data-focus]")) focusFirst(detail.target);
  });

  // ---- busy line: after 150 ms a line, after 1 s words, after 5 s the promise that waiting is safe ----
  const running = new Map();
  const busy = $("busy");
  const refresh = () => {
    const since = Math.min(...running.values());
    const waited = performance.now() - since;
    if (!busy) return;
    busy.hidden = !(running.size && waited >= 150);
    busy.firstElementChild.textContent = waited > 5000 ? "Still working, safe to wait" : waited > 1000 ? "Working" : "";
  };
  body.addEventListener("htmx:beforeRequest", ({ detail }) => {
    running.set(detail.xhr, performance.now());
    [160, 1010, 5010].forEach((ms) => setTimeout(refresh, ms));
    alive();
  });
  for (const end of ["htmx:afterRequest", "htmx:sendAbort"]) body.addEventListener(end, ({ detail }) => { running.delete(detail.xhr); refresh(); });
  body.addEventListener("htmx:afterRequest", ({ detail }) => { if (detail.successful && detail.requestConfig?.verb !== "get") say("poll"); });
  body.addEventListener("htmx:sendError", () => say("notice", { text: "No answer from the server. What you typed is still here. Try again in a moment." }));
  body.addEventListener("htmx:responseError", ({ detail: { xhr } }) => {
    if (xhr.getResponseHeader("X-Locked")) return lock();
    if (!(xhr.getResponseHeader("HX-Trigger") || "").includes("notice")) say("notice", { text: xhr.status === 404 ? "That is not there any more. Reload the page." : "That did not work. What you typed is still here. Try again." });
  });

  // ---- lock: the page stays, blurred, and the password opens it again ----
  const idle = Number(body.dataset.idleMinutes) * 60000;
  const screen = $("lock");
  let last = Date.now(), warned = false;
  function alive() { last = Date.now(); warned = false; }
  function lock() {
    if (!screen || screen.open) return;
    document.querySelectorAll("dialog[open]").forEach((other) => other.close());
    screen.showModal();
    screen.querySelector("input").focus();
  }
  Object.assign(window.lightbox, { lock, alive });
  if (screen && idle) {
    screen.addEventListener("cancel", (event) => event.preventDefault());
    screen.querySelector("form").addEventListener("submit", async (event) => {
      event.preventDefault();
      const form = event.target, error = form.querySelector("[data-error]");
      const answer = await post("/lock", new FormData(form)).catch(() => null);
      if (answer?.status === 204) { form.reset(); error.hidden = true; screen.close(); alive(); say("poll"); return; }
      if (answer?.redirected) { location.reload(); return; }
      error.textContent = answer ? await answer.text() : "No answer from the server. Try again in a moment.";
      error.hidden = false;
      form.querySelector("input").select();
    });
    setInterval(() => {
      const left = idle - (Date.now() - last);
      if (screen.open) return;
      if (left <= 0) { post("/lock", new FormData()); lock(); }
      else if (left < 60000 && !warned) {
        warned = true;
        // Whoever is at the keys stays: typing without a request counts once somebody is warned.
        const stay = () => { fetch("/lock/stay"); alive(); };
        addEventListener("keydown", stay, { once: true }); addEventListener("pointerdown", stay, { once: true });
        say("toast", { text: "This screen locks in 1 minute. Press any key to stay." });
      }
    }, 5000);
  }

  // ---- clock and the line of now ----
  function tick() {
    const now = new Date(), time = minutes.format(now);
    const part = Object.fromEntries(dated.formatToParts(now).map((p) => [p.type, p.value]));
    document.querySelectorAll("[data-clock]:not(.now)").forEach((el) => { el.textContent = `${part.weekday} ${part.day}-${part.month.slice(0, 3)}-${part.year} ${time}`; });
    const of = (text) => { const [h, m] = text.split(":").map(Number); return h * 60 + m; };
    document.querySelectorAll("[data-now]").forEach((line) => {
      const hours = line.parentElement.querySelector(".sch-hours");
      const five = parseFloat(getComputedStyle(hours).gridAutoRows) || 22 / 3;
      line.style.top = `${hours.offsetTop + ((of(time) - of(line.dataset.gridStart)) / 5) * five}px`;
      line.dataset.clock = time;
      line.hidden = of(time) < of(line.dataset.gridStart);
    });
  }
  tick();
  setInterval(tick, 5000);
  body.addEventListener("htmx:load", tick);
  document.querySelector(".now:not([hidden])")?.scrollIntoView({ block: "center" });

  // ---- an identifier is copied without the spaces it is read by ----
  document.addEventListener("copy", (event) => {
    const selection = getSelection();
    const inside = (node) => (node?.nodeType === 1 ? node : node?.parentElement)?.closest("data.id");
    const from = inside(selection.anchorNode);
    if (!from || from !== inside(selection.focusNode) || selection.toString().trim() !== from.textContent.trim()) return;
    event.clipboardData.setData("text/plain", from.value);
    event.preventDefault();
  });
})();
