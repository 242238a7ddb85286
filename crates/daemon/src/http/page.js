const stale = document.getElementById("stale");
const icon = document.querySelector("link[rel=icon]");
const name = document.querySelector("h1").textContent;
let answered = new Date();
let shown = answered;

// The markup has UTC; people read their own time.
function localize(root) {
  for (const time of root.querySelectorAll("time")) {
    const at = new Date(time.dateTime);
    time.textContent = time.textContent.length > 8 ? at.toLocaleString() : at.toLocaleTimeString();
  }
  for (const zone of root.querySelectorAll(".zone")) zone.textContent = "in your time zone";
}

// Changes only what differs, so that focus and scroll position stay.
function update(old, fresh) {
  if (old.isEqualNode(fresh)) return;
  if (old.nodeName !== fresh.nodeName) return old.replaceWith(fresh);
  if (!(old instanceof Element)) {
    old.nodeValue = fresh.nodeValue;
    return;
  }
  for (const { name } of [...old.attributes]) if (!fresh.hasAttribute(name)) old.removeAttribute(name);
  for (const { name, value } of fresh.attributes) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  const before = [...old.childNodes];
  const after = [...fresh.childNodes];
  after.forEach((node, index) => index < before.length ? update(before[index], node) : old.append(node));
  before.slice(after.length).forEach((node) => node.remove());
}

function show(title, href) {
  if (document.title !== title) document.title = title;
  if (icon.getAttribute("href") !== href) icon.setAttribute("href", href);
}

function tell(notice) {
  if (notice && stale.textContent !== notice) stale.textContent = notice;
  stale.hidden = !notice;
}

async function refresh() {
  clearTimeout(timer);
  try {
    const answer = await fetch(location.href, { cache: "no-store", signal: AbortSignal.timeout(4000) });
    if (!answer.ok) throw new Error(answer.statusText);
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    localize(fresh);
    show(fresh.title, fresh.querySelector("link[rel=icon]").getAttribute("href"));
    answered = new Date();
    const main = document.querySelector("main");
    const selection = getSelection();
    const held = !selection.isCollapsed && selection.containsNode(main, true);
    if (!held) {
      update(main, fresh.querySelector("main"));
      shown = answered;
    }
    tell(held && `Not refreshed since ${shown.toLocaleTimeString()}, because text is selected.`);
  } catch {
    show(`no answer – ${name}`, icon.dataset.noAnswer);
    tell(`No answer since ${answered.toLocaleTimeString()}: this is how it was then.`);
  }
  timer = setTimeout(refresh, document.hidden ? 10000 : 2000);
}

localize(document);
let timer = setTimeout(refresh, 2000);
