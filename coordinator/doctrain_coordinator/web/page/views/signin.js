// The key is typed in, and tried with a call that tells whose it is.

import { call, CallError, session } from "../api.js";
import { h, render } from "../dom.js";

export const signIn = {
  title: () => "Sign in",
  start(place, { open }) {
    let fault = "";
    let busy = false;
    const draw = () => render(place, h("div", { class: "signin" }, h("form", { on: { submit } },
      h("label", null, h("span", null, "API key"), h("input", {
        id: "key", name: "key", type: "password", required: true, autocomplete: "off", spellcheck: "false",
        "aria-describedby": "key-hint key-fault", "aria-invalid": fault ? "true" : null,
      })),
      h("p", { id: "key-fault", class: "error", role: "alert" }, fault),
      h("button", { type: "submit", class: "main", disabled: busy }, "Sign in"),
      h("p", { id: "key-hint", class: "quiet" },
        "An operator's key or a tenant's. It is kept in this tab until you sign out or close it."))));
    const submit = async (event) => {
      event.preventDefault();
      const key = new FormData(event.target).get("key").trim();
      busy = true;
      draw();
      try {
        const role = await roleOf(key);
        session.open(key, role);
        open();
        return;
      } catch (error) {
        fault = error.message;
      }
      busy = false;
      draw();
      document.getElementById("key").select();
    };
    draw();
    document.getElementById("key").focus();
  },
};

async function roleOf(key) {
  try {
    await call("TrainingService", "ListTrainings", { page_size: 1 }, { key });
    return "tenant";
  } catch (error) {
    if (!(error instanceof CallError) || error.code !== "PERMISSION_DENIED") throw error;
    if (error.metadata.role === "operator") return "operator";
    throw new Error(`This is a key of role ${error.metadata.role}; sign in with a tenant's or an operator's.`);
  }
}
