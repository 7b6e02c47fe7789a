// All tenants, page after page.

import { call } from "./api.js";

export async function listed(signal) {
  const found = [];
  let page_token = "";
  do {
    const page = await call("FleetService", "ListTenants", { page_size: 1000, page_token }, { signal });
    found.push(...page.tenants);
    page_token = page.next_page_token;
  } while (page_token);
  return found;
}
