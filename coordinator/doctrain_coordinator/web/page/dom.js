// What is shown is described by plain objects, and the document is changed where it differs from them: what has the focus keeps it,
// and a screen reader its place, while figures change. Everything that comes from outside becomes text or an attribute, never markup.

const SVG = "http://www.w3.org/2000/svg";

/** A described element: `attributes` are set as such, but for `key`, which tells it from its neighbours, and `on`, its listeners. */
export function h(tag, attributes, ...children) {
  return { tag, attributes: attributes ?? {}, children: present(children) };
}

/** Makes the children of `parent` those that are described. */
export function render(parent, ...described) {
  const keyed = new Map([...parent.childNodes].filter((child) => child.key !== undefined).map((child) => [child.key, child]));
  let at = parent.firstChild;
  for (const one of present(described)) {
    const found = like(keyed.get(one.attributes?.key), one) ?? like(at, one) ?? made(one, parent);
    if (found === at) at = at.nextSibling;
    else parent.insertBefore(found, at);
    if (typeof one === "string") {
      if (found.data !== one) found.data = one;
    } else {
      dress(found, one.attributes);
      render(found, one.children);
    }
  }
  while (at) {
    const next = at.nextSibling;
    at.remove();
    at = next;
  }
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
