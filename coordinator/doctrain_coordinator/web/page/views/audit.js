// The audit log: what operators and tenants changed, and what operators were refused, the newest first.

import { call } from "../api.js";
import { h, render } from "../dom.js";
import { pages, said, table, when, whole } from "../parts.js";
import { poll } from "../poll.js";

const SECONDS = 10;
const PAGE = 100;

export const audit = {
  title: () => "Audit log",
  start(place, { signal, parameters, refused }) {
    const tenant = parameters.get("tenant") ?? "";
    let tokens = [""];
    const choose = (event) => {
      event.preventDefault();
      const name = event.target.elements.tenant.value.trim();
      location.hash = name ? `#/audit?${new URLSearchParams({ tenant: name })}` : "#/audit";
    };
    const draw = async () => {
      const page = await call("FleetService", "ListAuditLog", { tenant_id: tenant, page_size: PAGE, page_token: tokens.at(-1) }, { signal });
      if (signal.aborted) return;
      const turn = (turned) => {
        tokens = turned;
        draw().catch(refused);
      };
      render(place,
        h("form", { class: "row", on: { submit: choose } },
          h("label", null, h("span", null, "Only what concerns this tenant, which may be deleted since"),
            h("input", { name: "tenant", value: tenant, autocomplete: "off", spellcheck: "false" })),
          h("button", { type: "submit", class: "main" }, "Show")),
        table("Audit log", ["When", "Who", "Tenant", "Call", "Outcome", "What"], page.entries.map((entry, at) => [
          `${entry.time} ${at}`, when(entry.time), whole(who(entry)), entry.tenant_id || "–", entry.call,
          h("span", { class: entry.outcome === "OK" ? null : "state bad" }, entry.outcome), said(entry.sentence),
        ]), "Nothing was changed."),
        pages(tokens, page.next_page_token, turn, ["Newer", "Older"]));
    };
    return poll(signal, refused, draw, SECONDS);
  },
};

const who = (entry) => `${entry.role === "ROLE_TENANT" ? entry.tenant_id : entry.role.replace("ROLE_", "").toLowerCase()} (key ${entry.key_id})`;
