// API keys: what each may do, a new one, and the end of one.

import { call } from "../api.js";
import { ask, show } from "../dialog.js";
import { render } from "../dom.js";
import { moment } from "../format.js";
import { button, pages, state, table, when } from "../parts.js";
import { poll } from "../poll.js";
import { listed } from "../tenants.js";
import { tell } from "../told.js";

const SECONDS = 10;
const DAY_SECONDS = 86_400;
const ROLES = ["tenant", "worker", "operator"];

export const keys = {
  title: () => "Keys",
  start(place, { signal, refused }) {
    let tokens = [""];
    const draw = async () => {
      const page = await call("FleetService", "ListKeys", { page_size: 200, page_token: tokens.at(-1) }, { signal });
      if (signal.aborted) return;
      const act = (asked) => asked.then((done) => done && draw()).catch(refused);
      const turn = (pages) => {
        tokens = pages;
        draw().catch(refused);
      };
      render(place,
        button("Make a key …", () => act(make(signal)), { class: "main" }),
        table("Keys", ["Number", "State", "Role", "Tenant", "Label", "Made", "Expires", "Revoked", "Change"], page.keys.map((key) => [
          key.key_id, key.key_id, state(stateOf(key)), role(key), key.tenant_id || "–", key.label || "–",
          when(key.create_time), when(key.expire_time), when(key.revoke_time),
          !key.revoke_time && button("Revoke …", () => act(revoke(key)), { class: "danger", "aria-label": `Revoke key ${key.key_id}` }),
        ]), "No keys."),
        pages(tokens, page.next_page_token, turn, ["Older", "Newer"]));
    };
    return poll(signal, refused, draw, SECONDS);
  },
};

function stateOf(key) {
  if (key.revoke_time) return "REVOKED";
  return key.expire_time && Date.parse(key.expire_time) <= Date.now() ? "EXPIRED" : "IN FORCE";
}

const role = (key) => key.role.replace("ROLE_", "").toLowerCase();

async function make(signal) {
  const tenants = (await listed(signal)).map((tenant) => [tenant.tenant_id, tenant.tenant_id]);
  const made = await ask({
    title: "Make a key",
    fields: [
      { name: "role", label: "What it may do", options: ROLES.map((name) => [name, name]) },
      { name: "tenant_id", label: "Whose, for role tenant", options: [["", "–"], ...tenants] },
      { name: "label", label: "A note for people" },
      { name: "days", label: "Days until it expires", type: "number", hint: "Empty: it holds until it is revoked." },
    ],
    action: "Make it",
    act: ({ days, ...key }) => call("FleetService", "CreateKey", {
      ...key, role: `ROLE_${key.role.toUpperCase()}`, ...(days ? { lifetime: `${Math.round(days * DAY_SECONDS)}s` } : {}),
    }),
  });
  if (made) {
    const until = made.expire_time ? ` It expires ${moment(made.expire_time)}.` : "";
    await show({ title: `Key ${made.key_id}`, text: `Keep it: it is shown this once.${until}`, value: made.key });
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
