// What is shown is described by plain objects, and the document is changed where it differs from them: what has the focus keeps it,
// and a screen reader its place, while figures change. Everything that comes from outside becomes text or an attribute, never markup.

const SVG = "http://www.w3.org/2000/svg";

/** A described element: `attributes` are set as such, but for `key`, which tells it from its neighbours, and `on`, its listeners. */
export function h(tag, attributes, ...children) {
  return { tag, attributes: attributes ?? {}, children: present(children) };
}

/** Makes the children of `parent` those that are described; what had the focus has it again if it had to change its place. */
export function render(parent, ...described) {
  const focused = document.activeElement;
  fill(parent, described);
  if (focused !== document.activeElement && focused?.isConnected) focused.focus({ preventScroll: true });
}

function fill(parent, described) {
  const wanted = present(described);
  const keys = new Set(wanted.map((one) => one.attributes?.key));
  const keyed = new Map([...parent.childNodes].filter((child) => child.key !== undefined).map((child) => [child.key, child]));
  let at = parent.firstChild;
  for (const one of wanted) {
    const kept = like(keyed.get(one.attributes?.key), one);
    // What goes, goes before what stays is moved: a moved element loses the focus and how far it was scrolled.
    while (kept && at && at !== kept && (at.key === undefined || !keys.has(at.key))) at = without(at);
    const found = kept ?? like(at, one) ?? made(one, parent);
    if (found === at) at = at.nextSibling;
    else parent.insertBefore(found, at);
    if (typeof one === "string") {
      if (found.data !== one) found.data = one;
    } else {
      dress(found, one.attributes);
      fill(found, one.children);
    }
  }
  while (at) at = without(at);
}

/** Removes it, and answers with the one after it. */
function without(node) {
  const next = node.nextSibling;
  node.remove();
  return next;
}

function present(children) {
  return children
    .flat(Infinity)
    .filter((child) => child !== null && child !== undefined && child !== false)
    .map((child) => (typeof child === "object" ? child : String(child)));
}

function like(node, described) {
  if (!node) return null;
  if (typeof described === "string") return node.nodeType === Node.TEXT_NODE ? node : null;
  return node.localName === described.tag && node.key === described.attributes.key ? node : null;
}

function made(described, parent) {
  if (typeof described === "string") return document.createTextNode(described);
  const drawn = described.tag === "svg" || parent.namespaceURI === SVG;
  const element = drawn ? document.createElementNS(SVG, described.tag) : document.createElement(described.tag);
  element.key = described.attributes.key;
  return element;
}

function dress(element, attributes) {
  const wanted = new Map(Object.entries(attributes).filter(([name, value]) => !["key", "on"].includes(name) && value !== false && value != null));
  for (const { name } of [...element.attributes]) {
    if (!wanted.has(name) && !(name === "open" && element.localName === "details")) element.removeAttribute(name);
  }
  for (const [name, value] of wanted) {
    const text = value === true ? "" : String(value);
    if (element.getAttribute(name) !== text) element.setAttribute(name, text);
  }
  for (const [event, listener] of Object.entries(attributes.on ?? {})) element[`on${event}`] = listener;
}
