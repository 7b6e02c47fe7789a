// API keys: what each may do, a new one, and the end of one.

import { call } from "../api.js";
import { ask, show } from "../dialog.js";
import { h, render } from "../dom.js";
import { moment } from "../format.js";
import { button, table } from "../parts.js";
import { listed } from "../tenants.js";
import { tell } from "../told.js";

const ROLES = ["tenant", "worker", "operator"];

export const keys = {
  title: () => "Keys",
  async start(place, { signal, refused }) {
    let tokens = [""];
    const draw = async () => {
      const page = await call("FleetService", "ListKeys", { page_size: 200, page_token: tokens.at(-1) }, { signal });
      const act = (asked) => asked.then((done) => done && draw()).catch(refused);
      const turn = (pages) => {
        tokens = pages;
        draw().catch(refused);
      };
      render(place,
        button("Make a key …", () => act(make(signal)), { class: "main" }),
        table("Keys", ["Number", "Role", "Tenant", "Label", "Made", "Revoked", ""], page.keys.map((key) => [
          key.key_id, key.key_id, role(key), key.tenant_id || "–", key.label || "–", moment(key.create_time), moment(key.revoke_time),
          !key.revoke_time && button("Revoke …", () => act(revoke(key)), { class: "danger", "aria-label": `Revoke key ${key.key_id}` }),
        ]), "No keys."),
        h("div", { class: "row" },
          tokens.length > 1 && button("Older", () => turn(tokens.slice(0, -1)), { key: "older" }),
          page.next_page_token && button("Newer", () => turn([...tokens, page.next_page_token]), { key: "newer" })));
    };
    await draw();
  },
};

const role = (key) => key.role.replace("ROLE_", "").toLowerCase();

async function make(signal) {
  const tenants = (await listed(signal)).map((tenant) => [tenant.tenant_id, tenant.tenant_id]);
  const made = await ask({
    title: "Make a key",
    fields: [
      { name: "role", label: "What it may do", options: ROLES.map((name) => [name, name]) },
      { name: "tenant_id", label: "Whose, for role tenant", options: [["", "–"], ...tenants] },
      { name: "label", label: "A note for people" },
    ],
    action: "Make it",
    act: (key) => call("FleetService", "CreateKey", { ...key, role: `ROLE_${key.role.toUpperCase()}` }),
  });
  if (made) {
    await show({ title: `Key ${made.key_id}`, text: "Keep it: it is shown this once.", value: made.key });
  }
  return made;
}

async function revoke(key) {
  const done = await ask({
    title: `Revoke key ${key.key_id}?`,
    text: `It is of role ${role(key)}${key.tenant_id ? ` for ${key.tenant_id}` : ""}${key.label ? `, ${key.label}` : ""}. It is out of force for good, within seconds.`,
    action: "Revoke it",
    danger: true,
    act: () => call("FleetService", "RevokeKey", { key_id: key.key_id }),
  });
  if (done) tell(`Key ${key.key_id} is out of force.`);
  return done;
}
