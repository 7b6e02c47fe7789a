// Calls of the API, made with the key that the person typed in. The key is kept for this tab alone, and goes nowhere but into these calls.

const KEY = "doctrain.key";
const ROLE = "doctrain.role";
const LOOKS = /^(Explain|Get|List|Watch)/;

/** A call that failed: the sentence is for people, `code` and `reason` are for this program. */
export class CallError extends Error {
  constructor(error) {
    super(error.message || `The call failed (${error.code}).`);
    this.code = error.code;
    const details = error.details ?? [];
    const info = details.find((detail) => detail["@type"].endsWith("google.rpc.ErrorInfo"));
    this.reason = info?.reason ?? "";
    this.metadata = info?.metadata ?? {};
    this.violations = details.flatMap((detail) => detail.field_violations ?? []);
  }

  /** Whether the same call may go well later. */
  get passing() {
    return this.code === "UNAVAILABLE" || this.code === "RESOURCE_EXHAUSTED";
  }
}

export const session = {
  get key() {
    return sessionStorage.getItem(KEY) ?? "";
  },
  get role() {
    return sessionStorage.getItem(ROLE) ?? "";
  },
  open(key, role) {
    sessionStorage.setItem(KEY, key);
    sessionStorage.setItem(ROLE, role);
  },
  close() {
    sessionStorage.removeItem(KEY);
    sessionStorage.removeItem(ROLE);
  },
};

/** One call, such as `call("FleetService", "ListWorkers")`; `tenant` is whom an operator makes it for. */
export async function call(service, method, request = {}, { tenant = "", signal, key = session.key } = {}) {
  const response = await post(service, method, request, { tenant, signal, key });
  return response.json();
}

/** The messages of a stream until it ends; raises CallError. */
export async function* stream(service, method, request, { tenant = "", signal } = {}) {
  const response = await post(service, method, request, { tenant, signal, key: session.key });
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let held = "";
  try {
    while (true) {
      const { done, value } = await reader.read();
      if (done) return;
      const lines = (held + value).split("\n");
      held = lines.pop();
      for (const line of lines) {
        const message = JSON.parse(line);
        if (message.error) throw new CallError(message.error);
        yield message;
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

async function post(service, method, request, { tenant, signal, key }) {
  const headers = { "Content-Type": "application/json", Authorization: `Bearer ${key}` };
  if (tenant) headers["Doctrain-Tenant"] = tenant;
  if (LOOKS.test(method)) headers.Traceparent = `00-${random(16)}-${random(8)}-00`; // not to be traced: it is asked again and again
  let response;
  try {
    response = await fetch(`/api/${service}/${method}`, {
      method: "POST", headers, body: JSON.stringify(request), signal, cache: "no-store", credentials: "omit",
    });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new CallError({ code: "UNAVAILABLE", message: "The coordinator does not answer." });
  }
  if (response.ok) return response;
  const body = await response.json().catch(() => null);
  throw new CallError(body?.error ?? { code: "UNKNOWN", message: `The coordinator answered ${response.status}.` });
}

const random = (bytes) => [...crypto.getRandomValues(new Uint8Array(bytes))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
