// The page as a whole: who is signed in, which view is shown, and what a view is left with when another one comes.

import { CallError, session } from "./api.js";
import { h, render } from "./dom.js";
import { tell, trouble } from "./told.js";
import { audit } from "./views/audit.js";
import { concurrency } from "./views/concurrency.js";
import { letters } from "./views/letters.js";
import { fleet } from "./views/fleet.js";
import { keys } from "./views/keys.js";
import { limits } from "./views/limits.js";
import { search } from "./views/search.js";
import { signIn } from "./views/signin.js";
import { tenants } from "./views/tenants.js";
import { training } from "./views/training.js";
import { trainings } from "./views/trainings.js";
import { usage } from "./views/usage.js";

// A view is `{title(parameters), start(place, {signal, parameters, refused})}`; `menu` is its name there.
const VIEWS = {
  operator: {
    fleet: { ...fleet, menu: "Fleet" },
    trainings: { ...trainings, menu: "Trainings" },
    training,
    concurrency: { ...concurrency, menu: "Concurrency" },
    tenants: { ...tenants, menu: "Tenants and plans" },
    usage: { ...usage, menu: "Usage" },
    keys: { ...keys, menu: "Keys" },
    audit: { ...audit, menu: "Audit log" },
    "dead-letters": { ...letters, menu: "Dead letters" },
  },
  tenant: {
    trainings: { ...trainings, menu: "Trainings" },
    training,
    search: { ...search, menu: "Search" },
    limits: { ...limits, menu: "Limits" },
    usage: { ...usage, menu: "Usage" },
  },
};

let leaving = new AbortController();
let moved = false; // whether this is another view than the one that the page came with, which begins at its top

function route() {
  const [path, query] = location.hash.replace(/^#\/?/, "").split("?");
  return { name: path, parameters: new URLSearchParams(query ?? "") };
}

function open() {
  leaving.abort();
  leaving = new AbortController();
  trouble("");
  tell("");
  const main = document.getElementById("main");
  const views = VIEWS[session.role];
  if (!session.key || !views) {
    show(main, signIn, "sign-in", new URLSearchParams());
    return;
  }
  const { name, parameters } = route();
  const [first] = Object.keys(views);
  if (!views[name]) {
    location.replace(`#/${first}`);
    return;
  }
  show(main, views[name], name, parameters);
}

function show(main, view, name, parameters) {
  const { signal } = leaving;
  const title = view.title(parameters);
  document.title = `${title} · doctrain`;
  menu(name);
  const place = document.createElement("div");
  const heading = document.createElement("h1");
  heading.tabIndex = -1;
  heading.textContent = title;
  main.replaceChildren(heading, place);
  if (moved && name !== "sign-in") heading.focus();
  moved = true;
  const refused = (error) => {
    if (signal.aborted) return;
    if (error instanceof CallError && error.code === "UNAUTHENTICATED") {
      signOut(error.message);
    } else {
      trouble(error.message);
    }
  };
  Promise.resolve(view.start(place, { signal, parameters, refused, open })).catch(refused);
}

function menu(current) {
  const views = VIEWS[session.role];
  const nav = document.getElementById("nav");
  if (!session.key || !views) {
    render(nav);
    return;
  }
  const links = Object.entries(views).filter(([, view]) => view.menu);
  render(nav,
    links.map(([name, view]) => h("a", {
      key: name, href: `#/${name}`, "aria-current": name === current || (name === "trainings" && current === "training") ? "page" : null,
    }, view.menu)),
    h("span", { class: "who", key: "who" }, session.role === "operator" ? "Operator" : "Tenant"),
    h("button", { type: "button", key: "out", on: { click: () => signOut("") } }, "Sign out"));
}

function signOut(sentence) {
  session.close();
  open();
  trouble(sentence);
}

addEventListener("hashchange", open);
document.querySelector(".skip").onclick = (event) => {
  event.preventDefault(); // the hash is the view's
  document.getElementById("main").focus();
};
open();
